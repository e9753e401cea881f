"""What Flink costs: the same scalar readings on a Flink cluster inside its job server, beside the embedded runner."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

from infra.broker_process import free_port
from infra.flink.local_flink import LocalFlink
from pipelines.bench.figures import Figure, cpu_seconds
from pipelines.bench.world import BenchWorld, own_broker
from pipelines.driver import Driver
from pipelines.entries import Entry
from pipelines.runner_settings import RunnerSettings
from pipelines.settings import Settings

PLANS, MESSAGES, SIZE = 2, 16_667, 600  # ten million readings a plan
TARGET = "≥0.45"
Say = Callable[[str], None]


def flink(say: Say) -> Iterator[Figure]:
    """The figure, on a broker and in a folder of its own. The CPU of job server, cluster and workers is counted."""
    with own_broker() as (folder, bootstrap):
        world = BenchWorld(folder / "world", bootstrap, plan_records=MESSAGES)
        world.consent()
        say(f"publishing {PLANS * MESSAGES * SIZE:,} readings")
        world.publish_scalars(PLANS * MESSAGES, SIZE, world.begin_us)
        vault = folder / "vault"
        shutil.copytree(world.settings.vault, vault)
        say("on the embedded runner")
        here = _rate(world.settings, cpu_seconds)
        say("on Flink")
        with _started(folder / "flink") as (started, runner):
            settings = {"lake": folder / "lake", "vault": vault, "runner": runner}
            there = _rate(world.settings.model_copy(update=settings), lambda: cpu_seconds() + _cpu_of(started))
    yield Figure(
        "scalar readings on Flink, plans of 10M, beside the embedded runner", there, "readings/CPU s", here, TARGET
    )


def _rate(settings: Settings, cpu: Callable[[], float]) -> float:
    """Readings a CPU second, from the first plan to the last commit."""
    with closing(Driver(settings)) as driver:
        driver.start()
        before, readings = cpu(), 0
        for _ in range(PLANS):
            for entry in driver.cycle():
                readings += _decoded(entry)
        return readings / (cpu() - before)


def _decoded(entry: Entry) -> int:
    counts: Any = entry.counts
    return int(counts["readings"]["decoded"]) if counts else 0


@contextmanager
def _started(folder: Path) -> Iterator[tuple[list[psutil.Process], RunnerSettings]]:
    """A job server and a worker pool; their processes, and the settings by which they are reached."""
    job_port, pool_port = free_port(), free_port()
    local = LocalFlink(folder, job_port, pool_port)
    local.up()
    try:
        processes = [psutil.Process(pid) for pid in local.status().values() if pid is not None]
        yield (
            processes,
            RunnerSettings(kind="flink", job_endpoint=f"127.0.0.1:{job_port}", worker_pool=f"127.0.0.1:{pool_port}"),
        )
    finally:
        local.down()


def _cpu_of(processes: list[psutil.Process]) -> float:
    """CPU seconds of processes, of what they have started, and of what of that has ended."""
    found = 0.0
    for process in processes:
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            found += times.user + times.system + times.children_user + times.children_system
    return found
