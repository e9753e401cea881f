"""Great Expectations itself: a suite as its expectations, and what it finds in a frame. Imported in a process of its own.

It takes seconds and 120 MB to import, its context is one for a whole process, and it is not concurrent. Of its results only
counts are taken: no value is asked for, and the text of an error is not looked at, since it may show one.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
import pyarrow as pa

from quality.suites import Clause, Judgement, Suite

COUNTS_ONLY = {"result_format": "SUMMARY", "partial_unexpected_count": 0}
MISSING = "either_value_is_missing"
"""Without it a pair of which one is missing fails."""


class Found(NamedTuple):
    """How often a check was evaluated, failed and did not apply in a frame, and of how many people it was evaluated."""

    of: Judgement
    n_eval: int
    n_fail: int
    n_na: int
    people: int


def judge(table: pa.Table, suite: Suite) -> tuple[list[Found], list[str]]:
    """What was found by check, and the checks of which an expectation could not be evaluated."""
    frame = table.to_pandas()
    unexpected = _validated(frame, suite)
    found, failed = [], []
    for judgement in suite.judgements:
        counts = unexpected[judgement.check]
        if any(count is None for count in counts):
            failed.append(judgement.check)
            continue
        among, asked = _chosen(frame, judgement.among), _chosen(frame, judgement.applies)
        n_fail = sum(count for count in counts if count is not None)
        found.append(Found(judgement, len(asked), n_fail, len(among) - len(asked), _people(asked)))
    return found, failed


def _chosen(frame: pd.DataFrame, rows: str | None) -> pd.DataFrame:
    if rows is None:
        return frame.iloc[:0]
    return frame.query(rows) if rows else frame


def _people(asked: pd.DataFrame) -> int:
    own = int(asked.loc[asked["person"] >= 0, "person"].nunique())
    return own or (int(asked["people"].max()) if len(asked) and "people" in asked else 0)


def _validated(frame: pd.DataFrame, suite: Suite) -> dict[str, list[int | None]]:
    """By check how many rows fail each of its clauses, None where that cannot be said."""
    counts: dict[str, list[int | None]] = {one.check: [] for one in suite.judgements}
    expectations = [made for one in suite.judgements for made in _expectations(one)]
    if not expectations or frame.empty:
        return counts
    asked = gx.ExpectationSuite(name=suite.name, expectations=expectations)
    validated = _batches().get_batch({"dataframe": frame}).validate(asked, result_format=COUNTS_ONLY)
    for result in validated.results:
        check = result.expectation_config.meta["check"]
        counts[check].append(result.result.get("unexpected_count"))
    return counts


@cache
def _batches() -> Any:
    """The one context of this process, in memory, which shows no progress and builds no pages."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("frames")
    return source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("all")


def _expectations(of: Judgement) -> Iterable[Any]:
    for place, clause in enumerate(of.clauses):
        common = {"severity": of.severity.value, "meta": {"check": of.check, "version": of.version, "clause": place}}
        if clause.where:
            common |= {"row_condition": clause.where, "condition_parser": "pandas"}
        yield expectation(clause, **common)


def expectation(clause: Clause, **common: Any) -> Any:
    """The expectation that a clause is."""
    column, strict = clause.column, clause.strict
    match clause.kind:
        case "between":
            ends = {"min_value": clause.low, "strict_min": strict and clause.low is not None}
            ends |= {"max_value": clause.high, "strict_max": strict and clause.high is not None}
            return gxe.ExpectColumnValuesToBeBetween(column=column, **ends, **common)
        case "in_set":
            return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(clause.values), **common)
        case "not_in_set":
            return gxe.ExpectColumnValuesToNotBeInSet(column=column, value_set=list(clause.values), **common)
        case "not_null":
            return gxe.ExpectColumnValuesToNotBeNull(column=column, **common)
        case "regex":
            return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=clause.pattern, **common)
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=column, column_B=clause.other, or_equal=not strict, ignore_row_if=MISSING, **common
    )
