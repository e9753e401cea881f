"""The gate's checks of specimens, runs and assays: each finds its planted defect, passes what is clean, and knows what it
is not asked about."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quality.checks import Check, checks
from quality.gate import BITS, Gate
from quality.in_force import Approved, Proposal, checks_of
from quality.strata import tally
from schemas.lab_results import STATUSES, WITHOUT_VALUE
from tests.messages import HOUR, MINUTE, START

TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(("comparator", "status", "reference_range", "specimen_condition", "rejection"), pa.string()),
    "run_controls": pa.string(),
    **dict.fromkeys(("haemolysis_index", "dilution", "loq", "reportable_low", "reportable_high"), pa.float64()),
    **dict.fromkeys(("collected", "arrived", "lot_expires", "specimen64", "custody_back_us"), pa.int64()),
}
CLEAN = {
    "metric": "zinc", "value": 12.0, "status": "F", "reference_range": "10-18", "specimen64": 5,
    "collected": START, "arrived": START + HOUR, "custody_back_us": -HOUR,
    "specimen_condition": "cool", "haemolysis_index": 5.0, "loq": 1.0, "reportable_low": 2.0, "reportable_high": 50.0,
    "run_controls": "passed",
}  # fmt: skip
"""A result of which everything is known, and nothing is wrong."""
IN_GATE = ("LK-03", "LK-04", "LK-05", "LK-06", "LK-07", "LK-08", "LK-09", "LK-10", "LK-11", "LK-16")


def judged(
    *rows: dict[str, Any], of: dict[str, Check] | None = None
) -> tuple[list[set[str]], dict[str, tuple[int, int, int]]]:
    """The checks of laboratories that each result fails; and by check how many were evaluated, failed, and were not asked."""
    count, found = len(rows), of or checks()
    nothing = pa.nulls(count, pa.string())
    messages = pa.RecordBatch.from_pydict(
        {
            "metric": pa.array([row["metric"] for row in rows]),
            **dict.fromkeys(("firmware", "device_model"), nothing),
            "channels": pa.nulls(count, pa.list_(pa.string())),
        }
    )
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in TYPES.items()}
    plain = {
        "message": np.arange(count, dtype=np.int32),
        **dict.fromkeys(("start", "end"), np.full(count, START)),
        "offset_min": np.full(count, 60, dtype=np.int16),
    }
    value = np.array([row.get("value", np.nan) for row in rows], dtype=np.float64)
    readings = pa.RecordBatch.from_pydict({**{n: pa.array(v) for n, v in plain.items()}, "value": value, **columns})
    flags = Gate(found).flags(messages, readings, "lab_result")
    table = pa.Table.from_batches([messages]).append_column("partner", pa.repeat("lab", count))
    counts = tally(table, {**plain, **columns, "flags": flags}, "lab_result", found)
    answers = {
        name: tuple(
            sum(n for stratum, n in counter.items() if stratum.check == name)
            for counter in (counts.evaluated, counts.failed, counts.not_applicable)
        )
        for name in IN_GATE
    }
    failed = [{name for name in IN_GATE if flag >> BITS[name] & 1} for flag in flags.tolist()]
    return failed, answers  # type: ignore[return-value]


def but(**changes: Any) -> dict[str, Any]:
    return {**CLEAN, **changes}


def test_a_clean_result_passes_everything_that_can_be_asked_of_it() -> None:
    failed, answers = judged(CLEAN, but(metric="potassium", value=4.0))
    assert failed == [set(), set()]
    assert {name: numbers[0] for name, numbers in answers.items()} == {
        **dict.fromkeys(IN_GATE, 2),
        "LK-05": 1,
        "LK-07": 0,
        "LK-08": 1,
        "LK-16": 0,
    }


def of(metric: str, **changes: Any) -> dict[str, Any]:
    return but(metric=metric, **changes)


LATEST = START + 8 * HOUR
NO_RANGE = dict.fromkeys(("reportable_low", "reportable_high"))
SEEN = {"haemolysis_index": None, "specimen_condition": "haemolysed"}
UNSEEN = dict.fromkeys(("haemolysis_index", "specimen_condition"))


@pytest.mark.parametrize(
    ("check", "fails", "passes", "not_asked"),
    [
        ("LK-03", but(custody_back_us=5 * MINUTE + 1), but(custody_back_us=5 * MINUTE), but(custody_back_us=None)),
        ("LK-04", but(collected=None), but(), but(specimen64=None, collected=None, arrived=None)),
        ("LK-04", but(arrived=None), but(), but(specimen64=None)),
        ("LK-05", of("potassium", arrived=LATEST + 1), of("potassium", arrived=LATEST), but(arrived=START + 99 * HOUR)),
        ("LK-05", of("hba1c", arrived=START + 73 * HOUR), of("hba1c", arrived=START + 72 * HOUR), of("hba1c", arrived=None)),
        ("LK-06", but(lot_expires=START), but(lot_expires=START + 1), but(collected=None, lot_expires=START)),
        ("LK-06", but(arrived=START + 721 * HOUR), but(arrived=START + 720 * HOUR), but(arrived=None)),
        ("LK-07", but(rejection="unknown"), but(rejection="final"), but()),
        ("LK-08", of("potassium", haemolysis_index=90.1), of("potassium", haemolysis_index=90.0), but(haemolysis_index=900.0)),
        ("LK-08", of("ast", haemolysis_index=40.1), of("potassium", haemolysis_index=40.1), of("ast", **UNSEEN)),
        ("LK-08", of("phosphate", **SEEN), of("phosphate", haemolysis_index=None), but(**SEEN)),
        ("LK-08", of("magnesium", haemolysis_index=99.0), of("magnesium", specimen_condition="haemolysed"), but()),
        ("LK-09", but(value=0.0), but(value=0.0, comparator="less_than"), but(value=0.0, loq=None)),
        ("LK-09", but(value=0.999), but(value=1.0), but(loq=None)),
        ("LK-09", but(value=0.999), but(value=1.0 - 1e-12), but(loq=None)),
        ("LK-10", but(value=50.1), but(value=50.1, dilution=10.0), but(value=50.1, **NO_RANGE)),
        ("LK-10", but(value=1.5), but(value=1.5, comparator="less_than"), but(value=1.5, **NO_RANGE)),
        ("LK-10", but(reference_range=None), but(reportable_high=None), but(reference_range=None, **NO_RANGE)),
        ("LK-10", but(value=50.1, dilution=1.0), but(value=1e9, reportable_high=None), but(**NO_RANGE)),
        ("LK-11", but(run_controls="failed"), but(), but(run_controls=None)),
        ("LK-11", but(run_controls="absent"), but(), but(run_controls=None)),
    ],
)  # fmt: skip
def test_a_planted_defect_is_found_alone_and_counted(
    check: str, fails: dict[str, Any], passes: dict[str, Any], not_asked: dict[str, Any]
) -> None:
    failed, answers = judged(fails, passes, not_asked, passes, fails)
    assert [check in found for found in failed] == [True, False, False, False, True]
    assert answers[check] == (4, 2, 1)


def test_nothing_is_asked_of_a_result_of_which_nothing_is_known() -> None:
    failed, answers = judged({"metric": "potassium", "value": 4.0})
    assert failed == [set()]
    assert answers == dict.fromkeys(IN_GATE, (0, 0, 1))


def test_one_defect_holds_back_no_other_analyte_of_the_specimen() -> None:
    late = {"arrived": START + 20 * HOUR, "haemolysis_index": 60.0}
    failed, _ = judged(*(but(metric=metric, **late) for metric in ("potassium", "ast", "magnesium", "sodium", "hba1c")))
    assert failed == [{"LK-05"}, {"LK-08"}, set(), set(), set()]


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_what_says_no_value_or_takes_one_back_is_not_held_back(status: str) -> None:
    defects = but(
        metric="potassium", value=0.0, custody_back_us=HOUR, collected=None, rejection="unknown",
        specimen_condition="haemolysed", haemolysis_index=None, run_controls="failed", status=status,
    )  # fmt: skip
    (failed,), _ = judged(defects)
    every = {"LK-03", "LK-04", "LK-07", "LK-08", "LK-09", "LK-10", "LK-11"}
    assert failed == ({"LK-07"} if status in WITHOUT_VALUE else every)


def changed(check: str, **parameters: Any) -> dict[str, Check]:
    proposal = Proposal(check=check, warning=0.1, alarm=0.2, parameters=parameters)
    return checks_of([Approved(decision="d", proposed_by="a", approved_by="b", at_us=0, reason="r", proposal=proposal)])


def test_a_study_that_requires_controls_does_not_take_a_run_without_them() -> None:
    rows = but(run_controls=None), but(), but(run_controls="failed")
    failed, answers = judged(*rows, of=changed("LK-11", required=1.0))
    assert [found == {"LK-11"} for found in failed] == [True, False, True]
    assert answers["LK-11"] == (3, 2, 0)
    assert judged(*rows)[1]["LK-11"] == (2, 1, 1)


def test_a_study_has_its_own_limits() -> None:
    one = but(metric="potassium", haemolysis_index=60.0)
    assert judged(one)[0] == [set()]
    assert judged(one, of=changed("LK-08", index_above={"potassium": 50.0}))[0] == [{"LK-08"}]
