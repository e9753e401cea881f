"""A driver that follows for half an hour, and is disturbed: it catches up each time, grows no larger, leaves no files.

    python -m tests.soak --minutes 30 --disturbances 20

The broker is restarted and killed, the driver is paused, floods and garbage come in, records are judged again, people
consent and withdraw by the hundred. After each disturbance everything that had come in until then must be read, and
every request done. Each kind comes once while the driver warms up, so that it has done by then all that it will do, and
what it takes more after that is growth. At the end the lake is compared with what the broker acknowledged, as after the
kills.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from connectors.ranges import RangeReader
from infra.local_kafka import LocalKafka
from pipelines.plan import partition_key
from pipelines.progress import Progress
from pipelines.requests import everything
from pipelines.views import tables
from schemas.contracts import contracts
from schemas.metrics import catalogue
from tests.torture import STUDIES, end_of, end_with, in_child, settle, traffic
from tests.traffic import Acknowledged, Traffic
from tests.worlds import DAY, ROOT, Message, lay_out, make_topics

LIMITS = {"freshness_s": 1.0, "compact_files": 10}
WARM = 1 / 6
"""The part of the whole after which memory and files are taken for what they will be: 5 minutes of 30."""
MOST_GROWTH = 1.1
CATCHES_UP_S = 180.0
LOOK_S = 0.5
FLOOD_PEOPLE, FLOOD_MESSAGES, FLOOD_READINGS, FLOOD_FROM = 20, 300, 10, 400_000


@dataclass
class Figures:
    """What came of it. Seconds until each disturbance was worked off; megabytes and files after the warm-up and last."""

    seconds: float = 0.0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    untold: int = 0
    caught_up_s: list[tuple[str, float]] = field(default_factory=list)
    memory_mb: tuple[float, float] = (0.0, 0.0)
    files: tuple[int, int] = (0, 0)
    open_files: tuple[int, int] = (0, 0)
    entries: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Soak:
    """One world, its broker, and the driver that lives through it all."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.log, self.noted = folder / "harness.log", folder / "noted"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.kafka = LocalKafka(folder / "kafka")
        self.world = lay_out(folder / "world", self.kafka.up().bootstrap, studies=STUDIES, **LIMITS)
        self.world.past = 9 * DAY
        self.port = self.world.settings.kafka.addresses[0][1]
        self.chance = random.Random(seed)
        self.floods = 0
        in_child(lambda: make_topics(self.world.settings), self.log)

    # -- the driver

    @contextmanager
    def driver(self) -> Iterator[psutil.Process]:
        words = [sys.executable, "-m", "pipelines.cli", "run", "--follow", "--json", "--config", str(self.world.config)]
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        with (
            self.log.open("ab") as log,
            subprocess.Popen(words, stdout=log, stderr=log, cwd=ROOT, env=environment) as process,
        ):
            try:
                yield psutil.Process(process.pid)
                process.send_signal(signal.SIGTERM)
                if code := process.wait(timeout=120):
                    raise RuntimeError(f"the driver ended with {code}:\n{end_of(self.log)}")
            finally:
                process.kill()

    # -- disturbances

    def restart_broker(self, driver: psutil.Process) -> None:
        self.kafka.down()
        time.sleep(3)
        self.kafka.up(self.port)

    def kill_broker(self, driver: psutil.Process) -> None:
        self.kafka.kill()
        self.kafka.up(self.port)

    def pause_driver(self, driver: psutil.Process) -> None:
        driver.suspend()
        time.sleep(20)
        driver.resume()

    def flood(self, driver: psutil.Process) -> None:
        """Some people's readings at once, many plans of them."""
        self.floods += 1
        first = FLOOD_FROM + self.floods * FLOOD_MESSAGES * FLOOD_READINGS
        people = [
            1_000_000 + 6 * (self.floods * FLOOD_PEOPLE + n) for n in range(FLOOD_PEOPLE)
        ]  # in one study, known at once
        notes = [
            {"person": people[n % FLOOD_PEOPLE], "first": first + n * FLOOD_READINGS, "count": FLOOD_READINGS}
            for n in range(FLOOD_MESSAGES)
        ]

        def send() -> None:
            for person in people:
                self.world.consent(self.world.link(f"p{person}"), self.world.grant(f"p{person}", "sleep"))
            self.world.publish(*(self._message(note) for note in notes))

        in_child(send, self.log)
        with self.noted.with_suffix(".floods").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(note) + "\n" for note in notes)

    def _message(self, note: dict[str, int]) -> Message:
        return self.world.reading(f"p{note['person']}", range(note["first"], note["first"] + note["count"]))

    def garbage(self, driver: psutil.Process) -> None:
        count = 300
        in_child(lambda: self.world.publish(*((b"s", b"no message %d" % n) for n in range(count))) and None, self.log)
        with self.noted.with_suffix(".floods").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"garbage": True}) + "\n" for _ in range(count))

    def judge_again(self, driver: psutil.Process) -> None:
        """The newest records of a partition, and their rows in place of those that landed."""
        topic, end = self.world.topic, self.ends()[partition_key(self.world.topic, 0)]
        wanted = f"{topic}/0:{max(0, end - 300)}-{end - 1}"
        words = [sys.executable, "-m", "pipelines.cli", "run", "--replay", wanted, "--no-wait", "--config"]
        subprocess.run([*words, str(self.world.config)], cwd=ROOT, check=True, capture_output=True)

    def change_minds(self, driver: psutil.Process) -> None:
        """People who sent nothing consent, and most of them withdraw."""
        first = self.chance.randrange(10**9)

        def say() -> None:
            with self.world.authority() as tell:
                for n in range(100):
                    name = f"q{first}-{n}"
                    tell(self.world.link(name), self.world.grant(name, "sleep"))
                    if n % 4:
                        tell(self.world.withdraw(name, "sleep"))

        in_child(say, self.log)

    # -- what is looked at

    def ends(self) -> dict[str, int]:
        """The end of each partition of the data, by partition."""

        def ask() -> dict[str, int]:
            with RangeReader(self.world.settings.kafka) as reader:
                return {partition_key(*at): end for at, end in reader.end_offsets([self.world.topic]).items()}

        found: dict[str, int] = in_child(ask, self.log)
        return found

    def catch_up(self, *alive: psutil.Process) -> float | None:
        """Seconds until all that has come in is read and all that was asked for is done; None where it never is."""
        began, ends = time.monotonic(), self.ends()
        while time.monotonic() - began < CATCHES_UP_S:
            if any(process.status() == psutil.STATUS_ZOMBIE for process in alive):
                raise RuntimeError(f"the driver or the traffic has ended:\n{end_of(self.log)}")
            read = Progress.of(self.world.ledger.head()).offsets
            waits = any(asked.waits for asked in everything(self.world.store))
            if not waits and all(read.get(key, 0) >= end for key, end in ends.items()):
                return time.monotonic() - began
            time.sleep(LOOK_S)
        return None

    def files(self) -> int:
        """As `_files`, in a child: what reads tables has threads, and this process forks."""
        return int(in_child(self._files, self.log))

    def _files(self) -> int:
        """Live files of the tables, and all that lies beside: in the vault, `_control`, `_tmp` and the temporary folder.

        Without the ledger, which keeps everything, and without what has an age: tables' logs and files that were removed.
        """
        lake = self.world.settings.lake
        beside = (*lake.glob("_*/**/*"), *self.world.settings.vault.rglob("*"), *self.temporary.rglob("*"))
        kept = [path for path in beside if path.is_file() and path.parent != lake / "_control" / "ledger"]
        return sum(info.files for info in tables(self.world.store)) + len(kept)


DISTURBANCES = (
    Soak.restart_broker,
    Soak.flood,
    Soak.pause_driver,
    Soak.garbage,
    Soak.kill_broker,
    Soak.judge_again,
    Soak.change_minds,
)


def soak(folder: Path, minutes: float, disturbances: int, seed: int, say: Callable[[str], None]) -> Figures:
    """Let a driver follow for so long, disturb it so many times, and compare."""
    began = time.monotonic()
    catalogue(), contracts()
    world = Soak(folder, seed)
    figures = Figures()
    try:
        with (
            traffic(lambda: Traffic(world.world, world.noted, seed, late=True).run(), world.log) as sender,
            world.driver() as driver,
        ):
            _live(world, driver, psutil.Process(sender), figures, minutes * 60, disturbances, say)
        floods = world.noted.with_suffix(".floods")
        with world.noted.open("a", encoding="utf-8") as file:
            file.write(floods.read_text(encoding="utf-8") if floods.exists() else "")
        found = in_child(lambda: settle(world.world, Acknowledged(world.noted)), world.log)
    finally:
        world.kafka.kill()
    figures.problems += found.pop("problems")
    for name, value in found.items():
        setattr(figures, name, value)
    figures.seconds = round(time.monotonic() - began, 1)
    return figures


def _live(
    world: Soak,
    driver: psutil.Process,
    sender: psutil.Process,
    figures: Figures,
    seconds: float,
    disturbances: int,
    say: Callable[[str], None],
) -> None:
    """Each kind of disturbance in the warm-up, the others evenly after it; the last part is left to memory and files."""
    began, kinds = time.monotonic(), len(DISTURBANCES)
    first, last = seconds * WARM, seconds * (1 - WARM / 2)
    early = (0.0, 0, 0)
    for n in range(disturbances):
        if n == kinds:
            _wait_until(began + first)
            early = _taken(world, driver)
        after = (
            (n + 1) * first / (kinds + 1)
            if n < kinds
            else first + (n - kinds) * (last - first) / (disturbances - kinds)
        )
        _wait_until(began + after)
        disturb = DISTURBANCES[n % kinds]
        disturb(world, driver)
        taken = world.catch_up(driver, sender)
        name = disturb.__name__
        if taken is None:
            figures.problems.append(f"after {name} the driver did not catch up within {CATCHES_UP_S:.0f} s")
        figures.caught_up_s.append((name, round(taken or CATCHES_UP_S, 1)))
        memory = driver.memory_info().rss / 1e6
        say(f"{n + 1} of {disturbances}: {name}, caught up after {figures.caught_up_s[-1][1]} s, {memory:.0f} MB")
    _wait_until(began + seconds)
    late = _taken(world, driver)
    figures.memory_mb, figures.files, figures.open_files = zip(early, late, strict=True)
    if late[0] > MOST_GROWTH * early[0]:
        figures.problems.append(f"memory grew from {early[0]:.0f} to {late[0]:.0f} MB")
    if late[1] > 2 * early[1] + 100:
        figures.problems.append(f"files grew from {early[1]} to {late[1]}")
    if late[2] > early[2] + 20:
        figures.problems.append(f"open files grew from {early[2]} to {late[2]}")


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _taken(world: Soak, driver: psutil.Process) -> tuple[float, int, int]:
    """The driver's memory in megabytes (the middle of ten looks), files on disks, files that it has open."""
    looks = []
    for _ in range(10):
        looks.append(driver.memory_info().rss / 1e6)
        time.sleep(1.0)
    return round(statistics.median(looks), 1), world.files(), driver.num_fds()


def main() -> None:
    """The command; its exit code is 1 where anything was lost, doubled, grew or did not catch up."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the driver follows")
    parser.add_argument("--disturbances", type=int, default=20, help="how often it is disturbed")
    parser.add_argument("--seed", type=int, default=7, help="the same traffic again")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    asked = parser.parse_args()
    if asked.disturbances <= (kinds := len(DISTURBANCES)):
        parser.error(f"--disturbances: expected more than {kinds}, since each of {kinds} kinds comes once to warm up")
    with tempfile.TemporaryDirectory(prefix="wellspring-soak-") as folder:
        figures = soak(
            Path(folder) / "soak",
            asked.minutes,
            asked.disturbances,
            asked.seed,
            lambda text: print(text, file=sys.stderr, flush=True),
        )
    wrong = figures.lost or figures.doubled or figures.untold or figures.problems
    end_with(asdict(figures), asked.json, bool(wrong))


if __name__ == "__main__":
    main()
