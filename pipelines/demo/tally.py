"""The sums that the demo's story is counted in, for each study and over all: what must be in the ledger and the lake."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Standing(NamedTuple):
    """What holds at last of a laboratory's result, in the table's columns of these names."""

    metric: str
    value: float | None
    code: str | None
    comparator: str | None
    status: str
    revision: int


@dataclass
class StudySums:
    """What becomes of the readings that one study considers; `released` are rows that two people let out of quarantine."""

    considered: int = 0
    withheld: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    duplicate: int = 0
    landed: int = 0
    flagged: int = 0
    revised: int = 0
    released: int = 0
    heart: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By day, UTC: how many heart rates landed, and their sum."""
    results: list[Standing] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "considered": self.considered,
            "withheld": dict(sorted(self.withheld.items())),
            "quarantined": self.quarantined,
            "duplicate": self.duplicate,
            "landed": self.landed,
        }


@dataclass
class Expected:
    """The sums. Records and readings are those published, each once; holds are counted in readings, `recalled` in rows."""

    records: int = 0
    records_rejected: int = 0
    readings: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    readings_rejected: int = 0
    held: int = 0
    released: int = 0
    recalled: int = 0
    studies: dict[str, StudySums] = field(default_factory=dict)

    @property
    def claimed(self) -> int:
        """Readings judged for studies, those that waited among them."""
        return self.readings - self.readings_rejected - self.held + self.released

    def as_json(self) -> dict[str, Any]:
        return {
            "records": {
                "read": self.records,
                "decoded": self.records - self.records_rejected,
                "rejected": self.records_rejected,
            },
            "readings": {"decoded": self.readings, "rejected": self.readings_rejected, "claimed": self.claimed},
            "rejected": dict(sorted(self.rejected.items())),
            "holds": {"opened": self.held, "released": self.released, "expired": 0, "open": self.held - self.released},
            "recalled": self.recalled,
            "studies": {name: sums.as_json() for name, sums in sorted(self.studies.items())},
        }
