"""Exactly once on an object store: drivers are killed, and so is the S3 server under them, in turn.

    python -m tests.torture_s3 --kills 20 --server-kills 20 --seed 7 --vault-s3

What `tests.torture` does, with the lake in a bucket, and with --vault-s3 the vault too. A driver whose server is killed
has to end by itself, with words for its operator. At the end the rows are also compared, value by value, with those that
one undisturbed driver makes of the same topics in a lake in a folder.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from connectors.source_file import StorageFailed
from infra.local_kafka import LocalKafka
from pipelines.entries import LakeError
from schemas.contracts import contracts
from schemas.metrics import catalogue
from tests.beside import beside, compare
from tests.s3_server import S3Server, s3_server, versitygw
from tests.steps import Steps
from tests.torture import (
    LIMITS,
    RANDOM_S,
    STUDIES,
    TARGETS,
    Figures,
    Told,
    end_of,
    end_with,
    fork,
    in_child,
    kill_one,
    live,
    schedule,
    settle,
    traffic,
)
from tests.traffic import Acknowledged, Traffic
from tests.worlds import DAY, World, lay_out, make_topics

COMES_S, ENDS_S = 10.0, 120.0
FELLED_AT: tuple[tuple[str, ...], ...] = tuple(
    (f"{kind} {step}",)
    for kind, steps in {
        "ingest": ("planned", "ran", "append.checked", "append.done", "apply.table", "apply.committed", "apply.done"),
        "redrive": ("append.checked", "append.done"),
        "compact": ("compacted", "append.done"),
        "start": ("takeover",),
    }.items()
    for step in steps
)
"""After which steps of a driver the server is killed; schedule() puts random moments among them."""


@dataclass
class OnS3(Figures):
    """What came of it; `differing` are rows that one of the two lakes has and the other has not."""

    felled_at: dict[str, int] = field(default_factory=dict)
    compared: int = 0
    differing: int = 0


def torture(
    folder: Path,
    kills: int,
    server_kills: int,
    seed: int,
    say: Callable[[str], None] = print,
    *,
    with_vault: bool = False,
) -> OnS3:
    """Kill so many drivers and so many times the server, let one driver work everything off, and compare."""
    began, log, noted = time.monotonic(), folder / "harness.log", folder / "noted"
    program = versitygw()
    if program is None:
        raise RuntimeError("no S3 server: install versitygw, or Go, by which it is built once")
    catalogue(), contracts()  # read once, for all children
    kafka = LocalKafka(folder / "kafka")
    try:
        with s3_server(program, folder / "s3") as server:
            os.environ.update(server.environment)
            tempfile.tempdir = str(folder)  # where files are on their way to the bucket
            places = {"bucket": server.bucket, "vault_bucket": server.bucket if with_vault else None}
            world = lay_out(folder / "world", kafka.up().bootstrap, studies=STUDIES, **places, **LIMITS)
            world.past = 9 * DAY
            in_child(lambda: make_topics(world.settings), log)
            with traffic(lambda: Traffic(world, noted, seed, late=True).run(), log):
                told = _kill_all(world, server, kills, server_kills, seed, log, say)
            found = in_child(lambda: settle(world, Acknowledged(noted)), log)
            compared = in_child(lambda: compare(world, beside(world), Acknowledged(noted).repeated), log)
    finally:
        kafka.kill()
    return OnS3(seed, kills, **found, **told, **compared, seconds=round(time.monotonic() - began, 1))


def _kill_all(
    world: World, server: S3Server, kills: int, server_kills: int, seed: int, log: Path, say: Callable[[str], None]
) -> dict[str, dict[str, int]]:
    """How often a driver, and how often the server, was killed after which step."""
    chance = random.Random(seed)
    drivers = schedule(kills, TARGETS, chance)
    servers = schedule(server_kills, FELLED_AT, chance)
    killed_at: Counter[str] = Counter()
    felled_at: Counter[str] = Counter()
    while drivers or servers:
        if drivers:
            killed_at[kill_one(world, live, drivers.pop(), chance.uniform(*RANDOM_S), log).label] += 1
        if servers:
            felled_at[fell_one(world, server, servers.pop(), chance.uniform(*RANDOM_S), log)] += 1
        say(f"{killed_at.total()} of {kills} drivers and {felled_at.total()} of {server_kills} servers killed")
    return {"killed_at": dict(sorted(killed_at.items())), "felled_at": dict(sorted(felled_at.items()))}


def fell_one(world: World, server: S3Server, target: str | None, after_s: float, log: Path) -> str:
    """Let a driver work until its target, or for so long; then the server is dead, and the driver has to end.

    Which step came last before. RuntimeError where the driver goes on, or ends in any other way than by words.
    """
    receive, send = os.pipe()
    steps = Told(send, target, server.pid)
    child = fork(lambda: _until_it_falls(world, steps), log)
    os.close(send)
    status = _waited(child, after_s if target is None else COMES_S)
    server.kill()
    status = _waited(child, ENDS_S) if status is None else status
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with open(receive, encoding="utf-8") as pipe:
        labels = pipe.read().split("\n")[:-1]
    if status != 0:
        raise RuntimeError(f"a driver did not end as it should when its server was killed ({status}):\n{end_of(log)}")
    server.up()
    return target if target in labels else "a random moment"


def _until_it_falls(world: World, steps: Steps) -> None:
    try:
        live(world, steps)
    except (StorageFailed, LakeError) as end:
        if isinstance(end, LakeError) and end.exit_code != 1:
            raise
        print(f"ended: {end}", flush=True)


def _waited(child: int, seconds: float) -> int | None:
    """How the process ended; None where it goes on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    return None


def main() -> None:
    """The command; its exit code is 1 where anything was lost, doubled, different or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture_s3", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=20, help="how many drivers to kill")
    parser.add_argument("--server-kills", type=int, default=20, help="how many times to kill the server")
    parser.add_argument("--seed", type=int, default=None, help="the same schedule again; by chance where not given")
    parser.add_argument("--vault-s3", action="store_true", help="the vault in a bucket too")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="wellspring-torture-") as folder:
        figures = torture(
            Path(folder),
            asked.kills,
            asked.server_kills,
            seed,
            lambda text: print(text, file=sys.stderr, flush=True),
            with_vault=asked.vault_s3,
        )
    wrong = figures.lost or figures.doubled or figures.untold or figures.problems or figures.differing
    end_with(asdict(figures), asked.json, bool(wrong))


if __name__ == "__main__":
    main()
