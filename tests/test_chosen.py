"""Which rows are meant, and what a decision about them would change: in sums, and of nobody alone."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quality.checks import Severity, checks
from quality.chosen import ENTERED_IN_ERROR, Chosen, effect, failed, is_critical, key_of, names_somebody, number_of
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
