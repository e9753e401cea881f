"""A figure: what was measured, the bound beside it, and whether the target is met."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Report = Callable[["Figure"], None]


@dataclass(frozen=True)
class Figure:
    """One row of a bench: `target` begins with ≥ or ≤ and is about the ratio where there is a bound, else about ours."""

    figure: str
    ours: float
    unit: str
    bound: float | None = None
    target: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.bound is None else self.ours / self.bound

    @property
    def met(self) -> bool:
        """Whether the target is reached; true where there is none."""
        if not self.target:
            return True
        limit = float(self.target[1:])
        value = self.ours if self.ratio is None else self.ratio
        return value >= limit if self.target[0] == "≥" else value <= limit

    def as_json(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "ours": _short(self.ours),
            "bound": _short(self.bound),
            "ratio": _short(self.ratio),
            "unit": self.unit,
            "target": self.target or None,
            "met": self.met,
        }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


class Stopwatch:
    """CPU seconds of this process and of children that have ended, while it runs."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        before = cpu_seconds()
        try:
            yield
        finally:
            self.seconds += cpu_seconds() - before

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its CPU time counted."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.running():
                return function(*args, **kwargs)

        return timed


def cpu_seconds() -> float:
    """User and system time of this process, all its threads, and its ended children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_bytes() -> int:
    """The most memory that this process has held, since it began to run its own program.

    The kernel's account of a process's children, and of the process as `getrusage` tells it, begins with the memory of
    whoever started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
