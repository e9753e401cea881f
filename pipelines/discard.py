"""Discard: rows leave quarantine for good and are remembered by their keys, so that they do not come back when sent again."""

from collections.abc import Mapping

from pydantic import JsonValue

from pipelines.chosen_rows import Found
from pipelines.decided import Decision, change
from pipelines.driver import Driver
from pipelines.entries import Kind
from pipelines.files import table_key
from pipelines.landing import numbered
from pipelines.moved_rows import MovedRows, Uncounted
from pipelines.replay import lessened
from pipelines.requests import Change
from schemas.families import CHECK_COUNT, DISCARDED


def discard(driver: Driver, decision: Decision, about: Mapping[str, JsonValue], found: Found) -> Change:
    """The change that discards the chosen rows, and takes them out of the checks' counts."""
    moved, uncounted, n = MovedRows(driver), Uncounted(), driver.ledger.next_n
    remembered = table_key(decision.study, DISCARDED.name)
    for part in found.parts:
        for _, rows in moved.take_out(part.file, part.mine):
            uncounted.add(rows)
            keys = rows.select(DISCARDED.schema.names)  # not what blocks hold
            moved.bring(remembered, part.file.month, numbered(keys, "entry", n))
        uncounted.end_of_file()
    counts = table_key(decision.study, CHECK_COUNT.name)
    moved.change(counts, lessened(driver, counts, uncounted.finish()))
    return change(driver, decision, Kind.DISCARD, about, rows=found.chosen.rows, replaced=moved.finish())
