"""What laboratories say of specimens, in our own words: tables, their own codes, and what nobody knows."""

from pathlib import Path
from typing import get_args

import pytest

from schemas.kit_events import Why
from schemas.specimens import CONDITIONS, FINAL, REASONS, RECOVERABLE, UNKNOWN, condition, rejection

TABLE_0490 = ("EX", "QS", "RA", "RB", "RC", "RD", "RE", "RH", "RI", "RM", "RN", "RP", "RR", "RS")


@pytest.mark.parametrize(
    ("codes", "word"),
    [
        ([], None),
        (["HEM"], "haemolysed"),
        (["hem"], "haemolysed"),
        (["COOL", "HEM"], "haemolysed"),
        (["ROOM", "CLOT"], "clotted"),
        (["haemolysed"], "haemolysed"),
        (["lipaemic, says the technician"], "other"),
        (["x", "COOL"], "cool"),
        (["H2"], "haemolysed"),
    ],
)
def test_of_several_conditions_the_one_that_matters_most(codes: list[str], word: str | None) -> None:
    assert condition(codes, {"h2": "haemolysed"}) == word


def test_every_reason_of_the_table_is_known_and_mapped() -> None:
    for code in TABLE_0490:
        word, kind = rejection([code], {})
        assert word is not None and kind == REASONS[word], code
    kinds = [rejection([code], {})[1] for code in ("RM", "RD", "QS", "RH")]
    assert kinds == [RECOVERABLE, RECOVERABLE, FINAL, FINAL]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([], (None, None)),
        (["qs"], ("too_little", FINAL)),
        (["leaked"], ("leaked", FINAL)),
        (["RM", "QS"], ("too_little", FINAL)),
        (["ZZ"], (None, UNKNOWN)),
        (["QS", "ZZ"], (None, UNKNOWN)),
        (["17"], ("mislabelled", RECOVERABLE)),
        (["other"], (None, UNKNOWN)),
    ],
)
def test_why_a_specimen_was_rejected(codes: list[str], said: tuple[str | None, str | None]) -> None:
    assert rejection(codes, {"17": "mislabelled"}) == said


def test_kits_events_give_the_same_reasons() -> None:
    assert set(get_args(Why)) - set(REASONS) == {"other"}
    assert len(set(CONDITIONS.values())) == len(CONDITIONS)


def test_the_page_says_which_reasons_can_be_mended() -> None:
    page = (Path(__file__).parents[1] / "schemas" / "README.md").read_text(encoding="utf-8")
    rows = {
        line.split("|")[1].strip(" `"): line.split("|")[2:4] for line in page.splitlines() if line.startswith("| `")
    }
    for kind in (RECOVERABLE, FINAL):
        words, codes = rows[kind]
        assert sorted(word.strip(" `") for word in words.split(",")) == sorted(w for w in REASONS if REASONS[w] == kind)
        told = [code for code in TABLE_0490 if rejection([code], {})[1] == kind]
        assert sorted(code.strip() for code in codes.split(",")) == told
