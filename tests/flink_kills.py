"""Exactly once on Flink under SIGKILL: drivers, workers, job servers and TaskManagers are killed while jobs run.

    python -m tests.flink_kills --kills 20

Each kind is killed so many times, at a random moment of a job. At the end one driver works everything off, and what lies
in the lake is compared with what was published.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from infra.broker_process import free_port
from infra.flink.local_flink import IN_ITSELF, LocalFlink
from infra.local_kafka import LocalKafka
from pipelines.settings import load_settings
from tests.flink_cluster import Cluster, job_server
from tests.worlds import Command, World, make_world, once, wait_for

MESSAGES, SIZE = 100, 400
LONGEST_S = 2.0  # of a job that has begun, before the kill


@contextmanager
def job_server_in(folder: Path, master: str = IN_ITSELF, retries: int = 60) -> Iterator[LocalFlink]:
    """A job server for Flink and a worker pool, of the test's own."""
    flink = LocalFlink(folder, free_port(), free_port(), master, job_server(), "-Xmx1g", retries)
    with started(flink):
        yield flink


@contextmanager
def started(local: LocalFlink) -> Iterator[None]:
    """Both processes run, and are gone at the end."""
    try:
        local.up()
        yield
    finally:
        for name in ("job-server", "worker-pool"):
            local.kill(name)


def on_job_server(world: World, flink: LocalFlink, **more: Any) -> World:
    """The world's plans are run there from now on, by its command too."""
    runner = {
        "kind": "flink",
        "job_endpoint": f"127.0.0.1:{flink.job_port}",
        "worker_pool": f"127.0.0.1:{flink.pool_port}",
        **more,
    }
    lines = "".join(f"  {name}: {value}\n" for name, value in runner.items())
    world.config.write_text(world.config.read_text("utf-8") + f"runner:\n{lines}", "utf-8")
    world.settings = load_settings(world.config)
    return world


@dataclass
class Killing:
    """A world whose driver, workers, job server or TaskManager are killed."""

    world: World
    flink: LocalFlink
    chance: random.Random
    published: int = 0
    moments: list[str] = field(default_factory=list)

    def publish(self) -> None:
        """A few seconds of work for a job: two people in several partitions."""
        first = self.published
        self.world.publish(
            *(
                self.world.reading(("ann", "bob")[n % 2], range(first + n * SIZE, first + (n + 1) * SIZE))
                for n in range(MESSAGES)
            )
        )
        self.published += MESSAGES * SIZE

    def workers(self) -> list[psutil.Process]:
        """The workers that the pool has given out and that are alive."""
        pool = self.flink.status()["worker-pool"]
        assert pool is not None
        (nursery,) = psutil.Process(pool).children()
        return nursery.children()

    def _reads(self, worker: psutil.Process) -> bool:
        port = self.world.settings.kafka.addresses[0][1]
        with suppress(psutil.Error):
            return any(c.raddr and c.raddr.port == port for c in worker.net_connections("tcp"))
        return False

    def in_a_job(self, command: Command) -> None:
        """Wait until a worker of the driver's reads, and until some moment after that."""
        wait_for(lambda: command.process.poll() is not None or any(map(self._reads, self.workers())), 240, every_s=0.02)
        assert command.process.poll() is None, command.errors
        time.sleep(self.chance.uniform(0, LONGEST_S))

    def drivers(self, kills: int) -> None:
        """Kill the driver, again and again; its jobs are left behind."""
        for _ in range(kills):
            self.publish()
            with self.world.following("run", "--follow") as command:
                self.in_a_job(command)
                command.process.kill()

    def while_driven(self, kills: int, kill: Callable[[], None]) -> None:
        """Kill something else, while one driver goes on."""
        with self.world.following("run", "--follow") as command:
            for _ in range(kills):
                self.publish()
                self.in_a_job(command)
                kill()
            wait_for(lambda: command.process.poll() is not None or self.is_done(), 240)
            assert command.process.poll() is None, command.errors
            assert "runs have died" not in command.errors  # what was killed is nothing that its records did

    def a_worker(self) -> None:
        """Kill one of the workers."""
        for worker in [worker for worker in self.workers() if self._reads(worker)][:1]:
            worker.kill()

    def the_job_server(self) -> None:
        """Kill the job server, with the cluster inside it; as a supervisor would, start it again after a while."""
        self.flink.kill("job-server")
        time.sleep(self.chance.uniform(0, LONGEST_S))
        self.flink.up()

    def is_done(self) -> bool:
        """Whether an entry has read all that was published."""
        read = sum(entry.counts["records"]["read"] for entry in self.world.entries("ingest"))  # type: ignore[index,call-overload]
        return bool(read == self.published // SIZE)

    def settle(self) -> None:
        """Work off what is left: everything is there once, and nothing was called poison."""
        self.world.work()
        assert self.is_done()
        assert self.world.landed("sleep") == once(range(self.published))
        assert [entry.counts["rejected"] for entry in self.world.entries("ingest") if entry.counts["rejected"]] == []
        self.world.assert_sound()


@contextmanager
def killing(folder: Path, bootstrap: str, flink: LocalFlink, seed: int, **more: Any) -> Iterator[Killing]:
    """A world to kill in, which is settled at the end."""
    world = on_job_server(make_world(folder / "world", bootstrap, studies=("sleep",), partitions=3), flink, **more)
    world.past *= 20
    world.consent(*(world.link(person) for person in ("ann", "bob")), world.grant("ann", "sleep", retro_from=0))
    world.consent(world.grant("bob", "sleep", retro_from=0))
    one = Killing(world, flink, random.Random(seed))
    yield one
    one.settle()


def kill_drivers_and_workers(folder: Path, bootstrap: str, flink: LocalFlink, kills: int, seed: int) -> None:
    """On a cluster inside the job server."""
    with killing(folder, bootstrap, flink, seed) as one:
        one.drivers(kills)
        one.while_driven(kills, one.a_worker)


def kill_job_servers(folder: Path, bootstrap: str, flink: LocalFlink, kills: int, seed: int) -> None:
    """With the cluster inside them, and all that is known of the job."""
    with killing(folder, bootstrap, flink, seed) as one:
        one.while_driven(kills, one.the_job_server)


def kill_task_managers(folder: Path, bootstrap: str, kills: int, seed: int) -> None:
    """On a cluster of its own, whose TaskManager is replaced each time; and, fewer times, its JobManager."""
    cluster = Cluster(folder / "cluster")

    def kill() -> None:
        cluster.kill_worker()
        cluster.start_worker()

    def kill_manager() -> None:
        cluster.kill_manager()
        cluster.start_manager()

    try:
        with (
            job_server_in(folder / "flink", cluster.master) as flink,
            killing(folder, bootstrap, flink, seed) as one,
        ):
            one.while_driven(kills, kill)
            one.while_driven(max(1, kills // 10), kill_manager)
    finally:
        cluster.close()


def main() -> None:
    """The command; anything lost, doubled or wrong ends it with an error."""
    parser = argparse.ArgumentParser(prog="python -m tests.flink_kills", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=20, help="how many of each kind")
    parser.add_argument("--seed", type=int, default=None, help="the same moments again; by chance where not given")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="wellspring-flink-kills-") as name:
        folder, began = Path(name), time.monotonic()
        kafka = LocalKafka(folder / "kafka")
        try:
            bootstrap = kafka.up().bootstrap
            with job_server_in(folder / "flink") as flink:
                kill_drivers_and_workers(folder / "drivers", bootstrap, flink, asked.kills, seed)
                kill_job_servers(folder / "job-servers", bootstrap, flink, asked.kills, seed)
            kill_task_managers(folder / "cluster", bootstrap, asked.kills, seed)
        finally:
            kafka.kill()
    print(
        f"{asked.kills} drivers, workers, job servers and TaskManagers killed: nothing lost, nothing doubled", end=" "
    )
    print(f"({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
