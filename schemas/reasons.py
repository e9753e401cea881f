"""The words for what happened to a record or a reading: outcomes, reasons of rejection, codes of consent.

They appear in the ledger, on the partners' rejected topics, in metrics and in reports, so each is spelled here once.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a reading (the first two without a study, the others per study that considered it)."""

    REJECTED = "rejected"
    HELD = "held"
    WITHHELD = "withheld"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    LANDED = "landed"
    NOT_CONSIDERED = "not_considered"


class Reason(StrEnum):
    """Why a record or a reading was rejected: it breaks the contract, and its partner can mend it."""

    TOO_LARGE = "R_TOO_LARGE"
    POISON = "R_POISON"
    CORRUPT = "R_CORRUPT"
    EMPTY = "R_EMPTY"
    NOT_AVRO = "R_NOT_AVRO"
    FINGERPRINT = "R_FINGERPRINT"
    CONTRACT = "R_CONTRACT"
    TRUNCATED = "R_TRUNCATED"
    TRAILING = "R_TRAILING"
    FIELD = "R_FIELD"
    RAGGED = "R_RAGGED"
    NO_READINGS = "R_NO_READINGS"
    METRIC = "R_METRIC"
    UNIT = "R_UNIT"
    CODE = "R_CODE"
    NOT_FINITE = "R_NOT_FINITE"
    ZONE = "R_ZONE"
    INTERVAL = "R_INTERVAL"
    TIME = "R_TIME"
    FUTURE = "R_FUTURE"


REASON_MEANING: dict[Reason, str] = {
    Reason.TOO_LARGE: "the record, or its compressed batch, is larger than the limit",
    Reason.POISON: "reading it has twice ended the process that did so, while the same process did well without it",
    Reason.CORRUPT: "the record's compressed batch cannot be unpacked",
    Reason.EMPTY: "the record has no value",
    Reason.NOT_AVRO: "the value does not begin with the single-object marker C3 01",
    Reason.FINGERPRINT: "no version of any contract has this schema fingerprint",
    Reason.CONTRACT: "the message's contract is not the one of its topic",
    Reason.TRUNCATED: "the body ends before the contract does, or a field is not what the contract says",
    Reason.TRAILING: "bytes are left after the body",
    Reason.FIELD: "a header field is missing, empty, too long or not allowed",
    Reason.RAGGED: "times, values, channels or record ids do not have the same length",
    Reason.NO_READINGS: "the series holds no reading",
    Reason.METRIC: "the metric is not in the catalogue, or not one that this contract carries",
    Reason.UNIT: "the unit is not one of the metric's allowed units",
    Reason.CODE: "the code is not in the metric's value set",
    Reason.NOT_FINITE: "the value is not a finite number",
    Reason.ZONE: "local times without a known zone or offset",
    Reason.INTERVAL: "the interval ends before it starts, or a period is not positive",
    Reason.TIME: "the reading is older than 2015 on a live device's topic, or than 1900, or no time that can be represented",
    Reason.FUTURE: "the reading ends more than 5 minutes after it was received",
}


class Code(StrEnum):
    """The verdict of consent on one reading and one study."""

    OK = "L_OK"
    FUTURE = "R_FUTURE"
    STUDY_INACTIVE = "R_STUDY_INACTIVE"
    NOT_MEMBER = "R_NOT_MEMBER"
    ATTRIBUTION = "H_ATTRIBUTION"
    CONSENT_LAG = "H_CONSENT_LAG"
    NO_CONSENT = "H_NO_CONSENT"
    KIT_NOT_ACTIVATED = "H_KIT"
    NO_AUTHORITY = "R_NO_AUTHORITY"
    ERASED = "R_ERASED"
    OUTSIDE_WINDOW = "R_OUTSIDE_WINDOW"
    UNDATED = "R_UNDATED"
    NOT_CONSIDERED = "N_NOT_CONSIDERED"


class Rejected(Exception):
    """Bad input with a named reason and the path of the field at fault; it never carries a value.

    It is the one exception that the pipeline catches: anything else is a defect and crashes the run.
    """

    def __init__(self, reason: Reason, path: str = "", expected: str = "") -> None:
        super().__init__(f"{reason} at {path or 'message'}: {expected or REASON_MEANING[reason]}")
        self.reason = reason
        self.path = path
        self.expected = expected or REASON_MEANING[reason]
