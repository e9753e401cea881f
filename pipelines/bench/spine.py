"""The group `spine`: how fast readings come from a topic into committed tables, and what that takes."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pipelines import landing
from pipelines.bench.bound import in_arrival_order, write_bound
from pipelines.bench.consent_scale import consent_shares
from pipelines.bench.figures import Figure, Stopwatch
from pipelines.bench.memory import peak_memory
from pipelines.bench.world import DAY_US, BenchWorld, land_all, own_broker
from pipelines.follow import follow_until
from pipelines.places import store_of
from pipelines.views import QueryRefused, sql

PRELOAD_ROWS = 5_000_000
ROWS_PER_READING = 1.35  # 1.5 studies, a tenth withheld
Say = Callable[[str], None]


def spine(say: Say) -> Iterator[Figure]:
    """Every figure of the group, as it is measured, on a broker and in a folder of its own."""
    with own_broker() as (folder, bootstrap):
        world = _preloaded(folder / "scalars", bootstrap, say)
        yield from _scalars(world, 600, 5_000, 0.4, 400_000, say)
        yield from _scalars(world, 60, 10_000, None, 200_000, say)
        say("waveforms")
        yield _waveforms(world)
        say("consent with a million members")
        yield from consent_shares(folder / "million", bootstrap, say)
        say("latency")
        yield _latency(BenchWorld(folder / "latency", bootstrap))
        say("cycles in 3 and in 500 studies")
        yield _many_studies(folder, bootstrap)
        say("memory")
        yield from peak_memory(folder, bootstrap, say)


def _preloaded(folder: Path, bootstrap: str, say: Say) -> BenchWorld:
    say(f"preloading {PRELOAD_ROWS} rows")
    world = BenchWorld(folder, bootstrap)
    world.consent()
    world.publish_scalars(round(PRELOAD_ROWS / ROWS_PER_READING / 600), 600, world.begin_us)
    land_all(world.driver())
    return world


def _scalars(
    world: BenchWorld, size: int, messages: int, of_bound: float | None, target: int, say: Say
) -> Iterator[Figure]:
    say(f"scalar readings in messages of {size}")
    newer = world.begin_us + (2 if size == 600 else 3) * DAY_US
    world.publish_scalars(messages, size, newer, older_us=world.begin_us + 300_000 + size)
    driver = world.driver()
    run, duplicates = Stopwatch(), Stopwatch()
    plain = landing.Landing._duplicates
    landing.Landing._duplicates = duplicates.around(plain)  # type: ignore[method-assign]
    try:
        with run.running():
            entries = land_all(driver)
    finally:
        landing.Landing._duplicates = plain  # type: ignore[method-assign]
    files = [file for entry in entries for change in entry.tables.values() for file in change.add]
    landed = sum(file.rows for file in files)
    bound = _bound(world, [file.path for file in files])
    name = f"scalar readings, messages of {size}"
    yield Figure(f"{name}: rows landed", landed / run.seconds, "rows/CPU s", bound, f"≥{of_bound}" if of_bound else "")
    yield Figure(f"{name}: readings read", messages * size / run.seconds, "readings/CPU s", None, f"≥{target}")
    if of_bound:
        yield Figure("duplicate check, share of the run", duplicates.seconds / run.seconds, "share", None, "≤0.1")


def _bound(world: BenchWorld, keys: list[str]) -> float:
    """Rows a CPU second of the tuned writer, on the same rows, a file a table as the run wrote them."""
    watch, rows = Stopwatch(), 0
    for number, key in enumerate(keys):
        if "/observation/" not in key:
            continue
        table = in_arrival_order([store_of(world.settings.lake).uri(key)])
        rows += table.num_rows
        with watch.running():
            write_bound(table, world.config.parent / f"bound-{number}.parquet")
    return rows / watch.seconds


def _waveforms(world: BenchWorld) -> Figure:
    messages, samples = 6_000, 3_600
    world.publish_waveforms(messages, samples, world.begin_us + 5 * DAY_US)
    watch = Stopwatch()
    driver = world.driver()
    with watch.running():
        land_all(driver)
    rate = messages * samples * 3 / watch.seconds
    return Figure("waveform samples, 3 channels, blocks of 3,600", rate, "samples/CPU s", None, "≥20000000")


def _latency(world: BenchWorld) -> Figure:
    """From the acknowledgement of a message to its reading in a view, while a driver follows with freshness 1 s."""
    world.consent(10)
    stop = threading.Event()
    runner = threading.Thread(target=_follow, args=(world, stop))
    runner.start()
    acknowledged: dict[int, float] = {}
    watcher = _Watcher(world)
    watcher.start()
    try:
        for number in range(200):
            world.publish_one(1, world.begin_us + number * 1_000_000)
            acknowledged[world.begin_us + number * 1_000_000] = time.monotonic()
            time.sleep(0.5)
        watcher.wait_for(len(acknowledged))
    finally:
        stop.set()
        runner.join()
        watcher.stop()
    delays = sorted(watcher.seen[start] - at for start, at in acknowledged.items())
    return Figure("acknowledged to visible in a view, p95", delays[round(0.95 * len(delays)) - 1], "s", None, "≤3")


def _follow(world: BenchWorld, stop: threading.Event) -> None:
    driver = world.driver()
    follow_until(driver, stop, lambda text: None)
    driver.close()


class _Watcher(threading.Thread):
    """Asks the view of a study again and again, and notes when each reading is there for the first time."""

    def __init__(self, world: BenchWorld) -> None:
        super().__init__(daemon=True)
        self._store = store_of(world.settings.lake)
        self._view = f"{world.studies[0]}_observation"
        self._over = threading.Event()
        self.seen: dict[int, float] = {}

    def run(self) -> None:
        while not self._over.wait(0.1):
            with suppress(QueryRefused):  # until the first reading has landed there is no view
                rows = sql(self._store, f'select epoch_us("start") as at from {self._view}').column("at").to_pylist()
                now = time.monotonic()
                for start in rows:
                    self.seen.setdefault(start, now)

    def wait_for(self, count: int, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while len(self.seen) < count and time.monotonic() < until:
            time.sleep(0.1)

    def stop(self) -> None:
        self._over.set()
        self.join()


def _many_studies(folder: Path, bootstrap: str) -> Figure:
    """CPU of a cycle that touches 3 studies, of 500 that have tables, beside one of 3."""
    many = _cycle_cpu(folder / "many", bootstrap, 500)
    few = _cycle_cpu(folder / "few", bootstrap, 3)
    return Figure("CPU of a cycle that touches 3 of 500 studies, beside 3 of 3", many, "CPU s", few, "≤1.5")


def _cycle_cpu(folder: Path, bootstrap: str, studies: int) -> float:
    world = BenchWorld(folder, bootstrap, studies=[f"study-{number:03d}" for number in range(studies)])
    world.consent(2 * studies)
    world.publish_scalars(2 * studies, 60, world.begin_us)
    driver = world.driver()
    try:
        while driver.cycle():
            pass
        costs = []
        for turn in range(20):
            for person in (0, 2, 4):
                world.publish_one(person + 1, world.begin_us + DAY_US + turn * 1_000_000)
            watch = Stopwatch()
            with watch.running():
                driver.cycle()
            costs.append(watch.seconds)
        return statistics.median(costs)
    finally:
        driver.close()
