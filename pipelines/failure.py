"""Word of an error in a stage on some other machine: the driver finds it, instead of what a runner makes of it.

A runner would begin the job anew, sixty times, and then hand on a text with whatever the error said. What is left here
is safe to read: the kind of the error and its place, and the text only of errors that are written for operators.
"""

import errno
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.ranges import DataDamaged, DataMissing
from connectors.source_file import StorageFailed
from pipelines.consent.packed import DamagedError
from pipelines.keys import KeyMissing
from pipelines.places import store_of
from pipelines.plan import Plan
from pipelines.room import is_of_full_disk
from pipelines.store import Store

_FOR_OPERATORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (KafkaUnreachable, KafkaRefused, DataMissing, DataDamaged, DamagedError, KeyMissing, StorageFailed)
}
_ROOMS = ("schemas", "connectors", "quality", "pipelines")


class StageFailed(Exception):
    """A stage failed on a worker: which error, and where in the code. It is a defect, as in the driver's own process."""


@contextmanager
def telling(plan: Plan) -> Iterator[None]:
    """Leave word of an error, where the plan runs in other processes than the driver's; in its own, raise it as it is.

    Beam would add a step's name to the text, or make another kind of error of it.
    """
    try:
        yield
    except Exception as error:
        if not plan.is_elsewhere:
            error._tagged_with_step = True  # type: ignore[attr-defined]
            raise
        kind = type(error).__name__
        text = str(error) if kind in _FOR_OPERATORS else f"{kind} at {_place(error)}"
        word = {"kind": kind, "text": text, "is_of_full_disk": is_of_full_disk(error)}
        store_of(plan.lake).put(plan.failure_key, json.dumps(word).encode())
        raise StageFailed(f"{kind} at {_place(error)}") from None


def failure_of_run(plan: Plan, store: Store) -> Exception | None:
    """The error that a stage of this run has left word of."""
    word = store.get(plan.failure_key)
    if word is None:
        return None
    store.delete(plan.failure_key)
    said = json.loads(word)
    if said["kind"] in _FOR_OPERATORS:
        return _FOR_OPERATORS[said["kind"]](said["text"])
    return OSError(errno.ENOSPC, said["text"]) if said["is_of_full_disk"] else StageFailed(said["text"])


def _place(error: Exception) -> str:
    """The innermost line of ours that the error came through; where there is none, the innermost of all."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if _in_a_room(frame.filename)]
    frame = (own or frames)[-1]
    return f"{_in_a_room(frame.filename) or '/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"


def _in_a_room(file: str) -> str:
    """The file's path from its room on; empty where it is none of ours."""
    parts = Path(file).parts
    rooms = [place for place, part in enumerate(parts) if part in _ROOMS]
    return "/".join(parts[rooms[-1] :]) if rooms and "site-packages" not in parts else ""
