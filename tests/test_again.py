"""Consent asked again about rows: as when they came in and as now, by pseudonym alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.consent.again import judge_again
from pipelines.consent.register import Register
from pipelines.consent.snapshot import Snapshots
from pipelines.consent.verdict import CODES
from pipelines.keys import StudyKey
from schemas.registry import Study
from tests.test_register import DAY, event, tell

KEY = StudyKey("sleep", bytes(32))
STUDIES = {name: Study(id=name, basis_after_withdrawal="public_interest_research") for name in ("sleep", "mood")}


@pytest.fixture
def register(register: Register) -> Register:
    """Mia consented on day 10, ann with another study, bo withdrew on day 20, and of cy's chain an event is missing."""
    tell(register, event("grant", 1, 10), event("grant", 1, 10, member="ann", study="mood"), at=10 * DAY)
    tell(register, event("grant", 1, 10, member="bo"), event("grant", 2, 10, member="cy"), at=10 * DAY)
    tell(register, event("withdraw", 2, 20, member="bo"), at=20 * DAY)
    return register


def codes(register: Register, tmp_path: Path, *rows: dict[str, Any], now: int = 30, hold: int = 0) -> list[str]:
    """The verdict on rows of a day, received on it unless told otherwise."""
    full = [{"metric": "hr", "received": row["start"], **row, "end": row["start"]} for row in rows]
    moments = {name: [row[name] * DAY for row in full] for name in ("start", "end", "received")}
    table = pa.table(
        {
            "pseudonym": [KEY.pseudonym(row["who"]) for row in full],
            "metric": [row["metric"] for row in full],
            **{name: pa.array(values, pa.timestamp("us", "UTC")) for name, values in moments.items()},
        }
    )
    snapshot = Snapshots(register, tmp_path / "snapshots", STUDIES, ("steps", "hr")).refresh().open()
    holds = np.full(len(rows), hold * DAY)
    return [str(CODES[code]) for code in judge_again(table, KEY, register, snapshot, now * DAY, holds)]


def test_each_row_is_judged_by_its_own_persons_chain(register: Register, tmp_path: Path) -> None:
    people = ("mia", "bo", "ann", "cy", "nobody", "mia")
    found = codes(register, tmp_path, *({"who": who, "start": 15} for who in people))
    assert found == ["L_OK", "R_NO_AUTHORITY", "N_NOT_CONSIDERED", "H_CONSENT_LAG", "H_NO_CONSENT", "L_OK"]


def test_a_withdrawal_counts_from_when_it_is_in_force(register: Register, tmp_path: Path) -> None:
    assert codes(register, tmp_path, {"who": "bo", "start": 15}, now=19) == ["L_OK"]
    assert codes(register, tmp_path, {"who": "bo", "start": 15}, now=20) == ["R_NO_AUTHORITY"]


def test_what_was_not_let_in_then_is_not_let_in_now(register: Register, tmp_path: Path) -> None:
    rows = [
        {"who": "mia", "start": 5},
        {"who": "mia", "start": 5, "received": 15},
        {"who": "mia", "start": 15, "metric": "steps"},
    ]
    assert codes(register, tmp_path, *rows) == ["R_NO_AUTHORITY", "R_OUTSIDE_WINDOW", "R_NO_AUTHORITY"]


def test_a_metric_that_the_catalogue_has_no_more_is_nobodys_to_let_in(register: Register, tmp_path: Path) -> None:
    assert codes(register, tmp_path, {"who": "mia", "start": 15, "metric": "gone"}) == ["R_NO_AUTHORITY"]


def test_a_row_that_waited_for_its_first_grant_is_judged_by_that(register: Register, tmp_path: Path) -> None:
    tell(register, event("grant", 1, 12, member="dee", retro_from=1 * DAY), at=12 * DAY)
    row = {"who": "dee", "start": 11}
    assert codes(register, tmp_path, row) == ["R_NO_AUTHORITY"]
    assert codes(register, tmp_path, row, hold=3) == ["L_OK"]
