"""What the judgement knows of the lake: one protocol, implemented beside the lake and handed in by the command line.

Nothing in this room opens a table, the ledger or the vault by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

Json = Any

THE_JOB = "wellspring"
"""In place of a person: what the quality job asks for and decides."""


@dataclass(frozen=True)
class StudyFacts:
    """What a study's registry says of it. Nothing is published about fewer people than `smallest_cell`."""

    id: str
    title: str = ""
    smallest_cell: int = 10
    active_from: datetime | None = None
    active_until: datetime | None = None


@dataclass(frozen=True)
class Stratum:
    """Which rows are meant: those that agree with everything that is given. `day` is of the start, UTC.

    `rows` are the rows' numbers as `RowPage` gives them; empty for all of the stratum.
    """

    check: str | None = None
    family: str | None = None
    metric: str | None = None
    partner: str | None = None
    device_model: str | None = None
    firmware: str | None = None
    day: date | None = None
    rows: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """What is given, for a request."""
        said = {name: value for name, value in vars(self).items() if value not in (None, ())}
        if self.day:
            said["day"] = self.day.isoformat()
        if self.rows:
            said["rows"] = list(self.rows)
        return said


class RowPage(NamedTuple):
    """Rows that wait in quarantine: their columns and `row`, the row's number as a decision names it; and how many in all."""

    rows: pa.Table
    total: int


class Answer(NamedTuple):
    """What became of a request: `state` is waiting, done or refused; `rows` how many it was about; `words` why not."""

    id: str
    state: str
    rows: int | None = None
    entry: int | None = None
    words: str = ""


@dataclass(frozen=True)
class Seen:
    """One line of the audit: who did or saw what, of which study, when (UTC). Nothing about a participant."""

    at: datetime
    by: str
    study: str
    what: str
    about: Mapping[str, Json] = field(default_factory=dict)


class LakeDesk(Protocol):
    """The lake as stewards and the judgement see it."""

    def studies(self) -> dict[str, StudyFacts]:
        """The registered studies by id."""

    def query(self, study: str, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """The answer to one SELECT with `?` for each parameter.

        Its views are the study's tables by family (`observation`, `waveform`, `lab_result`, `answer`: what holds now;
        `<family>_all`: every row that landed, replaced ones among them; `quarantine`, `discarded`, `check_count`,
        `check_result`, `day_summary`, `decision`), and besides
        `enrolled(pseudonym, since, until)`: who has had a live consent, from and until when (UTC; until null for now),
        `outcome(day, outcome, reason, n, people)`: what came of the readings by the day on which they were judged (UTC), and
        of how many people at least, null while the day goes on, and
        `kit(barcode_hash, packed, sent, activated, collected, posted, received, rejected, resulted, destroyed,
        rejected_reason)`: the kits of the study's members, when each thing happened first (UTC).
        `values` of a block has its numbers whichever way they lie in the file; `waveform` has the integers that were sent
        as `counts`, `scale` and `zero` too. A table that does not exist yet is an empty view.
        """

    def history(self, study: str, first: date, last: date, check: str | None = None) -> pa.Table:
        """How checks went, by day, from the gate and from after the commit alike.

        Columns: judge (`gate`, `job`, `suite`), day (date32), partner, family, metric, device_model, firmware, check,
        version, n_eval, n_fail, n_na, and of the others than the gate people, people_failing, people_passing, most_of_one,
        measure.
        """

    def rows(self, study: str, stratum: Stratum, limit: int = 100, offset: int = 0) -> RowPage:
        """Rows in quarantine, with values and pseudonyms: whoever shows them records that they were seen."""

    def request(self, kind: str, study: str, about: Mapping[str, Json], by: str, reason: str) -> str:
        """Leave a request for the driver; its id, by which `answer` knows it."""

    def answer(self, request: str) -> Answer:
        """What became of a request."""

    def audit(self, seen: Seen) -> None:
        """Note for good that something was decided or seen."""

    def audited(self, study: str, limit: int = 200) -> list[Seen]:
        """The newest lines of the study's audit first."""
