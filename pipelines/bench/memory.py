"""Peak memory of a driver over a plan of ten million readings, and over ten times that backlog."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from pipelines.bench.figures import Figure
from pipelines.bench.own_process import in_own_process
from pipelines.bench.world import BenchWorld
from pipelines.driver import Driver
from pipelines.follow import work_off
from pipelines.settings import load_settings

PLAN_READINGS = 10_000_000
READINGS = 600
GB = 1e9


def peak_memory(folder: Path, bootstrap: str, say: Callable[[str], None]) -> Iterator[Figure]:
    """The driver runs in a process of its own that starts with nothing in memory; workers are threads of it."""
    messages = PLAN_READINGS // READINGS
    one = _measured(BenchWorld(folder / "memory-1", bootstrap, plan_records=messages), messages)
    yield Figure("peak memory, a plan of 10M readings", one, "GB", None, "≤2")
    say("memory, ten times the backlog")
    ten = _measured(BenchWorld(folder / "memory-10", bootstrap, plan_records=messages), 10 * messages)
    yield Figure("peak memory, ten times the backlog", ten, "GB", one, "≤1.1")


def _measured(world: BenchWorld, messages: int) -> float:
    world.consent()
    world.publish_scalars(messages, READINGS, world.begin_us)
    return in_own_process(partial(_drive, world.config)).peak_bytes / GB


def _drive(config: Path) -> None:
    with closing(Driver(load_settings(config))) as driver:
        driver.start()
        work_off(driver)
