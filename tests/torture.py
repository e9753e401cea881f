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
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from connectors.ranges import OffsetRange, RangeReader
from infra.local_kafka import LocalKafka
from pipelines.entries import now_us
from pipelines.holds import Holds
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from pipelines.vault import vault_of
from schemas.contracts import contracts, decode
from schemas.metrics import catalogue
from tests.canaries import leaks_in_folder
from tests.naive import NaiveDriver, visible
from tests.steps import SteppedDriver, Steps
from tests.traffic import Acknowledged, Traffic
from tests.worlds import DAY, HOUR, World, holds_law, lay_out, make_topics

STUDIES = ("sleep", "cycle")
LIMITS = {"plan_records": 100, "compact_files": 3}
LONGEST_S = 15.0  # a step that a life does not come to by then is left for another life
RANDOM_S = (0.2, 2.5)

_APPEND = ("append.checked", "append.done")
_APPLY = ("apply.table", "apply.committed", "apply.synced", "apply.done")
_COMMIT = ("planned", "ran", "manifest", *_APPEND, *_APPLY, "apply.table 2", "told", "held", "kept")
TARGETS: tuple[tuple[str, ...], ...] = (
    *((f"{kind} {step}",) for kind in ("ingest", "redrive") for step in _COMMIT),
    *((f"compact {step}",) for step in ("compacted", *_APPEND, *_APPLY)),
    *(("start takeover",), ("start takeover",), ("start swept",), ("start swept",), ("compact compacted",)),
    ("ingest append.done", "start apply.table"),
    ("ingest apply.table 2", "start apply.committed"),
    ("redrive append.done", "start apply.synced", "start told"),
    ("ingest told", "start held", "start kept"),
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


class Told(Steps):
    """Tells the parent of each step through a pipe, and kills a process, its own, at the target."""

    def __init__(self, pipe: int, target: str | None, victim: int = 0) -> None:
        super().__init__()
        self._pipe, self._target, self._victim = pipe, target, victim

    def came(self) -> None:
        os.write(self._pipe, f"{self.label}\n".encode())
        if self.label == self._target:
            os.kill(self._victim or os.getpid(), signal.SIGKILL)


def live(world: World, steps: Steps) -> NoReturn:
    """A driver's life: it ends by being killed."""
    driver = SteppedDriver(world.settings, steps)
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


def end_of(log: Path) -> str:
    """The last lines of what children said."""
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


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
        raise RuntimeError(f"a process of the harness failed:\n{end_of(log)}")
    return json.loads(answer)


@dataclass(frozen=True)
class Life:
    """How a driver's life ended: its last step, and whether it came to the target (a random moment always does)."""

    label: str
    came: bool


def kill_one(
    world: World, begin: Callable[[World, Steps], object], target: str | None, after_s: float, log: Path
) -> Life:
    """Let a driver live until its target or, without one, for so long; then it is dead. RuntimeError if it ends itself."""
    receive, send = os.pipe()
    child = fork(lambda: begin(world, Told(send, target)), log)
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
        raise RuntimeError(f"a driver ended by itself ({status}):\n{end_of(log)}")
    last = labels[-1] if labels else "before anything"
    return Life(last, target in (None, last))


def schedule(kills: int, targets: tuple[tuple[str, ...], ...], chance: random.Random) -> list[str | None]:
    """Where each driver shall be killed: every target in turn, again and again, as many random moments among them."""
    wanted: list[tuple[str | None, ...]] = []
    while sum(map(len, wanted)) < kills:
        part: list[tuple[str | None, ...]] = [*targets, *([(None,)] * (len(targets) * 2 // 5))]
        chance.shuffle(part)
        wanted += part
    return [target for group in wanted for target in group][:kills]


# -- the whole


def torture(folder: Path, kills: int, seed: int, naive: bool = False, say: Callable[[str], None] = print) -> Figures:
    """Kill so many drivers one after another, let one work everything off, and compare."""
    began, log, noted = time.monotonic(), folder / "harness.log", folder / "noted"
    folder.mkdir(parents=True, exist_ok=True)
    catalogue(), contracts()  # read once, for all children
    kafka = LocalKafka(folder / "kafka")
    try:
        world = lay_out(folder / "world", kafka.up().bootstrap, studies=STUDIES, **LIMITS)
        world.past = 9 * DAY  # a hundred readings a second of traffic take a hundred seconds of it
        in_child(lambda: make_topics(world.settings), log)
        with traffic(lambda: Traffic(world, noted, seed, late=not naive).run(), log):
            killed_at = kill_all(world, kills, seed, naive, log, say)
        found = in_child(lambda: (settle_naively if naive else settle)(world, Acknowledged(noted)), log)
    finally:
        kafka.kill()
    return Figures(seed, kills, **found, killed_at=killed_at, seconds=round(time.monotonic() - began, 1))


@contextmanager
def traffic(run: Callable[[], object], log: Path) -> Iterator[int]:
    """Lets traffic run in a process of its own, and ends it in good order; its process id."""
    child = fork(run, log)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"the traffic failed:\n{end_of(log)}")


def kill_all(world: World, kills: int, seed: int, naive: bool, log: Path, say: Callable[[str], None]) -> dict[str, int]:
    """How many drivers were killed after which step. A target that was missed takes a random moment's place."""
    chance = random.Random(seed)
    begin = live_naively if naive else live
    wanted = schedule(kills, NAIVE_TARGETS if naive else TARGETS, chance)
    killed: Counter[str] = Counter()
    for number in range(kills):
        life = kill_one(world, begin, wanted[number], chance.uniform(*RANDOM_S), log)
        killed[life.label] += 1
        if not life.came and None in wanted[number + 1 :]:
            wanted[wanted.index(None, number + 1)] = wanted[number]
        if (number + 1) % 50 == 0:
            say(f"{number + 1} of {kills} drivers killed")
    return dict(sorted(killed.items()))


def settle(world: World, acknowledged: Acknowledged) -> dict[str, Any]:
    """One driver works off what is left, another sweeps and clears; then the lake against what was acknowledged."""
    world.work()
    with world.driver(clock=lambda: now_us() + 2 * HOUR) as later:  # past the grace of removed files
        while later.cycle() or later.tables.standing.cleared_through < later.ledger.next_n - 2:
            pass
    report = lake_check(world.store, world.ledger, law=entry_law)
    entries = world.entries()
    problems = [*report.problems, *holds_law(entries), *(f"{path} is left over" for path in report.leavings)]
    problems += [f"a planted secret was written: {where}" for where in leaks_in_folder(world.folder, world.lake_folder)]
    if any("R_POISON" in entry.counts.get("rejected", {}) for entry in entries):
        problems.append("a record was called poison although only drivers were killed")
    with closing(vault_of(world.settings)) as vault:
        held = Holds(vault, world.settings.hold_us, world.settings.kit_hold_us).open_readings()
    if held:
        problems.append("readings are held although everybody is known")
    found = {study: world.landed(study) + world.landed(study, "quarantine") for study in STUDIES}
    lost, doubled = acknowledged.compare(found)
    return {
        "acknowledged": acknowledged.records,
        "lost": lost,
        "doubled": doubled,
        "untold": acknowledged.garbage - len(told(world)),
        "entries": dict(Counter(str(entry.kind) for entry in entries)),
        "problems": problems,
    }


def told(world: World) -> set[tuple[int, int]]:
    """Partition and offset of each record that the partner was told is rejected."""
    topic = f"{world.partner}.rejected.v1"
    with RangeReader(world.settings.kafka) as reader:
        end = reader.end_offsets([topic])[topic, 0]
        values = [v for b in reader.read(OffsetRange(topic, 0, 0, end)) for v in b.column("value").to_pylist()]
    return {(found["partition"], found["offset"]) for found in (decode(value, "rejected") for value in values)}


def settle_naively(world: World, acknowledged: Acknowledged) -> dict[str, Any]:
    """The naive driver works off what is left; then what is visible against what was acknowledged."""
    driver = NaiveDriver(world, lambda step: None)
    while driver.cycle():
        pass
    lost, doubled = acknowledged.compare({study: visible(world, study) for study in STUDIES})
    return {"acknowledged": acknowledged.records, "lost": lost, "doubled": doubled}


def main() -> None:
    """The command; its exit code is 1 where anything was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=1000, help="how many drivers to kill")
    parser.add_argument("--seed", type=int, default=None, help="the same schedule again; by chance where not given")
    parser.add_argument("--naive", action="store_true", help="a driver without a ledger, which loses or doubles")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="wellspring-torture-") as folder:
        figures = torture(
            Path(folder), asked.kills, seed, asked.naive, lambda text: print(text, file=sys.stderr, flush=True)
        )
    wrong = figures.lost or figures.doubled or figures.untold or figures.problems
    end_with(asdict(figures), asked.json, bool(wrong))


def end_with(figures: dict[str, Any], as_json: bool, wrong: bool) -> NoReturn:
    """Print the figures and leave, without waiting for the threads of anybody's library."""
    print(json.dumps(figures) if as_json else "\n".join(f"{name}: {value}" for name, value in figures.items()))
    sys.stdout.flush()
    os._exit(int(wrong))


if __name__ == "__main__":
    main()
