"""Barcodes: every slip of a hand or an eye is found, nothing is given twice, and no refusal repeats what was typed."""

import random
from itertools import combinations, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.barcodes import (
    A_BARCODE_ALPHABET,
    A_BARCODE_CHECKED,
    A_BARCODE_LENGTH,
    ALPHABET,
    LENGTH,
    checked,
    in_groups,
    is_barcode,
    issue,
    issue_many,
    spelled,
)
from schemas.reasons import Reason, Rejected

barcodes = st.integers(0, 2**64).map(lambda seed: issue(random.Random(seed).choice))
KNOWN = "9Y875XRT6M0NFKBN"


def fault(text: str) -> str:
    with pytest.raises(Rejected) as caught:
        checked(text, "subject")
    assert (caught.value.reason, caught.value.path) == (Reason.FIELD, "subject")
    return caught.value.expected


def swapped(barcode: str, one: int, other: int) -> str:
    characters = list(barcode)
    characters[one], characters[other] = characters[other], characters[one]
    return "".join(characters)


@given(barcodes)
def test_what_is_issued_is_a_barcode_without_letters_that_look_like_digits(barcode: str) -> None:
    assert len(barcode) == LENGTH and set(barcode) <= set(ALPHABET) and not set(barcode) & set("ILOU*")
    assert checked(barcode) == barcode


@given(barcodes, st.data())
def test_every_character_that_is_misread_is_found(barcode: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, LENGTH - 1))
    for other in set(ALPHABET) - {barcode[place]}:
        assert fault(barcode[:place] + other + barcode[place + 1 :]) == A_BARCODE_CHECKED


@given(barcodes)
def test_any_two_characters_that_are_swapped_are_found(barcode: str) -> None:
    for one, other in combinations(range(LENGTH), 2):
        if barcode[one] != barcode[other]:
            assert fault(swapped(barcode, one, other)) == A_BARCODE_CHECKED


@given(barcodes, st.data())
def test_one_character_too_few_or_too_many_is_found(barcode: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, LENGTH - 1))
    assert fault(barcode[:place] + barcode[place + 1 :]) == A_BARCODE_LENGTH
    assert fault(barcode[:place] + data.draw(st.sampled_from(ALPHABET)) + barcode[place:]) == A_BARCODE_LENGTH


@given(barcodes, st.integers(0, 2**64))
def test_small_letters_blanks_and_hyphens_do_not_matter(barcode: str, seed: int) -> None:
    choose = random.Random(seed).choice
    blanks = ["", "", " ", "-", "\u00a0", "\u2011", "\u2013"]
    typed = "".join(choose(blanks) + choose([letter, letter.lower()]) for letter in barcode)
    assert checked(typed) == spelled(typed) == barcode
    assert checked(in_groups(barcode)) == barcode


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", A_BARCODE_LENGTH),
        ("9Y87", A_BARCODE_LENGTH),
        ("jane.doe@example.org", A_BARCODE_LENGTH),
        ("O" + KNOWN[1:], A_BARCODE_ALPHABET),
        ("u" + KNOWN[1:], A_BARCODE_ALPHABET),
        (KNOWN[:-1] + "*", A_BARCODE_ALPHABET),
        ("\u017f" + KNOWN[1:], A_BARCODE_ALPHABET),
        ("\uff19" + KNOWN[1:], A_BARCODE_ALPHABET),
        ("8" + KNOWN[1:], A_BARCODE_CHECKED),
        ("0" * LENGTH, A_BARCODE_CHECKED),
    ],
)
def test_what_is_wrong_is_said_without_what_was_typed(typed: str, expected: str) -> None:
    assert fault(typed) == expected
    with pytest.raises(Rejected) as caught:
        checked(typed)
    assert not typed or typed not in str(caught.value)
    assert not is_barcode(typed)


@given(st.text(max_size=40))
def test_any_text_is_judged(text: str) -> None:
    assert is_barcode(text) == is_barcode(spelled(text))


def test_nothing_is_issued_twice() -> None:
    """Even by a source that repeats itself."""
    first = [issue(random.Random(seed).choice) for seed in (1, 2)]
    again = iter("".join((first[0], first[0], first[1])))
    drawn: list[str] = []

    def draw(_: str) -> str:
        if len(drawn) % 16 == 15:  # the check character is not drawn
            drawn.append(next(again))
        drawn.append(next(again))
        return drawn[-1]

    assert list(islice(issue_many(2, draw), 2)) == first


def test_a_guess_is_hopeless() -> None:
    """75 bits, of which the check takes none: a thousand million kits leave 1 chance in more than 10^13."""
    assert len(set(ALPHABET)) ** (LENGTH - 1) / 10**9 > 10**13
    assert len({issue()[:4] for _ in range(2_000)}) > 1_900, "drawn at random, not counted"
