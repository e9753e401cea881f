"""Messages of the demo's devices: what a partner publishes, and what the story knows about each reading in it."""

from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from pipelines.demo.people import HEART, MOTION, SKIN, STEPS, WATCHES, Device
from pipelines.demo.signals import BLOCK_SAMPLES, G_SCALE, MINUTE_US, SAMPLE_US, Flags, Signal
from schemas.contracts import encode
from schemas.reasons import Reason

_UNITS = {HEART: "/min", STEPS: "{steps}", SKIN: "Cel", MOTION: "[g]"}
_DTYPES = {HEART: "i2", STEPS: "i4", SKIN: "f8"}
_NOTHING = np.zeros(0, dtype=bool)


@dataclass(frozen=True, eq=False)
class Message:
    """One message of one device and metric, received in act `act`.

    `broken` [n]: readings that break the contract, for `reason`. `resent` is the message that this one repeats, with
    `changed` [n] telling whose value is another now. `counts`: the samples of a block of acceleration, one reading.
    """

    act: int
    device: Device
    metric: str
    signal: Signal
    counts: npt.NDArray[np.int16] | None = None
    broken: Flags = field(default_factory=lambda: _NOTHING)
    reason: Reason | None = None
    resent: "Message | None" = None
    changed: Flags = field(default_factory=lambda: _NOTHING)

    @property
    def topic(self) -> str:
        return f"{self.device.partner}.sensor-reading.v1"

    @property
    def key(self) -> bytes:
        return self.device.subject.encode()

    def value(self) -> bytes:
        """The record's value: the message in the contract's encoding."""
        return encode("sensor-reading", self._fields())

    def _fields(self) -> dict[str, Any]:
        device, watch = self.device, self.device.partner == WATCHES
        return {
            "subject": device.subject,
            "metric": self.metric,
            "unit": "[degF]" if self._in_fahrenheit else _UNITS[self.metric],
            "modality": "sensed",
            "source": {
                "name": device.name,
                "device_model": device.model,
                "firmware": device.firmware,
                "serial": None,
                "app": "org.example.lumen" if watch else None,
                "app_version": "5.1.0" if watch else None,
            },
            "clock": "local" if device.local else "utc",
            "offset_min": None,
            "zone": device.zone,
            "times": self._times(),
            "values": self._values(),
            "channels": ["x", "y", "z"] if self.counts is not None else [],
            "record_ids": self._record_ids(),
        }

    @property
    def _in_fahrenheit(self) -> bool:
        return self.device.fahrenheit and self.metric == SKIN

    def _times(self) -> dict[str, Any]:
        start, end = self.signal.start + self._wall_clock(), self.signal.end + self._wall_clock()
        if self.metric == MOTION:
            return {"start": int(start[0]), "period": SAMPLE_US}
        if self.metric == HEART and not self.broken.any():
            return {"start": int(start[0]), "period": MINUTE_US}
        if self.metric == STEPS:
            return {"start": start.astype("<i8").tobytes(), "end": end.astype("<i8").tobytes()}
        return {"at": start.astype("<i8").tobytes()}

    def _wall_clock(self) -> int:
        """What the device's clock shows beyond UTC, microseconds."""
        if not self.device.local or self.device.zone is None:
            return 0
        first = np.datetime64(int(self.signal.start[0]), "us").item()
        offset = ZoneInfo(self.device.zone).utcoffset(first)
        assert offset is not None
        return int(offset.total_seconds() * 1_000_000)

    def _values(self) -> Any:
        if self.counts is not None:
            return {"dtype": "i2", "data": self.counts.astype("<i2").tobytes(), "scale": G_SCALE}
        sent = self.signal.value * 1.8 + 32 if self._in_fahrenheit else self.signal.value
        if self.metric == HEART and (self.broken.any() or self.device.partner != WATCHES):
            return sent.tolist()
        dtype = _DTYPES[self.metric]
        return {"dtype": dtype, "data": sent.astype(f"<{dtype}").tobytes(), "scale": 1.0}

    def _record_ids(self) -> list[str] | None:
        if not self.device.numbered or self.metric != STEPS:
            return None
        return [f"step-{start // MINUTE_US}" for start in self.signal.start.tolist()]

    # -- what else can happen to a message

    def again(self, act: int) -> "Message":
        """The same message, sent once more."""
        return replace(self, act=act, resent=self)

    def revised(self, act: int, every: int) -> "Message":
        """The same readings with some values counted anew."""
        changed = np.arange(len(self.signal)) % every == 0
        changed &= ~self.signal.impossible
        value = np.where(changed, self.signal.value + 1, self.signal.value)
        return replace(self, act=act, signal=replace(self.signal, value=value), resent=self, changed=changed)

    def broken_at(self, rows: list[int], reason: Reason, **parts: Any) -> "Message":
        """The same message with some readings that break the contract: NaN, or another time."""
        broken = np.zeros(len(self.signal), dtype=bool)
        broken[rows] = True
        changes = {name: np.where(broken, to, getattr(self.signal, name)) for name, to in parts.items()}
        return replace(self, signal=replace(self.signal, **changes), broken=broken, reason=reason)


def block(device: Device, act: int, start: int, counts: npt.NDArray[np.int16], fault: bool) -> Message:
    """A block of acceleration: one reading, over all of its samples."""
    span = np.array([start], dtype=np.int64), np.array([start + BLOCK_SAMPLES * SAMPLE_US], dtype=np.int64)
    signal = Signal(*span, np.zeros(1), np.array([fault]), np.zeros(1, dtype=bool))
    return Message(act, device, MOTION, signal, counts)
