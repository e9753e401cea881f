"""Exactly once under SIGKILL: drivers are killed at random moments and at every named step, one after another.

    python -m tests.torture --kills 1000 --seed 7

Meanwhile people appear, are linked and consent late, and send readings. At the end one driver works everything off, and
what lies in the lake is compared with what the broker acknowledged. `--naive` does the same to a driver without a ledger.

Drivers are forked from a process that has imported everything and holds no connection and no thread of a client, so
that a life costs a second and not an import. `Killed.label` says what the driver was doing: start, ingest, redrive or
compact, and after which step.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from connectors.ranges import OffsetRange, RangeReader
from infra.local_kafka import LocalKafka
from pipelines.driver import Driver
from pipelines.entries import Kind
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from pipelines.plan import Plan, PlannedRange
from schemas.contracts import decode
from tests.naive import NaiveDriver, visible
from tests.traffic import Acknowledged, Traffic
from tests.worlds import World, holds_law, lay_out, make_topics, work_off

STUDIES = ("sleep", "cycle")
LIMITS = {"plan_records": 60, "compact_files": 4}
LONGEST_S = 15.0  # a step that a life does not come to by then is left for another life
RANDOM_S = (0.1, 2.0)

_APPEND = ("append.checked", "append.done")
_APPLY = ("apply.table", "apply.committed", "apply.synced", "apply.done")
_COMMIT = ("planned", "ran", "manifest", *_APPEND, *_APPLY, "apply.table 2", "told")
TARGETS: tuple[tuple[str, ...], ...] = (
    *((f"{kind} {step}",) for kind in ("ingest", "redrive") for step in _COMMIT),
    *((f"compact {step}",) for step in ("compacted", *_APPEND, *_APPLY)),
    *(("start takeover",), ("start takeover",), ("start swept",), ("start swept",), ("compact compacted",)),
    ("ingest append.done", "start apply.table"),
    ("ingest apply.table 2", "start apply.committed"),
    ("redrive append.done", "start apply.synced", "start told"),
    ("compact apply.committed", "start apply.done"),
)
"""Where to kill; a group's later ones only exist where the former left something to recover."""
NAIVE_TARGETS = (("ingest planned",), ("ingest ran",), ("ingest offsets",))


@dataclass
class Figures:
    """What came of it. `lost` and `doubled` are readings, `untold` are rejections that the partner never heard of."""

    seed: int
    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    untold: int = 0
    seconds: float = 0.0
    entries: dict[str, int] = field(default_factory=dict)
    killed_at: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Steps:
    """Hears of a driver's steps, tells the parent through a pipe, and kills its own process at the target."""

    def __init__(self, pipe: int, target: str | None) -> None:
        self.doing = "start"
        self._pipe, self._target = pipe, target
        self._met: Counter[str] = Counter()

    def begin(self, doing: str) -> None:
        self.doing = doing
        self._met.clear()

    def __call__(self, step: str) -> None:
        if step == "compacted":
            self.begin("compact")
        label = f"{self.doing} {step}"
        self._met[label] += 1
        if self._met[label] > 1:
            label += f" {self._met[label]}"
        os.write(self._pipe, f"{label}\n".encode())
        if label == self._target:
            os.kill(os.getpid(), signal.SIGKILL)


class Victim(Driver):
    """The driver, which also says what kind of entry it is at."""

    def __init__(self, world: World, steps: Steps) -> None:
        super().__init__(world.settings, on_step=steps)
        self._steps = steps

    def plan(self, kind: Kind, ranges: list[PlannedRange], **more: Any) -> Plan:
        self._steps.begin(str(kind))
        return super().plan(kind, ranges, **more)


def live(world: World, steps: Steps) -> NoReturn:
    """A driver's life: it ends by being killed."""
    driver = Victim(world, steps)
    driver.start()
    while True:
        if not driver.cycle():
            time.sleep(0.05)


def live_naively(world: World, steps: Steps) -> NoReturn:
    """A naive driver's life."""
    driver = NaiveDriver(world, steps)
    steps.begin("ingest")
    while True:
        if not driver.cycle():
            time.sleep(0.05)
        steps.begin("ingest")


# -- processes


def fork(work: Callable[[], object], log: Path) -> int:
    """Do the work in a child that shares what was imported; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def in_child(work: Callable[[], Any], log: Path) -> Any:
    """What the work returns, done in a child, so that the parent stays without connections and threads."""
    receive, send = os.pipe()

    def told() -> None:
        os.write(send, json.dumps(work()).encode())

    child = fork(told, log)
    os.close(send)
    with open(receive, encoding="utf-8") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a process of the harness failed:\n{log.read_text(encoding='utf-8')[-4000:]}")
    return json.loads(answer)


@dataclass(frozen=True)
class Life:
    """How a driver's life ended: its last step, and whether it came to the target (a random moment always does)."""

    label: str
    came: bool


def kill_one(world: World, begin: Callable[[World, Steps], object], target: str | None, after_s: float, log: Path) -> Life:
    """Let a driver live until its target or, without one, for so long; then it is dead. RuntimeError if it ends itself."""
    receive, send = os.pipe()
    child = fork(lambda: begin(world, Steps(send, target)), log)
    os.close(send)
    deadline = time.monotonic() + (after_s if target is None else LONGEST_S)
    status = None
    while status is None and time.monotonic() < deadline:
        done, found = os.waitpid(child, os.WNOHANG)
        status = found if done else None
        time.sleep(0.01)
    if status is None:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    with open(receive, encoding="utf-8") as pipe:
        labels = pipe.read().split("\n")[:-1]
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError(f"a driver ended by itself ({status}):\n{log.read_text(encoding='utf-8')[-4000:]}")
    last = labels[-1] if labels else "before anything"
    return Life(last, target in (None, last))


def schedule(kills: int, targets: tuple[tuple[str, ...], ...], chance: random.Random) -> list[str | None]:
    """Where each driver shall be killed: every target in turn, again and again, as many random moments among them."""
    wanted: list[tuple[str | None, ...]] = []
    while sum(map(len, wanted)) < kills:
        part: list[tuple[str | None, ...]] = [*targets, *([(None,)] * (len(targets) // 2))]
        chance.shuffle(part)
        wanted += part
    return [target for group in wanted for target in group][:kills]


# -- the whole


def torture(folder: Path, kills: int, seed: int, naive: bool = False, say: Callable[[str], None] = print) -> Figures:
    """Kill so many drivers one after another, let one work everything off, and compare."""
    began, figures, log = time.monotonic(), Figures(seed), folder / "harness.log"
    folder.mkdir(parents=True, exist_ok=True)
    kafka = LocalKafka(folder / "kafka")
    try:
        world = lay_out(folder / "world", kafka.up().bootstrap, studies=STUDIES, **LIMITS)
        in_child(lambda: make_topics(world.settings), log)
        with traffic(world, folder / "noted", seed, late=not naive, log=log):
            _kill_all(world, kills, naive, figures, log, say)
        found = in_child(lambda: _settle(world, folder / "noted", naive), log)
    finally:
        kafka.kill()
    return Figures(**{**asdict(figures), **found, "seconds": round(time.monotonic() - began, 1)})


class traffic:  # noqa: N801  # a context manager
    """Lets traffic run in a process of its own, and ends it in good order."""

    def __init__(self, world: World, noted: Path, seed: int, late: bool, log: Path) -> None:
        noted.touch()
        self._child = fork(lambda: Traffic(world, noted, seed, late).run(), log)
        self._log = log

    def __enter__(self) -> None:
        """It is running already."""

    def __exit__(self, *_: object) -> None:
        os.kill(self._child, signal.SIGTERM)
        _, status = os.waitpid(self._child, 0)
        if status:
            raise RuntimeError(f"the traffic failed:\n{self._log.read_text(encoding='utf-8')[-4000:]}")


def _kill_all(
    world: World, kills: int, naive: bool, figures: Figures, log: Path, say: Callable[[str], None]
) -> None:
    chance = random.Random(figures.seed)
    begin = live_naively if naive else live
    wanted = schedule(kills, NAIVE_TARGETS if naive else TARGETS, chance)
    killed: Counter[str] = Counter()
    for target in _again_if_missed(wanted, kills):
        life = kill_one(world, begin, target, chance.uniform(*RANDOM_S), log)
        figures.kills += 1
        killed[life.label] += 1
        if target is not None and not life.came and figures.kills + len(wanted) <= kills:
            wanted.append(target)
        if figures.kills % 50 == 0:
            say(f"{figures.kills} of {kills} drivers killed")
    figures.killed_at = dict(sorted(killed.items()))
