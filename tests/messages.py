"""Sensor messages for tests, and the way from messages to normalised blocks by the run's own functions."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.blocks import Block
from pipelines.decode import Pointer, decode_block
from pipelines.normalise import normalise
from schemas.contracts import Contract, contracts, encode
from schemas.registry import Partner

START = 1_772_355_600_000_000  # 2026-03-01T09:00:00Z
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LATER = START + 3650 * DAY
ACME = Partner(name="acme")
TOPIC = "acme.sensor-reading.v1"


def sensor(**changes: Any) -> dict[str, Any]:
    """Three heart rates, a second apart; a change of None leaves the field out."""
    message: dict[str, Any] = {
        "subject": "p-0017",
        "metric": "heart_rate",
        "unit": "/min",
        "source": {"name": "wrist"},
        "times": {"start": START, "period": SECOND},
        "values": packed("f8", 60.0, 61.0, 63.0),
        **changes,
    }
    return {name: value for name, value in message.items() if value is not None}


def acceleration(*numbers: float, **changes: Any) -> dict[str, Any]:
    """A block of samples of three channels, 32 a second."""
    given = {"metric": "acceleration", "unit": "m/s2", "channels": ["x", "y", "z"]}
    times = {"start": START, "period": 31_250}
    return sensor(**{**given, "times": times, "values": packed("f8", *numbers), **changes})


def sleep(*codes: str, **changes: Any) -> dict[str, Any]:
    """Half hours of sleep, one after the other."""
    times = {"start": START, "period": HOUR // 2}
    return sensor(**{"metric": "sleep_stage", "unit": "1", "times": times, "values": {"codes": list(codes)}, **changes})


def packed(dtype: str, *numbers: float, scale: float = 1.0) -> dict[str, Any]:
    return {"dtype": dtype, "data": np.array(numbers, dtype=f"<{dtype}").tobytes(), "scale": scale}


def moments(*times: int) -> bytes:
    return np.array(times, dtype="<i8").tobytes()


def version(number: str) -> Contract:
    return next(c for c in contracts().values() if (c.name, c.version) == ("sensor-reading", number))


def records(*values: bytes | None, too_large: int | None = None, corrupt: int | None = None) -> pa.RecordBatch:
    """Records of one partition at the offsets 100, 101, …, as the reader hands them on."""
    rows = range(len(values))
    columns = {
        "offset": pa.array([100 + row for row in rows], pa.int64()),
        "value": pa.array(values, pa.binary()),
        "too_large": pa.array([row == too_large for row in rows], pa.bool_()),
        "corrupt": pa.array([row == corrupt for row in rows], pa.bool_()),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def decoded(*values: bytes | None, received: int = LATER, **marks: int) -> tuple[Block | None, list[Pointer]]:
    times = np.full(len(values), received, dtype=np.int64)
    return decode_block(records(*values, **marks), TOPIC, 3, times)


def normalised(
    *messages: dict[str, Any], partner: Partner = ACME, received: int = LATER
) -> tuple[list[Block], list[Pointer]]:
    """The blocks and the pointers of messages that are each in order as a whole."""
    block, pointers = decoded(*(encode("sensor-reading", message) for message in messages), received=received)
    assert block is not None
    assert pointers == []
    return normalise(block, partner)


def observations(*messages: dict[str, Any], partner: Partner = ACME) -> dict[str, list[Any]]:
    """The readings of messages of which none is rejected, and that are all observations, by column."""
    blocks, pointers = normalised(*messages, partner=partner)
    assert pointers == []
    assert [block.meta["family"] for block in blocks] == ["observation"]
    return dict(blocks[0].readings.to_pydict())
