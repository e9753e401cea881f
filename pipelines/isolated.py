"""A plan in a process of its own: how that ended is seen by a driver that survives it.

    python -m pipelines.isolated        takes plans from its standard input

The process ends with whoever started it, since nothing else would wait for what it does.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from typing import BinaryIO, Self

from pipelines.failure import failure_of_run
from pipelines.plan import Plan
from pipelines.runner_settings import RunnerFailed
from pipelines.store import Store

_COMMAND = [sys.executable, "-m", "pipelines.isolated"]
_HEAD, _DONE = 8, b"."
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class OwnProcess:
    """Runs plans in another process: in the same one for as long as it lives, unless a new one is wanted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, plan: Plan, new: bool = False) -> signal.Signals | None:
        """Run the plan; the signal by which its process died of itself, None where it came to its end.

        An error in a stage is raised as in the driver's own process. RunnerFailed where the process was told to end, or
        failed in some other way.
        """
        if new:
            self._end()
        if self._child is None:
            self._child = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        plan = plan.model_copy(update={"is_elsewhere": True})  # so that an error is told
        if self._ask(self._child, pickle.dumps(plan)):
            return None
        code = self._child.wait()
        self._end()
        failure = failure_of_run(plan, self._store)
        if failure is not None:
            raise failure
        if code < 0 and signal.Signals(-code) not in _ASKED:
            return signal.Signals(-code)
        raise RunnerFailed(f"the process of a plan ended with {code}; what it said is above")

    def _ask(self, child: "subprocess.Popen[bytes]", content: bytes) -> bool:
        """Whether the process came to the plan's end."""
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):  # it has ended already: its exit code says how
            child.stdin.write(len(content).to_bytes(_HEAD, "little") + content)
            child.stdin.flush()
        return child.stdout.read(1) == _DONE

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def main() -> None:
    """Run plans on the embedded runner, until whoever sends them is gone."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever is printed is no answer
    plans: queue.SimpleQueue[Plan] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, plans), daemon=True).start()
    from pipelines.run import IN_MEMORY, embedded

    warnings.simplefilter("ignore", DeprecationWarning)  # Beam's own calls
    try:
        while True:
            embedded(plans.get(), IN_MEMORY)
            os.write(answers, _DONE)
    except Exception:
        traceback.print_exc()
        os._exit(1)  # a native library may abort while the interpreter ends, which would look like a death


def _receive(pipe: BinaryIO, plans: "queue.SimpleQueue[Plan]") -> None:
    while head := pipe.read(_HEAD):
        plans.put(pickle.loads(pipe.read(int.from_bytes(head, "little"))))
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
