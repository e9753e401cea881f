"""The accounts of a run: what each stage counted, and the law that their sums must keep.

Each stage notes what it saw itself; no stage's number is derived from another's. A run whose sums differ does not
commit.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipelines.claims import Claims
from pipelines.decode import Pointer, count_reasons
from pipelines.files import study_and_family
from pipelines.law import OUTCOME_OF_FAMILY, LawBroken
from schemas.reasons import Outcome


def note(stage: str, **content: Any) -> str:
    """What a stage has to say about one block, as it travels to the manifest."""
    return json.dumps({"stage": stage, **content})


def rejection_note(stage: str, pointers: list[Pointer], **content: Any) -> str:
    """A note with pointers to what the stage rejected, counted by reason."""
    reasons, records = count_reasons(pointers)
    readings = sum(pointer.readings for pointer in pointers)
    return note(
        stage, pointers=[list(p) for p in pointers], reasons=reasons, records=records, readings=readings, **content
    )


def claims_note(claims: Claims) -> str:
    """The verdict's own sums, taken before any row is copied."""
    withheld, people = (_by_study(counter) for counter in (claims.withheld, claims.people))
    holds = [list(hold) for hold in claims.holds]
    return note(
        "consent", claimed=claims.claimed, holds=holds, considered=claims.considered, withheld=withheld, people=people
    )


def _by_study(counted: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (study, code), count in counted.items():
        found.setdefault(study, {})[code] = count
    return found


@dataclass
class Accounts:
    """The sums over a run's notes, and what the notes carried for the commit."""

    read: int = 0
    read_of: Counter[str] = field(default_factory=Counter)
    bytes_of: Counter[str] = field(default_factory=Counter)
    records: int = 0
    records_rejected: int = 0
    decoded: int = 0
    rejected: int = 0
    skipped: int = 0
    claimed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    considered: Counter[str] = field(default_factory=Counter)
    withheld: dict[str, Counter[str]] = field(default_factory=dict)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    people: dict[str, Counter[str]] = field(default_factory=dict)
    """By study, and by outcome or code of what was withheld: how many people there are at least. Whoever is in one note may be
    in another too, so it is as many as are in one."""
    pointers: list[list[Any]] = field(default_factory=list)
    holds: list[list[Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, Counter[tuple[Any, ...]]] = field(default_factory=dict)
    takes_back: list[str] = field(default_factory=list)
    private: str = ""
    bundles: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Take a stage's note into the sums."""
        said = json.loads(text)
        getattr(self, f"_add_{said['stage']}")(said)

    def _add_read(self, said: dict[str, Any]) -> None:
        self.read += said["records"]
        self.read_of[said["topic"]] += said["records"]
        self.bytes_of[said["topic"]] += said["bytes"]

    def _add_decode(self, said: dict[str, Any]) -> None:
        self.records += said["messages"]
        self.decoded += said["decoded"]
        self.records_rejected += said["records"]
        self._add_rejections(said)

    def _add_normalise(self, said: dict[str, Any]) -> None:
        self.rejected += said["readings"]
        self.skipped += said["skipped"]
        self._add_rejections(said)

    def _add_rejections(self, said: dict[str, Any]) -> None:
        self.reasons.update(said["reasons"])
        self.pointers += said["pointers"]

    def _add_consent(self, said: dict[str, Any]) -> None:
        self.claimed += said["claimed"]
        self.considered.update(said["considered"])
        self.holds += said["holds"]
        for hold in said["holds"]:
            self.held[hold[-1]] += hold[4]
        for study, codes in said["withheld"].items():
            self.withheld.setdefault(study, Counter()).update(codes)
            self._know_people(study, said["people"].get(study, {}))

    def _add_write(self, said: dict[str, Any]) -> None:
        self.files += said["files"]
        paths = [file["path"] for file in said["files"] if "path" in file]
        self.bundles.setdefault(said["study"], {}).setdefault(said.get("bundle", ""), []).extend(paths)
        self.outcomes.setdefault(said["study"], Counter()).update({Outcome.DUPLICATE: said["duplicate"]})
        self._know_people(said["study"], said["people"])
        counts = self.checks.setdefault(said["study"], Counter())
        for *stratum, count in said["answers"]:
            counts[tuple(stratum)] += count

    def _know_people(self, study: str, people: dict[str, int]) -> None:
        self.people[study] = self.people.get(study, Counter()) | Counter(people)

    def _add_take_back(self, said: dict[str, Any]) -> None:
        if said["study"] not in self.takes_back:
            self.takes_back.append(said["study"])

    def count_footers(self, rows_in_footer: Any) -> None:
        """What landed and what is in quarantine, by what the files themselves say."""
        for file in self.files:
            study, family = study_and_family(file["table"])
            if family in OUTCOME_OF_FAMILY:
                self.outcomes.setdefault(study, Counter())[OUTCOME_OF_FAMILY[family]] += rows_in_footer(file["path"])

    def check(self) -> None:
        """LawBroken, with the sums, unless everything that came in has exactly one outcome where it should have one."""
        held = sum(self.held.values())
        _equal("records read", self.read, "decoded + rejected", self.records + self.records_rejected)
        _equal(
            "readings decoded",
            self.decoded,
            "rejected + held + claimed",
            self.rejected + held + self.claimed + self.skipped,
        )
        for study in sorted({*self.considered, *self.withheld, *self.outcomes}):
            withheld = sum(self.withheld.get(study, Counter()).values())
            settled = withheld + sum(self.outcomes.get(study, Counter()).values())
            sums = "withheld + quarantined + duplicate + landed"
            _equal(f"considered by {study}", self.considered[study], sums, settled)

    def counts(self) -> dict[str, Any]:
        """The sums as the ledger keeps them: nothing about one person."""
        studies = {}
        for study in sorted({*self.considered, *self.outcomes}):
            outcomes = self.outcomes.get(study, Counter())
            studies[study] = {
                "considered": self.considered[study],
                "withheld": dict(sorted(self.withheld.get(study, Counter()).items())),
                **{str(o): outcomes[o] for o in (Outcome.QUARANTINED, Outcome.DUPLICATE, Outcome.LANDED)},
            }
        return {
            "records": {"read": self.read, "decoded": self.records, "rejected": self.records_rejected},
            "topics": {
                topic: {"records": count, "bytes": self.bytes_of[topic]}
                for topic, count in sorted((+self.read_of).items())
            },
            "readings": {
                "decoded": self.decoded,
                "rejected": self.rejected,
                "held": sum(self.held.values()),
                "claimed": self.claimed,
                "skipped": self.skipped,
            },
            "rejected": dict(sorted(self.reasons.items())),
            "held": dict(sorted(self.held.items())),
            "studies": studies,
            "people": {study: dict(sorted(people.items())) for study, people in sorted(self.people.items()) if people},
        }

    def to_json(self) -> str:
        """The sums as the manifest carries them; pointers and holds are the vault's."""
        return json.dumps({name: value for name, value in vars(self).items() if name not in _NOT_SUMS})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Accounts":
        """The sums of a manifest."""
        said = json.loads(text)
        for name in ("read_of", "bytes_of", "reasons", "held", "considered"):
            said[name] = Counter(said[name])
        for name in ("withheld", "outcomes", "people"):
            said[name] = {study: Counter(counts) for study, counts in said[name].items()}
        return cls(**said)


_NOT_SUMS = ("pointers", "holds", "checks", "bundles")


def _equal(left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise LawBroken(
            f"{left} = {a}, but {right} = {b}: the run is not committed; run again, and report it if it stays"
        )


def total(notes: Iterable[str]) -> Accounts:
    """The accounts over all notes of a run."""
    accounts = Accounts()
    for text in notes:
        accounts.add(text)
    return accounts
