"""What a plan pins from history: medians of late, of enough people; changes that two people agreed on; read once."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.files import DataFile
from pipelines.pinned import Pinned, medians_of
from schemas.families import DAY_SUMMARY, DECISION
from schemas.registry import Study
from tests.lakes import HOUR, JAN, Driver, rows

DAY = 24 * HOUR


class Read:
    """A driver, what is pinned from its tables, and how often their files were asked for."""

    def __init__(self, root: Path) -> None:
        self.driver = Driver(root)
        self.asked: list[str] = []
        self.pinned = Pinned(self.driver.store, self._live, [Study(id="a", smallest_cell=5), Study(id="b")])

    def _live(self, table: str) -> list[DataFile]:
        self.asked.append(table)
        return self.driver.tables.live_files(table)

    def land(self, family: str, study: str = "a", **columns: Any) -> None:
        count = len(next(iter(columns.values())))
        content = rows(DAY_SUMMARY if family == "day_summary" else DECISION, count, **columns)
        entry = self.driver.entry([self.driver.file(study, content, family)])
        self.driver.tables.append_and_apply(entry)
        self.pinned.after(entry)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return Read(tmp_path)


def summaries(*days: tuple[int, str, int, int, float | None]) -> dict[str, Any]:
    """(day, level, rows, people, median) of one metric."""
    numbers, levels, counts, people, medians = zip(*days, strict=True)
    starts = [JAN + number * DAY for number in numbers]
    own = {"start": starts, "level": levels, "rows": counts, "people": people, "median": medians}
    return {**own, "metric": ["weight"] * len(days)}


def test_days_weigh_as_much_as_their_rows_and_few_people_do_not_count(read: Read) -> None:
    read.land(
        "day_summary",
        **summaries(
            (0, "metric", 10, 5, 70.0), (1, "metric", 100, 9, 71.0), (2, "metric", 10, 9, 80.0),
            (3, "metric", 9_000, 4, 150.0), (4, "stratum", 9_000, 9, 150.0), (5, "metric", 9_000, 9, None),
        ),
    )  # fmt: skip
    assert read.pinned.medians() == {"a": {"weight": 71.0}}


def test_what_is_older_than_28_days_before_the_newest_does_not_count(read: Read) -> None:
    read.land("day_summary", **summaries((0, "metric", 900, 9, 60.0), (1, "metric", 10, 9, 70.0)))
    assert read.pinned.medians() == {"a": {"weight": 60.0}}
    read.land("day_summary", **summaries((28, "metric", 10, 9, 75.0)))
    assert read.pinned.medians()["a"]["weight"] in (70.0, 75.0)


def test_nothing_is_read_again_until_an_entry_has_changed_it(read: Read) -> None:
    read.land("day_summary", **summaries((0, "metric", 10, 9, 70.0)))
    read.pinned.medians(), read.pinned.changes()
    asked = len(read.asked)
    read.pinned.medians(), read.pinned.changes()
    assert len(read.asked) == asked
    read.land("day_summary", "b", **summaries((0, "metric", 10, 19, 50.0)))
    assert read.pinned.medians() == {"a": {"weight": 70.0}, "b": {"weight": 50.0}}
    assert read.asked[asked:] == ["study=b/day_summary"]


def test_a_change_that_two_people_agreed_on_is_in_force(read: Read) -> None:
    about = json.dumps({"threshold": {"check": "PL-01", "warning": 0.01, "alarm": 0.2}})
    columns: dict[str, Any] = {"kind": ["propose", "approve"], "by": ["ann", "bob"], "second": [None, "ann"]}
    read.land("decision", about=[about, about], **columns)
    (change,) = read.pinned.changes()["a"]
    assert (change.proposal.check, change.proposal.alarm, change.approved_by) == ("PL-01", 0.2, "bob")


def test_a_study_of_which_nothing_is_known_has_no_medians(read: Read) -> None:
    assert read.pinned.medians() == read.pinned.changes() == {}
    assert medians_of(DAY_SUMMARY.schema.empty_table(), 5) == {}
