"""A plan in a process of its own: how that ended is seen by a driver that survives it.

    python -m pipelines.isolated        reads a plan from its standard input

The process ends with whoever started it, since nothing else would wait for what it does.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from typing import BinaryIO

from pipelines.failure import failure_of_run
from pipelines.plan import Plan
from pipelines.runner_settings import RunnerFailed
from pipelines.store import Store

_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def in_own_process(plan: Plan, store: Store) -> signal.Signals | None:
    """Run the plan; the signal by which its process died of itself, None where it came to its end.

    An error in a stage is raised as in the driver's own process. RunnerFailed where the process was told to end, or
    failed in some other way.
    """
    plan = plan.model_copy(update={"is_elsewhere": True})
    child = subprocess.Popen([sys.executable, "-m", "pipelines.isolated"], stdin=subprocess.PIPE)
    try:
        assert child.stdin is not None
        _send(child.stdin, pickle.dumps(plan))
        code = child.wait()
    finally:
        child.kill()
        child.wait()
        if child.stdin is not None:
            child.stdin.close()
    failure = failure_of_run(plan, store)
    if failure is not None:
        raise failure
    if code < 0 and signal.Signals(-code) not in _ASKED:
        return signal.Signals(-code)
    if code:
        raise RunnerFailed(f"the process of a plan ended with {code}; what it said is above")
    return None


def _send(pipe: BinaryIO, content: bytes) -> None:
    """And leave the pipe open: it is closed by our end."""
    try:
        pipe.write(len(content).to_bytes(8, "little") + content)
        pipe.flush()
    except BrokenPipeError:
        return  # it has ended already: its exit code says how


def main() -> None:
    """Run the plan on the embedded runner, and end."""
    pipe = sys.stdin.buffer
    plan: Plan = pickle.loads(pipe.read(int.from_bytes(pipe.read(8), "little")))
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    from pipelines.run import IN_MEMORY, embedded

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Beam's own calls
        embedded(plan, IN_MEMORY)
    sys.stderr.flush()
    os._exit(0)


def _end_with(pipe: BinaryIO) -> None:
    pipe.read(1)
    os._exit(1)


def discard(plan: Plan, store: Store) -> None:
    """Forget a run that was only a trial, with the files that it wrote: no entry will ever name them."""
    from pipelines.run import read_manifest

    try:
        result = read_manifest(plan, store)
    except FileNotFoundError:  # it was halted
        store.delete(plan.halt_key)
        return
    for file in result.files:
        store.delete(file.path)
    store.delete(plan.manifest_key)


if __name__ == "__main__":
    from pipelines.spared import spare

    spare()
    main()
