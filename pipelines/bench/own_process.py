"""Measuring something in a process of its own, which starts with nothing in memory."""

import multiprocessing
from collections.abc import Callable
from typing import NamedTuple

from pipelines.bench.figures import cpu_seconds, peak_bytes
from pipelines.spared import spare

_LONGEST_S = 1_200


class Measured(NamedTuple):
    """CPU seconds of a piece of work, and the most memory, bytes, of the process that did it."""

    seconds: float
    peak_bytes: int


def in_own_process(work: Callable[[], object]) -> Measured:
    """Do the work, a function of a module, or a partial of one: the process imports that module and no other of ours."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_do, args=(work, answers))
    process.start()
    measured = Measured(*answers.get(timeout=_LONGEST_S))
    process.join()
    return measured


def _do(work: Callable[[], object], answers: "multiprocessing.Queue[tuple[float, int]]") -> None:
    spare()
    before = cpu_seconds()
    work()
    answers.put((cpu_seconds() - before, peak_bytes()))
