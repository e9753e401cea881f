"""The lake in a bucket, beside one in a folder: the same readings, landed in turns."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local_s3 import MODULE, VERSION, LocalS3, found_versitygw
from pipelines.bench.figures import Figure, Stopwatch
from pipelines.bench.world import DAY_US, BenchWorld, land_all, own_broker
from pipelines.driver import Driver

ADDRESS_VARIABLE = "WELLSPRING_BENCH_BUCKET"
"""Environment variable: an empty place in a bucket to measure on, `s3://BUCKET/PREFIX`, reached as AWS_… says."""

SIZE = 600
PRELOADED, MESSAGES, TURNS = 1_500, 5_000, 2
CYCLES = 20
Say = Callable[[str], None]


def bucket_beside_folder(say: Say) -> Iterator[Figure]:
    """Rows a CPU second of this process, and a cycle that touches three tables; none where there is no server."""
    with own_broker() as (folder, bootstrap), _bucket(folder, say) as address:
        if address is None:
            return
        say("scalar readings into a folder and into a bucket, in turns")
        in_folder = BenchWorld(folder / "in-folder", bootstrap)
        in_bucket = BenchWorld(folder / "in-bucket", bootstrap, lake=address)
        yield from _landing(in_folder, in_bucket)
        yield from _cycles(in_folder, in_bucket)


@contextmanager
def _bucket(folder: Path, say: Say) -> Iterator[str | None]:
    """An address on the server that the environment names, or on one of our own."""
    given = os.environ.get(ADDRESS_VARIABLE)
    if given:
        yield given
        return
    program = found_versitygw()
    if program is None:
        say(f"skipped, since there is no S3 server: set {ADDRESS_VARIABLE}, or go install {MODULE}@{VERSION}")
        yield None
        return
    (folder / "s3").mkdir()
    server, before = LocalS3(program, folder / "s3"), dict(os.environ)
    try:
        server.up()
        os.environ.update(server.environment)
        yield f"s3://{server.bucket.name}/lake"
    finally:
        server.kill()
        os.environ.clear()
        os.environ.update(before)


def _landing(in_folder: BenchWorld, in_bucket: BenchWorld) -> Iterator[Figure]:
    for world in (in_folder, in_bucket):
        world.consent()
        world.publish_scalars(PRELOADED, SIZE, world.begin_us)
        land_all(world.driver())
    watches, rows = {"folder": Stopwatch(), "bucket": Stopwatch()}, {"folder": 0, "bucket": 0}
    for turn in range(TURNS):
        worlds = [("folder", in_folder), ("bucket", in_bucket)]
        for place, world in worlds if turn % 2 else reversed(worlds):
            rows[place] += _land(world, turn, watches[place])
    ours, bound = (rows[place] / watches[place].seconds for place in ("bucket", "folder"))
    yield Figure("scalar readings into a bucket, beside a folder: rows landed", ours, "rows/CPU s", bound, "≥0.7")


def _land(world: BenchWorld, turn: int, watch: Stopwatch) -> int:
    """Rows that land, under the watch."""
    world.publish_scalars(MESSAGES, SIZE, world.begin_us + (turn + 2) * DAY_US)
    driver = world.driver()
    with watch.running():
        entries = land_all(driver)
    return sum(file.rows for entry in entries for change in entry.tables.values() for file in change.add)


def _cycles(in_folder: BenchWorld, in_bucket: BenchWorld) -> Iterator[Figure]:
    drivers = in_folder.driver(), in_bucket.driver()
    try:
        costs = [
            [_cycle(world, driver, turn) for world, driver in zip((in_folder, in_bucket), drivers, strict=True)]
            for turn in range(CYCLES)
        ]
    finally:
        for driver in drivers:
            driver.close()
    for place, (name, unit) in enumerate((("CPU", "CPU s"), ("time", "s"))):
        folder, bucket = (statistics.median(turn[which][place] for turn in costs) for which in (0, 1))
        yield Figure(
            f"{name} of a cycle that touches 3 tables of readings, in a bucket beside a folder", bucket, unit, folder
        )


def _cycle(world: BenchWorld, driver: Driver, turn: int) -> tuple[float, float]:
    for person in (2, 4, 6):
        world.publish_one(person, world.begin_us + (10 * DAY_US) + turn * 1_000_000)
    watch, began = Stopwatch(), time.monotonic()
    with watch.running():
        driver.cycle()
    return watch.seconds, time.monotonic() - began
