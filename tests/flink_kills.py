"""Exactly once on Flink under SIGKILL: drivers, workers, job servers and TaskManagers are killed while jobs run.

    python -m tests.flink_kills --kills 20

Each kind is killed so many times, at a random moment of a job. A moment at which no job of ours runs any more does not
count: nobody is killed, and another job is waited for. Meanwhile people are linked late and withdraw, in two studies, and
records come that are no messages. At the end one driver works everything off, and what lies in the lake is compared with
what was published, and value by value with what one undisturbed driver on the embedded runner makes of the same topics.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import psutil
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from infra.broker_process import free_port
from infra.flink.local_flink import IN_ITSELF, LocalFlink
from infra.local_kafka import LocalKafka
from pipelines.runners import job_name
from pipelines.settings import load_settings
from schemas.reasons import Code
from tests.beside import beside, compare
from tests.flink_cluster import Cluster, job_server
from tests.torture import STUDIES, Figures, settle
from tests.traffic import Acknowledged, Batches
from tests.worlds import DAY, Command, World, make_world, outcomes, wait_for

LONGEST_S = 2.0  # of a job that has begun, before the kill
TRIES = 12  # jobs, until one still runs at its moment


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
class OnFlink(Figures):
    """What came of it. `killed` is what was hit while a job of ours ran; `too_late` how often none ran any more, so that
    nobody was killed. `withheld` are readings of people who have withdrawn.

    `differing` are rows that one of the two lakes has and the other has not.
    """

    killed: Counter[str] = field(default_factory=Counter)
    too_late: int = 0
    withheld: int = 0
    compared: int = 0
    differing: int = 0

    @property
    def is_wrong(self) -> bool:
        """Whether anything was lost, doubled, different or not told."""
        return bool(self.lost or self.doubled or self.untold or self.problems or self.differing)

    def told(self) -> str:
        """What was hit, and what came of it."""
        hit = ", ".join(f"{count} {name}" for name, count in self.killed.items())
        return (
            f"killed while a job ran: {hit} ({self.too_late} moments came after a job's end: nobody was killed); "
            f"{self.acknowledged} records: lost {self.lost}, doubled {self.doubled}, not told {self.untold}, "
            f"withheld {self.withheld}; "
            f"{self.compared} rows compared with the embedded run's, {self.differing} differ; problems {self.problems}"
        )


@dataclass
class Killing:
    """A world whose driver, workers, job server or TaskManager are killed."""

    world: World
    flink: LocalFlink
    seed: int
    figures: OnFlink = field(init=False)

    def __post_init__(self) -> None:
        self.figures = OnFlink(self.seed)
        self.batches = Batches(self.world, self.world.folder.parent / "noted")
        self._chance = random.Random(self.seed)
        self._within = LONGEST_S
        self._left = set[str]()  # jobs of drivers that were killed

    def drivers(self, kills: int) -> None:
        """Kill the driver, again and again; its jobs are left behind."""
        for _ in range(kills):
            self._left = self._jobs()
            with self.world.following("run", "--follow") as command:
                self._strike("driver", command, lambda: killed(command))

    def while_driven(self, name: str, kills: int, kill: Callable[[], bool]) -> None:
        """Kill something else, while one driver goes on."""
        self._left = self._jobs()
        with self.world.following("run", "--follow") as command:
            for number in range(kills):
                if number == kills // 2:
                    self._until(self.batches.is_read, command)  # so that what is held is redriven under kills, too
                self._strike(name, command, kill)
            self._until(self.batches.is_read, command)
            assert "runs have died" not in command.errors  # what was killed is nothing that its records did

    def workers(self, kills: int) -> None:
        """Kill one of the workers that read, again and again."""
        self.while_driven("worker", kills, self._a_worker)

    def job_servers(self, kills: int) -> None:
        """Kill the job server, with the cluster inside it; as a supervisor would, start it again after a while."""
        self.while_driven("job_server", kills, self._the_job_server)

    def _a_worker(self) -> bool:
        with suppress(IndexError, psutil.NoSuchProcess):
            self._chance.choice(self._readers()).kill()
            return True
        return False

    def _the_job_server(self) -> bool:
        ran = self.flink.status()["job-server"] is not None
        self.flink.kill("job-server")
        time.sleep(self._chance.uniform(0, LONGEST_S))
        self.flink.up()
        return ran

    def _strike(self, name: str, command: Command, kill: Callable[[], bool]) -> None:
        """Kill at some moment of a job; where it has ended by then nobody is killed, but in another one, and sooner.

        `kill` is whether it hit anything.
        """
        for _ in range(TRIES):
            self.batches.publish()
            self._until(self._works, command)
            time.sleep(self._chance.uniform(0, self._within))
            if self._works() and kill():
                self.figures.killed[name] += 1
                self._within = min(LONGEST_S, 1.5 * self._within)
                return
            self.figures.too_late += 1
            self._within /= 2
        raise AssertionError(f"{TRIES} jobs had ended before a {name} could be killed in them")

    def _until(self, what: Callable[[], bool], command: Command) -> None:
        wait_for(lambda: command.process.poll() is not None or what(), 240, every_s=0.05)
        assert command.process.poll() is None, command.errors

    # -- what is at work

    def _works(self) -> bool:
        """Whether a job of this driver's runs, and a worker of the pool's reads for it."""
        return bool(self._readers() and self._jobs() - self._left)

    def _jobs(self) -> set[str]:
        """The jobs of this lake that run, as the job server says."""
        settings = self.world.settings
        with grpc.insecure_channel(settings.runner.job_endpoint) as channel:
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
            found = stub.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=30).job_info
        ours = [job for job in found if job.job_name == job_name(str(settings.lake))]
        return {job.job_id for job in ours if job.state == beam_job_api_pb2.JobState.RUNNING}

    def _readers(self) -> list[psutil.Process]:
        """The workers that the pool has given out, and that have a connection to Kafka."""
        pool = self.flink.status()["worker-pool"]
        assert pool is not None
        (nursery,) = psutil.Process(pool).children()
        return [worker for worker in nursery.children() if self._reads(worker)]

    def _reads(self, worker: psutil.Process) -> bool:
        port = self.world.settings.kafka.addresses[0][1]
        with suppress(psutil.Error):
            return any(c.raddr and c.raddr.port == port for c in worker.net_connections("tcp"))
        return False

    # -- the end

    def settle(self) -> None:
        """Work off what is left, and compare with what was published, and with the embedded run of the same topics."""
        if not self.batches.is_read():
            self.world.work()
        self.batches.say_what_is_owed()
        acknowledged = Acknowledged(self.batches.noted)
        found = settle(self.world, acknowledged)
        compared = compare(self.world, beside(self.world), acknowledged.repeated)
        withheld = outcomes(self.world.entries(), "sleep")[Code.NO_AUTHORITY]
        if withheld != self.batches.withheld:
            found["problems"].append(f"{withheld} readings were withheld, not {self.batches.withheld}")
        self.figures = replace(self.figures, kills=self.figures.killed.total(), withheld=withheld, **found, **compared)


def killed(command: Command) -> bool:
    """Kill it (SIGKILL); whether it ran until then."""
    command.process.kill()
    return command.process.wait() == -signal.SIGKILL


@contextmanager
def killing(folder: Path, bootstrap: str, flink: LocalFlink, seed: int, **more: Any) -> Iterator[Killing]:
    """A world to kill in, which is settled at the end."""
    world = on_job_server(make_world(folder / "world", bootstrap, studies=STUDIES, partitions=3), flink, **more)
    world.past = 9 * DAY
    one = Killing(world, flink, seed)
    yield one
    one.settle()


def kill_drivers_and_workers(folder: Path, bootstrap: str, flink: LocalFlink, kills: int, seed: int) -> OnFlink:
    """On a cluster inside the job server."""
    with killing(folder, bootstrap, flink, seed) as one:
        one.drivers(kills)
        one.workers(kills)
    return one.figures


def kill_job_servers(folder: Path, bootstrap: str, flink: LocalFlink, kills: int, seed: int) -> OnFlink:
    """With the cluster inside them, and all that is known of the job."""
    with killing(folder, bootstrap, flink, seed) as one:
        one.job_servers(kills)
    return one.figures


def kill_task_managers(folder: Path, bootstrap: str, kills: int, seed: int) -> OnFlink:
    """On a cluster of its own, whose TaskManager is replaced each time; and, fewer times, its JobManager."""
    cluster = Cluster(folder / "cluster")

    def kill_worker() -> bool:
        ran = cluster.kill_worker()
        cluster.start_worker()
        return ran

    def kill_manager() -> bool:
        ran = cluster.kill_manager()
        cluster.start_manager()
        return ran

    try:
        with (
            job_server_in(folder / "flink", cluster.master) as flink,
            killing(folder, bootstrap, flink, seed) as one,
        ):
            one.while_driven("task_manager", kills, kill_worker)
            one.while_driven("job_manager", max(1, kills // 10), kill_manager)
        return one.figures
    finally:
        cluster.close()


def kill_all(folder: Path, bootstrap: str, kills: int, seed: int) -> dict[str, OnFlink]:
    """All of them; what came of each of the three worlds."""
    with job_server_in(folder / "flink") as flink:
        drivers = kill_drivers_and_workers(folder / "drivers", bootstrap, flink, kills, seed)
        servers = kill_job_servers(folder / "job-servers", bootstrap, flink, kills, seed)
    managers = kill_task_managers(folder / "cluster", bootstrap, kills, seed)
    return {"drivers and workers": drivers, "job servers": servers, "a cluster of its own": managers}


def assert_exact(found: OnFlink, **killed: int) -> None:
    """So many of each were hit while a job ran, and what lies in the lake is what the embedded run makes of the topics."""
    assert not found.is_wrong, found.told()
    assert found.killed == killed
    assert found.entries["redrive"] > 0 and min(found.withheld, found.compared) > 0


def main() -> None:
    """The command; its exit code is 1 where anything was lost, doubled, different or wrong."""
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
            found = kill_all(folder, kafka.up().bootstrap, asked.kills, seed)
        finally:
            kafka.kill()
    for world, figures in found.items():
        print(f"{world}: {figures.told()}")
    print(f"({time.monotonic() - began:.0f} s)")
    sys.exit(int(any(figures.is_wrong for figures in found.values())))


if __name__ == "__main__":
    main()
