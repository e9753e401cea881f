"""Discard: rows leave quarantine for good and are remembered by their keys, so that they do not come back when sent again."""

from collections.abc import Mapping

import pyarrow as pa
from pydantic import JsonValue

from pipelines.check_counts import TakenOut
from pipelines.chosen_rows import Part, all_of, joined, taken_out
from pipelines.decided import Decision, change
from pipelines.driver import Driver
from pipelines.entries import Kind
from pipelines.files import table_key
from pipelines.landing import numbered, publish
from pipelines.plan import Replacement
from pipelines.replay import lessened
from pipelines.requests import Change
from schemas.families import CHECK_COUNT, DISCARDED


def discard(driver: Driver, decision: Decision, about: Mapping[str, JsonValue], parts: list[Part]) -> Change:
    """The change that discards the chosen rows, and takes them out of the checks' counts."""
    taken, replaced = TakenOut(), list[tuple[str, Replacement]]()
    remembered: dict[str, list[pa.Table]] = {}
    for part in parts:
        rows, replacement = taken_out(driver, part.file, part.mine)
        replaced.append((part.file.table, replacement))
        taken.add(rows, rows.column("family"))
        remembered.setdefault(part.file.month, []).append(rows.select(DISCARDED.schema.names))  # not what blocks hold
    counts = table_key(decision.study, CHECK_COUNT.name)
    replaced.append((counts, lessened(driver, counts, taken)))
    replaced += [_keys(driver, decision.study, month, rows) for month, rows in sorted(remembered.items())]
    rows_gone = all_of(parts).rows
    return change(driver, decision, Kind.DISCARD, about, rows=rows_gone, replaced=joined(replaced))


def _keys(driver: Driver, study: str, month: str, parts: list[pa.Table]) -> tuple[str, Replacement]:
    """A file with the keys of a month's rows, discarded by the next entry."""
    n, table = driver.ledger.next_n, table_key(study, DISCARDED.name)
    rows = numbered(pa.concat_tables(parts), "entry", n)
    rows = rows.sort_by([(column, "ascending") for column in DISCARDED.sort_key]).cast(DISCARDED.schema)
    return table, Replacement(add=(publish(driver.store, rows, table, month, n, driver.ledger.epoch),))
