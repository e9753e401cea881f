"""The sums over all entries of a ledger, and the law that they must keep: added up again from what each entry says."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipelines.entries import Entry, Kind

_SETTLED = ("quarantined", "duplicate", "landed")


@dataclass
class LedgerSums:
    """Counts by name. `first`: what was read for the first time, redrives left out. `recalled`: rows taken back."""

    entries: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    readings: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    holds: Counter[str] = field(default_factory=Counter)
    recalled: int = 0
    studies: dict[str, Counter[str]] = field(default_factory=dict)
    withheld: dict[str, Counter[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """In the shape of `Expected.as_json`: what was published, each once, and what came of it."""
        return {
            "records": {name: self.first[name] for name in ("read", "decoded", "rejected")},
            "readings": {
                "decoded": self.first["readings decoded"],
                "rejected": self.readings["rejected"],
                "claimed": self.readings["claimed"],
            },
            "rejected": dict(sorted(self.rejected.items())),
            "holds": {name: self.holds[name] for name in ("opened", "released", "expired", "open")},
            "recalled": self.recalled,
            "studies": {
                study: {
                    "considered": sums["considered"],
                    "withheld": dict(sorted(self.withheld[study].items())),
                    **{name: sums[name] for name in _SETTLED},
                }
                for study, sums in sorted(self.studies.items())
            },
        }


def ledger_sums(entries: Iterable[Entry]) -> LedgerSums:
    """Everything that the entries count, added up."""
    sums = LedgerSums()
    for entry in entries:
        sums.entries[entry.kind] += 1
        if entry.kind == Kind.RECALL:
            sums.recalled += int(str(entry.cause["rows"]))
        if entry.holds is not None:
            _add_holds(entry.holds, sums)
        if entry.counts:
            _add_counts(entry.kind, entry.counts, sums)
    return sums


def _add_holds(holds: Any, sums: LedgerSums) -> None:
    for name in ("opened", "released", "expired"):
        sums.holds[name] += holds[name]
    sums.holds["open"] = holds["open"]


def _add_counts(kind: Kind, counts: Any, sums: LedgerSums) -> None:
    sums.records.update(counts["records"])
    sums.readings.update(counts["readings"])
    sums.rejected.update(counts["rejected"])
    if kind == Kind.INGEST:
        sums.first.update(counts["records"])
        sums.first["readings decoded"] += counts["readings"]["decoded"]
    for study, own in counts["studies"].items():
        sums.studies.setdefault(study, Counter()).update({name: own[name] for name in ("considered", *_SETTLED)})
        sums.withheld.setdefault(study, Counter()).update(own["withheld"])


class Law(NamedTuple):
    """One sum: what must equal what, in words and numbers."""

    name: str
    total: int
    parts: dict[str, int]

    @property
    def holds(self) -> bool:
        return self.total == sum(self.parts.values())

    def as_json(self) -> dict[str, Any]:
        return {"law": self.name, "total": self.total, "parts": self.parts, "holds": self.holds}


def laws(sums: LedgerSums) -> Iterator[Law]:
    """The law of the ledger, over all entries."""
    records, readings = sums.records, sums.readings
    yield Law("records read", records["read"], {name: records[name] for name in ("decoded", "rejected")})
    outcomes = {name: readings[name] for name in ("rejected", "held", "claimed")}
    passed = {"not asked for by a redrive": readings["skipped"]} if readings["skipped"] else {}
    yield Law("readings decoded", readings["decoded"], {**outcomes, **passed})
    for study, own in sorted(sums.studies.items()):
        parts = {"withheld": sums.withheld[study].total(), **{name: own[name] for name in _SETTLED}}
        yield Law(f"considered by {study}", own["considered"], parts)
    holds = sums.holds
    yield Law("readings ever held", holds["opened"], {name: holds[name] for name in ("released", "expired", "open")})


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The paths at which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted({*one, *other})
        inner = [differences(one.get(name), other.get(name), f"{path}.{name}" if path else name) for name in names]
        return [found for part in inner for found in part]
    return [] if one == other else [path]
