"""The law over entries that were appended: the sums that the ledger keeps, checked again from what it says."""

from collections.abc import Iterator
from typing import Any

from pipelines.entries import Entry
from schemas.families import READING_FAMILIES

_SETTLED = ("quarantined", "duplicate", "landed")


def entry_law(entry: Entry) -> Iterator[str]:
    """Each sum of the entry's counts that does not hold, in words; entries without counts have none to hold."""
    counts: Any = entry.counts
    if not counts:
        return
    records, readings = counts["records"], counts["readings"]
    if records["read"] != records["decoded"] + records["rejected"]:
        yield f"entry {entry.n}: records read are not decoded + rejected"
    if readings["decoded"] != sum(readings[name] for name in ("rejected", "held", "claimed", "skipped")):
        yield f"entry {entry.n}: readings decoded are not rejected + held + claimed"
    for study, sums in counts["studies"].items():
        if sums["considered"] != sum(sums["withheld"].values()) + sum(sums[name] for name in _SETTLED):
            yield f"entry {entry.n}: considered by {study} is not withheld + quarantined + duplicate + landed"
    for study in counts["studies"]:
        rows = sum(f.rows for table, c in entry.tables.items() for f in c.add if _lands_in(table, study))
        if entry.kind in ("ingest", "redrive") and rows != counts["studies"][study]["landed"]:
            yield f"entry {entry.n}: the files of {study} do not hold the rows that landed"


def _lands_in(table: str, study: str) -> bool:
    owner, family = table.removeprefix("study=").split("/")
    return owner == study and family in READING_FAMILIES
