"""Codes and words of laboratories: the table contradicts neither itself nor the catalogue, and reaches all of it."""

import re

import pytest
from pydantic import ValidationError

from schemas import lab_codes as module
from schemas.lab_codes import LOINC, LabCodesError, Term, lab_codes, plain
from schemas.metrics import Metric, catalogue

CODED = [metric for metric in catalogue().of_laboratories if metric.codes]
SYSTEMS = "systems: {SCT: [SNOMED], LN: []}\n"


def known(metric: Metric, term: Term) -> list[str]:
    return [meaning for meaning in term.means if meaning in metric.codes]


def test_a_sound_table_is_read() -> None:
    found = module.parse(SYSTEMS + "terms: [{means: [a, b], codes: {SCT: ['1', '2']}, words: [[Ja], [Sí]]}]")
    assert found.systems == {"SCT": "SCT", "SNOMED": "SCT", "LN": "LN"}
    assert found.codes == {("SCT", "1"): ("a", "b"), ("SCT", "2"): ("a", "b")}
    assert found.words == {"ja": ("a", "b"), "sí": ("a", "b")}


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ("[{means: [a], codes: {SCT: ['1', '1']}, words: []}]", "'1'"),
        ("[{means: [a], codes: {SCT: ['1']}, words: []}, {means: [b], codes: {SCT: ['1']}, words: []}]", "'1'"),
        ("[{means: [a], codes: {}, words: [[neg]]}, {means: [b], codes: {}, words: [[' NEG ']]}]", "neg stands twice"),
        ("[{means: [a], codes: {XYZ: ['1']}, words: []}]", "XYZ is not one"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(terms: str, message: str) -> None:
    with pytest.raises(LabCodesError, match=message):
        module.parse(SYSTEMS + "terms: " + terms)


def test_a_system_has_one_name() -> None:
    with pytest.raises(LabCodesError, match="SNOMED stands twice"):
        module.parse("systems: {SCT: [SNOMED], LN: [SNOMED]}\nterms: []")


def test_words_are_texts() -> None:
    """YAML makes truth of an unquoted yes and a number of 0: neither is a word."""
    for word in ("yes", "0"):
        with pytest.raises(ValidationError):
            module.parse(SYSTEMS + f"terms: [{{means: [a], codes: {{}}, words: [[{word}]]}}]")


def test_plain_words() -> None:
    assert plain("  Not\tDETECTED \n") == "not detected"
    assert plain("NÉGATIF") == "négatif"


@pytest.mark.parametrize("metric", CODED, ids=lambda metric: metric.code)
def test_a_metric_takes_one_code_of_a_term_and_each_of_its_codes_is_reached(metric: Metric) -> None:
    meanings = [known(metric, term) for term in lab_codes().terms]
    assert all(len(found) <= 1 for found in meanings)
    assert {found[0] for found in meanings if found} == set(metric.codes)


def test_every_term_is_of_use() -> None:
    every = {code for metric in CODED for code in metric.codes}
    assert all(set(term.means) <= every for term in lab_codes().terms)


def test_codes_are_well_formed() -> None:
    """SNOMED CT by its check digit (Verhoeff), LOINC's answers by theirs (mod 10), so that a misprint is found."""
    for system, code in lab_codes().codes:
        if system == "SCT":
            assert verhoeff(code), code
        if system == LOINC:
            assert re.fullmatch(r"LA[0-9]+-[0-9]", code) and luhn(code), code


def luhn(code: str) -> bool:
    """Whether the last digit is the check digit, by Luhn's algorithm, of the letters and digits before it."""
    total = 0
    for place, letter in enumerate(reversed(code.replace("-", ""))):
        number = ord(letter) - ord("0")
        total += 2 * number - 9 * (number // 5) if place % 2 else number
    return total % 10 == 0


def verhoeff(digits: str) -> bool:
    """Whether the last digit is the check digit of the others in the dihedral group of the pentagon."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit)
        for _ in range(place % 8):
            number = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[number]
        check = times(check, number)
    return check == 0


def times(left: int, right: int) -> int:
    """The product of two of the pentagon's symmetries: 0 to 4 turn it, 5 to 9 turn it over."""
    if left < 5:
        return (left + right) % 5 if right < 5 else 5 + (left + right) % 5
    return 5 + (left - right) % 5 if right < 5 else (left - right) % 5


def test_the_check_digits_find_a_misprint() -> None:
    assert luhn("LA33-6") and luhn("LA11882-0")
    assert not any(luhn(misprint) for misprint in ("LA33-5", "LA11822-0", "LA18182-0", "LP33-6"))
    assert verhoeff("260373001") and verhoeff("455371000124106")
    assert not any(verhoeff(misprint) for misprint in ("260373002", "260337001", "206373001", "455371000142106"))
