"""Every kind of bad message that a partner can send: one for each reason for which a whole record is refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipelines.demo.people import WATCHES, Device
from schemas.contracts import HEADER_BYTES, MARKER, encode
from schemas.reasons import Reason

OVERSIZE_BYTES = 8_500_000
"""More than a record may have, and little enough for the broker once it is compressed."""
BOMB_BYTES = 100_000_000
"""A hundred megabytes that travel as a few kilobytes."""

_YEAR_1970 = 86_400_000_000
_YEAR_2085 = 3_644_000_000_000_000


@dataclass(frozen=True)
class Bad:
    """A record that is refused whole: its content, then so many zeros.

    `readings`: how many were in it, where it could be read so far.
    """

    act: int
    device: Device
    content: bytes
    reason: Reason
    readings: int = 0
    zeros: int = 0

    @property
    def topic(self) -> str:
        return f"{self.device.partner}.sensor-reading.v1"

    @property
    def key(self) -> bytes:
        return self.device.subject.encode()

    def value(self) -> bytes:
        """The record's value, made when it is asked for: one of them is large."""
        return self.content + bytes(self.zeros)


def bad_messages(device: Device, start: int) -> Iterator[Bad]:
    """One for each reason, as if sent by `device`; times from `start` on, microseconds UTC."""
    good = partial(_message, device.subject, start)
    intact = encode("sensor-reading", good())
    for content, reason in _not_messages(intact, device):
        yield Bad(0, device, content, reason)
    for changes, reason in _not_whole(start):
        yield Bad(0, device, encode("sensor-reading", good(**changes)), reason)
    for changes, reason in _not_in_the_catalogue(start):
        yield Bad(0, device, encode("sensor-reading", good(**changes)), reason, readings=5)
    for size in (OVERSIZE_BYTES, BOMB_BYTES):
        yield Bad(0, device, intact, Reason.TOO_LARGE, zeros=size)


def _not_messages(intact: bytes, device: Device) -> Iterator[tuple[bytes, Reason]]:
    """What cannot be decoded."""
    yield b"", Reason.EMPTY
    yield b'{"heart_rate": 61}', Reason.NOT_AVRO
    yield MARKER + b"\x00\x11\x22\x33\x44\x55\x66\x77" + intact[HEADER_BYTES:], Reason.FINGERPRINT
    link = {
        "link_id": "x",
        "partner": WATCHES,
        "subject": device.subject,
        "member": "x",
        "from_us": None,
        "to_us": None,
    }
    yield encode("identity-link", link), Reason.CONTRACT
    yield intact[:-9], Reason.TRUNCATED
    yield intact + b"\x00\x00", Reason.TRAILING


def _not_whole(start: int) -> Iterator[tuple[dict[str, Any], Reason]]:
    """What can be decoded, and whose parts do not make a series of readings."""
    yield {"subject": ""}, Reason.FIELD
    yield {"times": {"at": _packed(start, count=4)}}, Reason.RAGGED
    yield {"values": []}, Reason.NO_READINGS
    yield {"times": {"start": start, "period": 0}}, Reason.INTERVAL
    ends_first = {"start": _packed(start, count=5), "end": _packed(start - 1_000_000, count=5)}
    yield {"metric": "steps_interval", "unit": "{steps}", "times": ends_first}, Reason.INTERVAL


def _not_in_the_catalogue(start: int) -> Iterator[tuple[dict[str, Any], Reason]]:
    """Five readings each whose metric, unit, code or clock says nothing, or whose times cannot be."""
    yield {"metric": "aura_brightness"}, Reason.METRIC
    yield {"unit": "mm[Hg]"}, Reason.UNIT
    codes = {"codes": ["deep", "astral", "astral", "light", "rem"]}
    yield {"metric": "heart_rate", "unit": "/min", "values": codes}, Reason.CODE
    yield {"clock": "local", "zone": None, "offset_min": None}, Reason.ZONE
    yield {"times": {"at": _packed(_YEAR_1970, count=5)}}, Reason.TIME
    yield {"times": {"at": _packed(_YEAR_2085, count=5)}}, Reason.FUTURE
    yield {"values": [float("nan"), float("inf"), float("-inf"), float("nan"), float("nan")]}, Reason.NOT_FINITE


def _message(sender: str, start: int, **changes: Any) -> dict[str, Any]:
    """A small message as it should be, but for the changes."""
    source = {"name": "watch", "device_model": None, "firmware": None, "serial": None, "app": None, "app_version": None}
    good = {
        "subject": sender,
        "metric": "heart_rate",
        "unit": "/min",
        "modality": "sensed",
        "source": source,
        "clock": "utc",
        "offset_min": None,
        "zone": "Europe/Madrid",
        "times": {"at": _packed(start, count=5)},
        "values": [61.0, 62.0, 63.0, 62.0, 61.0],
        "channels": [],
        "record_ids": None,
    }
    return {**good, **changes}


def _packed(start: int, count: int) -> bytes:
    """So many times, a second apart, as the contract packs them."""
    times: bytes = (start + np.arange(count, dtype="<i8") * 1_000_000).tobytes()
    return times
