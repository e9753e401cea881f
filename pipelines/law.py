"""The law over entries that were appended: the sums that the ledger keeps, checked again from what it says."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipelines.entries import Entry, Kind
from pipelines.files import study_and_family
from schemas.families import QUARANTINE, READING_FAMILIES
from schemas.reasons import Outcome

OUTCOME_OF_FAMILY = {QUARANTINE.name: Outcome.QUARANTINED, **dict.fromkeys(READING_FAMILIES, Outcome.LANDED)}
"""What became of the readings whose rows a table of the family holds."""


class LawBroken(Exception):
    """The sums of a run differ: something was lost or counted twice, so nothing of it is committed."""


_SETTLED = (Outcome.QUARANTINED, Outcome.DUPLICATE, Outcome.LANDED)


def entry_law(entry: Entry) -> Iterator[str]:
    """Each sum of the entry's counts that does not hold, in words; entries without counts have none to hold."""
    counts: Any = entry.counts
    if not counts:
        return
    records, readings, studies = counts["records"], counts["readings"], counts["studies"]
    if records["read"] != records["decoded"] + records["rejected"]:
        yield "records read are not decoded + rejected"
    if readings["decoded"] != sum(readings[name] for name in ("rejected", "held", "claimed", "skipped")):
        yield "readings decoded are not rejected + held + claimed"
    for study, sums in studies.items():
        if sums["considered"] != sum(sums["withheld"].values()) + sum(sums[name] for name in _SETTLED):
            yield f"considered by {study} is not withheld + quarantined + duplicate + landed"
    if entry.kind in (Kind.INGEST, Kind.REDRIVE):
        counted: Counter[tuple[str, str]] = Counter(
            {(study, name): sums[name] for study, sums in studies.items() for name in _SETTLED[::2]}
        )
        for study, outcome in sorted((rows := _rows(entry)).keys() | counted.keys()):
            if rows[study, outcome] != counted[study, outcome]:
                yield f"the files of {study} do not hold the rows that were {outcome}"


def _rows(entry: Entry) -> Counter[tuple[str, str]]:
    """Rows of the files that the entry adds, by study and outcome."""
    rows: Counter[tuple[str, str]] = Counter()
    for table, change in entry.tables.items():
        study, family = study_and_family(table)
        if family in OUTCOME_OF_FAMILY:
            rows[study, OUTCOME_OF_FAMILY[family]] += sum(file.rows for file in change.add)
    return rows
