"""What a source holds that cannot be published: where, why, and what was expected. Never the value."""

from typing import NamedTuple

from schemas.reasons import REASON_MEANING

NOT_JSON = "R_NOT_JSON"
UNACKNOWLEDGED = "R_UNACKNOWLEDGED"
HEADER = "R_HEADER"
ENCODING = "R_ENCODING"
STATUS = "R_STATUS"
NO_VALUE = "R_NO_VALUE"
VALUE = "R_VALUE"
VALUE_TYPE = "R_VALUE_TYPE"
NO_TIME = "R_NO_TIME"
SUBJECT = "R_SUBJECT"

# Reasons that only a source can give: what is no message never reaches Kafka. The others are the pipeline's own.
SOURCE_REASON_MEANING: dict[str, str] = {
    NOT_JSON: "the line is not one JSON object in UTF-8, or holds NaN or Infinity",
    UNACKNOWLEDGED: "the broker did not confirm it in time; it may have arrived, and sent again will not count twice",
    HEADER: "it belongs to no HL7 message, or to one whose header (MSH) cannot be read",
    ENCODING: "its letters are not of the character set that the message or its format names, or of none that is known",
    STATUS: "the result's status is none of P, F, C, A, X, D and W",
    NO_VALUE: "the result has no value, and its status does not say that there is none",
    VALUE: "the value is not what its type says",
    VALUE_TYPE: "the value is of a type that is not carried, such as a name, an address or a document",
    NO_TIME: "there is no time of observation or collection that can be read",
    SUBJECT: "no kit or person where the laboratory's mapping file looks for them, or several",
}


class LineError(Exception):
    """A line that cannot be published: `reason`, the field's path (empty: the line as a whole), what was expected."""

    def __init__(self, reason: str, field: str, expected: str) -> None:
        super().__init__(f"{reason} at {field or 'the line'}: expected {expected}")
        self.reason, self.field, self.expected = str(reason), field, expected


class Problem(NamedTuple):
    """A line that was not published, by its number from 1; no part of it is kept."""

    line: int
    field: str
    reason: str
    expected: str

    def __str__(self) -> str:
        where = f"line {self.line}, {self.field}" if self.field else f"line {self.line}"
        return f"{where}: {self.reason}, expected {self.expected}"


def reason_meanings() -> dict[str, str]:
    """What each reason for which a reading can be refused means: those of a source, then those of a message."""
    return {
        **SOURCE_REASON_MEANING,
        **{str(reason): meaning for reason, meaning in REASON_MEANING.items()},
    }
