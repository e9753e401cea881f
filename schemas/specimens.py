"""What laboratories say of a specimen beside its results: its condition, and why they rejected it, in our own words.

The codes are those of HL7's tables 0493 and 0490, whose capitals do not matter; our own words are codes, too. What
nobody has reviewed becomes `OTHER` or `UNKNOWN`, never the text that was sent.
"""

from collections.abc import Iterable, Mapping

from schemas.lab_codes import plain

CONDITIONS = {
    "HEM": "haemolysed", "CLOT": "clotted", "CON": "contaminated", "AUT": "autolysed", "SNR": "not_received",
    "FROZ": "frozen", "COOL": "cool", "ROOM": "room_temperature", "CFU": "centrifuged", "LIVE": "live",
}  # fmt: skip
"""By code of table 0493, in the order in which they matter to a result: of several the first is told."""
HAEMOLYSED, OTHER = "haemolysed", "other"

RECOVERABLE, FINAL, UNKNOWN = "recoverable", "final", "unknown"
REASONS: Mapping[str, str] = {
    **dict.fromkeys(("mislabelled", "not_activated", "undated", "unidentified"), RECOVERABLE),
    **dict.fromkeys(
        (
            *("clotted", "contaminated", "damaged", "empty", "examined", "expired", "haemolysed", "leaked"),
            *("spoilt", "too_late", "too_little", "withdrawn", "wrong_material"),
        ),
        FINAL,
    ),
}
"""Why a specimen was rejected, and whether that can be mended: papers can, what happened to the specimen cannot.

Kits' events have the same words (`schemas.kit_events.Why`), but for those that only laboratories' tables know; their
`other` says no reason, so it is unknown.
"""
_TABLE_0490 = {
    "EX": "expired", "QS": "too_little", "RA": "unidentified", "RB": "damaged", "RC": "clotted", "RD": "undated",
    "RE": "unidentified", "RH": "haemolysed", "RI": "unidentified", "RM": "mislabelled", "RN": "contaminated",
    "RP": "unidentified", "RR": "spoilt", "RS": "mislabelled",
}  # fmt: skip


def _looked_up(codes: Mapping[str, str]) -> dict[str, str]:
    return {plain(code): word for code, word in codes.items()} | {word: word for word in codes.values()}


_CONDITIONS = _looked_up(CONDITIONS)
_REASONS = _looked_up(_TABLE_0490) | {word: word for word in REASONS}
_BY_WEIGHT = {word: place for place, word in enumerate((*CONDITIONS.values(), OTHER))}


def condition(codes: Iterable[str], own: Mapping[str, str]) -> str | None:
    """The condition that codes as sent say, of several the one that matters most; None where there is no code.

    `own` are the laboratory's own codes as they are looked up, which go before the table.
    """
    found = [own.get(plain(code)) or _CONDITIONS.get(plain(code), OTHER) for code in codes]
    return min(found, key=_BY_WEIGHT.__getitem__, default=None)


def rejection(codes: Iterable[str], own: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Why a specimen was rejected, and whether that is recoverable, final or unknown; (None, None) where it was not.

    Of several reasons one that nobody knows is told first (it has no word), then one that is final.
    """
    words = [own.get(plain(code)) or _REASONS.get(plain(code), "") for code in codes]
    if not words:
        return None, None
    kinds = {word: REASONS.get(word, UNKNOWN) for word in words}
    word = min(words, key=lambda one: (UNKNOWN, FINAL, RECOVERABLE).index(kinds[one]))
    return (word if kinds[word] != UNKNOWN else None), kinds[word]
