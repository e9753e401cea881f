"""Suites in a process of their own: started, looked at from time to time, and ended when it takes too long.

The frames go into a file without a name, which nobody else can open and which is gone with the process.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from tempfile import TemporaryFile
from typing import Self

import pyarrow as pa

from quality.suite_run import ALL, Answered, Failure, read_answer, write_frames
from quality.suites import Suite
from schemas.families import CHECK_RESULT

LONGEST_S = 900.0
LOOK_S = 0.1


class SuiteProcess:
    """One run of suites over their frames. `close` it, which ends it where it is still at work."""

    def __init__(self, frames: Iterable[tuple[Suite, pa.Table]], longest_s: float = LONGEST_S) -> None:
        self._answer = TemporaryFile()  # noqa: SIM115 - closed with this
        with TemporaryFile() as handed:
            write_frames(frames, handed)
            handed.flush()
            handed.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "quality.suite_run", str(os.getpid())],
                stdin=handed,
                stdout=self._answer,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._until = time.monotonic() + longest_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def look(self) -> Answered | None:
        """The answer once there is one; None while it is at work. Whatever goes wrong is part of the answer."""
        code = self._process.poll()
        if code is None and time.monotonic() < self._until:
            return None
        if code is None:
            self._end()
            return _nothing("TimeLimit")
        if code:
            return _nothing("ProcessFailed")
        self._answer.seek(0)
        return read_answer(self._answer)

    def wait(self) -> Answered:
        """The answer, when it is there."""
        while (answered := self.look()) is None:
            time.sleep(LOOK_S)
        return answered

    def close(self) -> None:
        self._end()
        self._answer.close()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def gx_cpu_s(suite: Suite, frame: pa.Table, longest_s: float = LONGEST_S) -> float:
    """Seconds of CPU that judging a frame takes in a process of its own, imports apart. RuntimeError where it fails."""
    with SuiteProcess([(suite, frame)], longest_s) as process:
        answered = process.wait()
    if answered.failures:
        raise RuntimeError(f"the suite could not be judged: {answered.failures[0].error}")
    return answered.cpu_s


def _nothing(error: str) -> Answered:
    return Answered(CHECK_RESULT.schema.empty_table(), [Failure(ALL, "", error)], 0.0)
