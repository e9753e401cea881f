"""Barcodes of self-sampling kits: 15 random characters and one of ISO 7064 mod 37,2 that checks them.

Who guesses a barcode could ask for somebody else's result: of 75 random bits, one in more than 30 million million hits
one of a thousand million kits. The letters I, L, O and U do not occur, nor does the asterisk that the check character
could be: what would need one of them is drawn again. Every single character that is misread and every two that are
swapped, wherever they stand, are found.
"""

import secrets
from collections.abc import Callable, Iterator

from stdnum.iso7064 import mod_37_2

from schemas.reasons import Reason, Rejected

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_CHARACTERS = 15
LENGTH = RANDOM_CHARACTERS + 1

_SMALL = "abcdefghijklmnopqrstuvwxyz"
_BLANKS_AND_HYPHENS = " \t\u00a0-\u2010\u2011\u2013"
_AS_PRINTED = str.maketrans(_SMALL, _SMALL.upper(), _BLANKS_AND_HYPHENS)

A_BARCODE_LENGTH = f"{LENGTH} characters, blanks and hyphens apart"
A_BARCODE_ALPHABET = "digits and letters other than I, L, O and U only: a 1 or 0 may have been read as a letter"
A_BARCODE_CHECKED = "a last character that fits the others: one is misread, or two are swapped"


def issue(draw: Callable[[str], str] = secrets.choice) -> str:
    """A new barcode; `draw` takes one of the characters of a text at random."""
    while True:
        drawn = "".join(draw(ALPHABET) for _ in range(RANDOM_CHARACTERS))
        check = mod_37_2.calc_check_digit(drawn)
        if check in ALPHABET:
            return drawn + check


def issue_many(count: int, draw: Callable[[str], str] = secrets.choice) -> Iterator[str]:
    """New barcodes, each another one."""
    given: set[str] = set()
    while len(given) < count:
        barcode = issue(draw)
        if barcode not in given:
            given.add(barcode)
            yield barcode


def spelled(text: str) -> str:
    """The text in the one spelling that barcodes are compared in, whether it is one or not."""
    return text.translate(_AS_PRINTED)


def checked(text: str, path: str = "barcode") -> str:
    """The barcode in its one spelling; Rejected, at `path`, with what it should have, and never with what was there."""
    barcode = spelled(text)
    if len(barcode) != LENGTH:
        raise Rejected(Reason.FIELD, path, A_BARCODE_LENGTH)
    if not set(barcode) <= set(ALPHABET):
        raise Rejected(Reason.FIELD, path, A_BARCODE_ALPHABET)
    if not mod_37_2.is_valid(barcode):
        raise Rejected(Reason.FIELD, path, A_BARCODE_CHECKED)
    return barcode


def is_barcode(text: str) -> bool:
    """Whether the text is a barcode, however it is spelled."""
    try:
        checked(text)
    except Rejected:
        return False
    return True


def in_groups(barcode: str) -> str:
    """As people read it: four groups of four."""
    return "-".join(barcode[at : at + 4] for at in range(0, LENGTH, 4))
