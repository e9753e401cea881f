"""Is this one message what its contract says? The judgement behind `wellspring contract check`, by the run's own rules.

A message is given as its bytes, as on a topic, or in the JSON form of `schemas.json_form`. What only the run can know
is not judged: when a message was received, whether its partner is registered, and who its subject is.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.clocks import clock_zone
from schemas.consent_events import A_MOMENT, MICROSECONDS, ConsentEvent, IdentityLink
from schemas.contracts import Contract, decode, identify
from schemas.headers import Text, field_rejection, sensor_header
from schemas.json_form import is_json, read_json
from schemas.kit_events import kit_event
from schemas.lab_results import lab_report
from schemas.mappings import Mapping, mapping
from schemas.reasons import Reason, Rejected
from schemas.series import Series, series

_COUNT = Field(ge=0)


@dataclass(frozen=True)
class Finding:
    """`ok` with the contract, its version and the number of readings; or the reason, the field's path and what was
    expected there, with contract and version where they could be told. It never repeats a value of the message."""

    ok: bool
    contract: str | None = None
    version: str | None = None
    readings: int | None = None
    reason: str | None = None
    path: str | None = None
    expected: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class RejectedPointer(BaseModel):
    """A message of the contract rejected: where something lies that was rejected, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    topic: Text
    partition: Annotated[int, _COUNT]
    offset: Annotated[int, _COUNT]
    first_reading: Annotated[int, _COUNT] | None
    readings: Annotated[int, _COUNT]
    reason: Reason
    path: str
    entry: Annotated[int, _COUNT]


def check(data: bytes, contract: str | None = None) -> Finding:
    """The finding about one message's bytes or JSON form, which must be of `contract` where that is given."""
    found: Contract | None = None
    try:
        form = read_json(data) if is_json(data) else None
        found = form.contract if form else identify(data)
        if contract is not None and found.name != contract:
            raise Rejected(Reason.CONTRACT, "", f"a message of the contract {contract}")
        message = decode(form.encode() if form else data, found.name)
        return Finding(True, found.name, found.version, JUDGES[found.name](message))
    except Rejected as fault:
        name, version = (found.name, found.version) if found else (None, None)
        return Finding(False, name, version, None, str(fault.reason), fault.path, fault.expected)


def _judge_sensor_reading(message: dict[str, Any]) -> int:
    header, content = sensor_header(message), series(message)
    coded, width = content.codes is not None, max(1, len(header.channels))
    found = mapping(header.metric, header.unit, coded, width, content.form)
    clock_zone(header.clock == "local", header.offset_min, header.zone, assumed=None)
    _judge_values(content, found, width)
    return 1 if found.family == "waveform" else len(content)


def _judge_values(content: Series, found: Mapping, width: int) -> None:
    """The run rejects only the readings at fault, or the whole block of a high-rate signal; this names the first."""
    for number, code in enumerate(content.codes or ()):
        if code not in found.codes:
            raise Rejected(Reason.CODE, f"values.codes[{number}]", f"one of {', '.join(sorted(found.codes))}")
    if content.values is not None:
        bad = np.flatnonzero(~np.isfinite(found.to_canonical(content.values)))
        if len(bad):
            raise Rejected(Reason.NOT_FINITE, f"values[{bad[0] // width}]", f"a finite number of {found.unit}")


def _judge_lab_result(message: dict[str, Any]) -> int:
    return len(lab_report(message).results)


def _judge_consent_event(message: dict[str, Any]) -> int:
    _in_words_of_records(lambda: ConsentEvent.from_record(message))
    return 0


def _judge_identity_link(message: dict[str, Any]) -> int:
    _in_words_of_records(lambda: IdentityLink.from_record(message))
    return 0


def _judge_kit_event(message: dict[str, Any]) -> int:
    kit_event(message)
    return 0


def _in_words_of_records(judge: Callable[[], object]) -> None:
    """The judges of consent speak of its JSON lines, where times are texts and two fields have shorter names."""
    try:
        judge()
    except Rejected as fault:
        path = {"from": "from_us", "to": "to_us"}.get(fault.path, fault.path)
        raise Rejected(fault.reason, path, fault.expected.replace(A_MOMENT, MICROSECONDS)) from None


def _judge_rejected(message: dict[str, Any]) -> int:
    try:
        return RejectedPointer.model_validate(message).readings
    except ValidationError as error:
        raise field_rejection(error) from None


JUDGES: dict[str, Callable[[dict[str, Any]], int]] = {
    "sensor-reading": _judge_sensor_reading,
    "lab-result": _judge_lab_result,
    "kit-event": _judge_kit_event,
    "consent-event": _judge_consent_event,
    "identity-link": _judge_identity_link,
    "rejected": _judge_rejected,
}
"""By contract, the number of readings of a message, or Rejected. A contract whose judge needs another room is added there."""
