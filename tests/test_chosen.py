"""Which rows are meant, and what a decision about them would change: in sums, and of nobody alone."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quality.checks import Severity, checks
from quality.chosen import (
    ENTERED_IN_ERROR,
    Chosen,
    RowSet,
    effect,
    failed,
    is_critical,
    key_of,
    names_somebody,
    number_of,
)
from quality.desk import Stratum, StudyFacts
from schemas.families import DECISION, QUARANTINE
from tests.desks import FakeDesk
from tests.lakes import rows

DAY = datetime(2025, 1, 15, tzinfo=UTC)
PL00, PL01 = (1 << (checks()[name].bit or 0) for name in ("PL-00", "PL-01"))
MILD = next(check for check in checks().values() if check.mild_bit is not None)


def desk(people: int, **columns: Any) -> FakeDesk:
    """Two rows of each of so many people: one that failed PL-00 alone, one that failed PL-01 too."""
    count = 2 * people
    own = {
        "pseudonym": [f"p{n // 2}" for n in range(count)],
        "flags": [PL00, PL00 | PL01] * people,
        "metric": ["heart_rate"] * count,
        "start": [DAY] * count,
        "end": [DAY] * count,
        **columns,
    }
    recall = {"decision": "0" * 32, "kind": "recall", "start": DAY, "by": "wellspring", "check": "SQ-05"}
    said = {**recall, "about": "{}", "reason": "", "rows": 1, "entry": 7}
    tables = {"quarantine": rows(QUARANTINE, count, **own), "decision": pa.Table.from_pylist([said], DECISION.schema)}
    return FakeDesk({"sleep": StudyFacts("sleep")}, {"sleep": tables})


def test_an_effect_is_in_sums_by_check_metric_and_day() -> None:
    found = effect(desk(10), "sleep", Stratum(check="PL-00"))
    assert (found.rows, found.people, found.needs_two) == (20, 10, checks()["PL-00"].severity is Severity.CRITICAL)
    assert found.by_check == {"PL-00": 20, "PL-01": 10}
    assert (found.by_metric, found.by_day) == ({"heart_rate": 20}, {"2025-01-15": 20})
    assert effect(desk(10), "sleep", Stratum(check="PL-01")).rows == 10


def test_of_fewer_people_than_the_smallest_cell_it_is_not_said_how_many() -> None:
    found = effect(desk(9), "sleep", Stratum(check="PL-00"))
    assert (found.rows, found.people) == (18, None)
    assert effect(desk(9), "sleep", Stratum(check="PL-02")).people is None


@pytest.mark.parametrize(
    ("stratum", "meant"),
    [
        (Stratum(metric="heart_rate"), 4),
        (Stratum(metric="steps"), 0),
        (Stratum(day=date(2025, 1, 15)), 4),
        (Stratum(day=date(2025, 1, 14)), 0),
        (Stratum(day=date(2025, 1, 16)), 0),
        (Stratum(device_model="A"), 1),
        (Stratum(check="SQ-05"), 1),
        (Stratum(check="SQ-05", device_model="A"), 0),
        (Stratum(rows=(number_of(0), number_of(3), number_of(-5))), 2),
        (Stratum(), 4),
    ],
)
def test_rows_are_meant_that_agree_with_everything_that_is_given(stratum: Stratum, meant: int) -> None:
    lake = desk(2, device_model=["A", None, None, None], recalled=[None, None, 7, 8])
    assert effect(lake, "sleep", stratum).rows == meant


def test_what_is_critical_or_known_to_nobody_takes_two() -> None:
    mild = {name: check for name, check in checks().items() if check.severity is not Severity.CRITICAL and check.mask}
    check = next(iter(mild.values()))
    assert not is_critical(check.mask, None, {}) and not is_critical(0, None, {})
    assert is_critical(check.mask | PL00, None, {})
    assert is_critical(1 << 62, None, {}), "a bit of no check"
    assert is_critical(0, 7, {}) and failed(0, 7, {}) == [ENTERED_IN_ERROR]
    assert not is_critical(0, 7, {7: None}) and not is_critical(0, 7, {7: check.id})
    assert is_critical(0, 7, {7: "PL-00"}) and failed(0, 7, {7: "PL-00"}) == ["PL-00"]
    assert not is_critical(1 << (MILD.mild_bit or 0), None, {}) and failed(1 << (MILD.mild_bit or 0), None, {}) == [
        MILD.id
    ]


KEY = st.integers(-(2**63), 2**63 - 1)
ROW = st.tuples(KEY, st.integers(1, 2**40))


def of_rows(*rows: tuple[int, int]) -> RowSet:
    return RowSet(len(rows), sum(key for key, _ in rows), sum(entry for _, entry in rows))


@given(st.lists(ROW), st.integers(0), st.randoms())
def test_rows_are_the_same_in_any_order_and_parts(them: list[tuple[int, int]], cut: int, random: Any) -> None:
    whole = of_rows(*them).fingerprint
    random.shuffle(them)
    parts = [of_rows(*part) for part in (them[:cut], them[cut:])]
    assert RowSet.together(parts).fingerprint == whole and len(whole) == 32
    assert RowSet.together([*parts, of_rows((0, 1))]).fingerprint != whole


@given(ROW)
def test_the_fingerprint_of_one_row_is_not_its_number(row: tuple[int, int]) -> None:
    assert number_of(row[0]) not in of_rows(row).fingerprint


@pytest.mark.parametrize("column", ["key64", "entry", "recalled"])
def test_of_as_many_rows_one_is_another(column: str) -> None:
    """Also where only the entry is another: then it was judged anew, and may have another value."""
    told = {"key64": [-(2**63), 2**63 - 1, 2, 3], "entry": [1, 1, 1, 1], "recalled": [None, None, None, 7]}
    before = effect(desk(2, **told), "sleep", Stratum(metric="heart_rate"))
    same = effect(desk(2, **told, device_model=["B"] * 4), "sleep", Stratum(device_model="B"))
    told[column] = [*told[column][:3], 9]
    after = effect(desk(2, **told), "sleep", Stratum(metric="heart_rate"))
    assert before.fingerprint == same.fingerprint != after.fingerprint and before.rows == after.rows


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_rows_number_is_its_key_and_back(key64: int) -> None:
    assert key_of(number_of(key64)) == key64 and len(number_of(key64)) == 16
    assert int(number_of(key64), 16) == key64 % 2**64


@pytest.mark.parametrize(
    "said",
    [{}, {"rows": []}, {"check": "PL-99"}, {"check": "x"}, {"metric": ""}, {"day": "x"}, {"rows": ["0"]}, {"more": 1}],
)
def test_what_says_nothing_or_nonsense_chooses_nothing(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Chosen.model_validate(said)


PSEUDONYM = "ABCDEFGHIJKLMNOPQRSTUVWX27"


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        (f"the watch of {PSEUDONYM} was wet", True),
        (f"the watch of {PSEUDONYM.lower()} was wet", True),
        (PSEUDONYM.title(), True),
        (PSEUDONYM[1:], False),
        (f"{PSEUDONYM}A", False),
        ("the watches of two participants were wet in the electroencephalography laboratory", False),
    ],
)
def test_a_reason_that_names_somebody(reason: str, named: bool) -> None:
    assert names_somebody(reason) == named
