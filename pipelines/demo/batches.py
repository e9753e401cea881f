"""What the pilot's devices send: a day of one metric at a time, and what the story knows of each reading in it."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.demo.cast import MINUTE
from pipelines.demo.people import HEART, MOTION, PACER, SKIN, STEPS
from pipelines.demo.signals import G_SCALE, Flags, Floats, Int64s
from schemas.contracts import encode
from schemas.reasons import Code

SECOND = 1_000_000
SENT_AFTER = 10 * SECOND
"""A gateway takes a batch so long after its last reading."""
SAMPLE_US = 250_000
"""Time from one sample of acceleration to the next: 4 Hz."""
BLOCK = 15 * MINUTE
"""How long a block of acceleration is."""

OXYGEN, GLUCOSE, FEVER, BATTERY = "spo2", "glucose_cgm", "body_temperature", "battery_level"
WEIGHT, STEPS_OF_DAY, BREATHS = "weight", "steps_24h", "respiratory_rate"
UNITS = {
    HEART: "/min",
    BREATHS: "/min",
    OXYGEN: "%",
    GLUCOSE: "mg/dL",
    SKIN: "Cel",
    FEVER: "Cel",
    STEPS: "{steps}",
    STEPS_OF_DAY: "{steps}/d",
    MOTION: "[g]",
    WEIGHT: "kg",
    BATTERY: "%",
}
_NONE = np.zeros(0, dtype=bool)


class Source(NamedTuple):
    """What measures, as the partner describes it."""

    name: str
    model: str
    firmware: str | None = "1.4.0"


@dataclass(frozen=True, eq=False)
class Batch:
    """Readings [n] of one person (by number), source and metric of day `day` (since 1970), sent as one message.

    `start`, `end` and `received_us` are microseconds, UTC; `counts` int16 [samples, 3] is a block of acceleration, one
    reading. `held_back` and `flagged` [n], empty for none: which readings are to wait in quarantine, which to land with a
    flag. `withheld`: why consent lets none of them in; `waits`: nobody can say whose they are; `repeats`: they came before.
    `is_later`: sent once days before have been judged.
    """

    person: int
    subject: str
    day: int
    source: Source
    metric: str
    start: Int64s
    end: Int64s
    value: Floats
    received_us: int
    counts: npt.NDArray[np.int16] | None = None
    offset_min: int = 0
    held_back: Flags = field(default_factory=lambda: _NONE)
    flagged: Flags = field(default_factory=lambda: _NONE)
    withheld: Code | None = None
    waits: bool = False
    repeats: bool = False
    is_later: bool = False

    def __len__(self) -> int:
        return len(self.start)

    topic = f"{PACER}.sensor-reading.v1"

    @property
    def key(self) -> bytes:
        return self.subject.encode()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """When the partner's gateway took it: it kept everything, and hands it on now."""
        return [("received", str(self.received_us).encode())]

    def value_bytes(self) -> bytes:
        """The record's value: the message in the contract's encoding."""
        source = {"name": self.source.name, "device_model": self.source.model, "firmware": self.source.firmware}
        return encode(
            "sensor-reading",
            {
                "subject": self.subject,
                "metric": self.metric,
                "unit": UNITS[self.metric],
                "modality": "sensed",
                "source": {**source, "serial": None, "app": None, "app_version": None},
                "clock": "utc",
                "offset_min": self.offset_min,
                "zone": None,
                "times": self._times(),
                "values": self._values(),
                "channels": ["x", "y", "z"] if self.counts is not None else [],
                "record_ids": None,
            },
        )

    def _times(self) -> dict[str, Any]:
        start, end = self.start.astype("<i8").tobytes(), self.end.astype("<i8").tobytes()
        if self.counts is not None:
            return {"start": int(self.start[0]), "period": SAMPLE_US}
        return {"at": start} if (self.start == self.end).all() else {"start": start, "end": end}

    def _values(self) -> dict[str, Any]:
        if self.counts is not None:
            return {"dtype": "i2", "data": self.counts.astype("<i2").tobytes(), "scale": G_SCALE}
        return {"dtype": "f8", "data": self.value.astype("<f8").tobytes(), "scale": 1.0}

    # -- what can be wrong with it

    def pick(self, rows: Any) -> "Batch":
        """Some of its readings; nobody has said anything of them yet."""
        return replace(self, start=self.start[rows], end=self.end[rows], value=self.value[rows])

    def with_values(self, rows: Any, to: float, holds_back: bool = False) -> "Batch":
        """The same with another value in some places, for which these readings are flagged, or held back."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[rows] = True
        changed = replace(self, value=np.where(chosen, to, self.value))
        return replace(changed, held_back=chosen) if holds_back else replace(changed, flagged=chosen)

    def held(self) -> "Batch":
        """The same, all of whose readings are to wait in quarantine."""
        return replace(self, held_back=np.ones(len(self), dtype=bool))

    def doubtful(self) -> "Batch":
        """The same, all of whose readings are to land with a flag."""
        return replace(self, flagged=np.ones(len(self), dtype=bool))
