"""A watched folder under SIGKILL: watchers are killed at random moments, one after another, while files are dropped.

    python -m tests.watch_kills CONFIG PARTNER INBOX --kills 50 --seed 7

Exports and results come as people and programs drop them: as a whole under their name, growing piece by piece beside a
manifest that says their size, renamed from `.part`; some are broken. Watchers are forked from a process that has
imported everything and holds no connection, so that a life costs no import. It prints what was dropped, as JSON.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.cli import execute
from tests.apple_exports import STEPS, export_zip, record, xml
from tests.canaries import MARK, subject
from tests.lab_messages import PID, message, obr, obx, spm

PEOPLE = ("ann", "bob", "cleo")
EXPORTS, RESULTS, BROKEN = 9, 6, 3
RECORDS, MESSAGES = 40, 20
SETTLE_S = 0.2
_LIFE_S = (0.05, 1.1)
_WORK_S = 0.3
_PIECES = 4


class File(NamedTuple):
    """What is dropped; `pieces` more than one where it grows under its own name."""

    name: str
    content: bytes
    manifest: dict[str, object]
    pieces: int = 1


def export_of(number: int) -> bytes:
    """An export whose records no other export has, of steps that anybody can take, all values of it different."""
    records = []
    for n in range(number * RECORDS, (number + 1) * RECORDS):
        start, end = (f"2021-01-01 {n // 60:02}:{n % 60:02}:{second:02} +0200" for second in (0, 50))
        records.append(record(STEPS, str(10 + n % 50), unit="count", startDate=start, endDate=end, creationDate=end))
    return xml(*records)


def files(partner: str) -> list[File]:
    """All that is dropped, in its order."""
    found = []
    apple: dict[str, object] = {"partner": partner, "format": "apple-health", "subject": subject("ann")}
    for n in range(EXPORTS):
        content = export_zip(export_of(n)) if n % 2 else export_of(n)
        said = {**apple, "subject": subject(PEOPLE[n % len(PEOPLE)])}
        if growing := n % 3 == 0:
            said["size"] = len(content)
        found.append(File(f"{MARK}-export-{n}", content, said, _PIECES if growing else 1))
    for n in range(RESULTS):
        numbers = range(n * MESSAGES, (n + 1) * MESSAGES)
        texts = [message(PID.format(n=one), obr(one), obx(str(one)), spm(f"KIT{one}"), number=one) for one in numbers]
        found.append(File(f"{MARK}-results-{n}", "".join(texts).encode(), {"partner": partner, "format": "hl7v2"}))
    for n in range(BROKEN):
        content = (b"%PDF-1.7", b"", export_of(50)[:60])[n]
        found.append(File(f"{MARK}-broken-{n}", content, apple))
    random.Random(3).shuffle(found)
    return found


def dropping(inbox: Path, dropped: list[File], chance: random.Random) -> Iterator[None]:
    """Drop everything, a step at a time: whoever takes a step may be killed between any two of them."""
    for file in dropped:
        manifest, path = inbox / f"{file.name}.manifest.json", inbox / file.name
        said = json.dumps(file.manifest)
        if early := chance.random() < 0.5:
            _rename_into(manifest, said.encode())
            yield
        if file.pieces == 1:
            _rename_into(path, file.content)
        else:
            size = len(file.content) // file.pieces + 1
            for start in range(0, len(file.content), size):
                with open(path, "ab") as growing:
                    growing.write(file.content[start : start + size])
                yield
        if not early:
            yield
            _rename_into(manifest, said.encode())
        yield


def _rename_into(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.rename(path)


def start(inbox: Path, config: Path, log: Path) -> int:
    """A watcher in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = execute(["watch", str(inbox), "--settle", str(SETTLE_S), "--config", str(config)])
    finally:
        sys.stderr.flush()
        os._exit(code)


def torment(inbox: Path, config: Path, partner: str, kills: int, seed: int) -> list[str]:
    """Kill so many watchers while everything is dropped; the names of what was.

    Each is killed at a random moment: of its life, soon after it has begun a file, or as soon as it has decided about one.
    """
    chance, log = random.Random(seed), inbox.parent / "output"
    dropped = files(partner)
    steps = dropping(inbox, dropped, chance)
    every = 4 * len(dropped) // kills + 1
    for life in range(kills):
        watcher = start(inbox, config, log)
        seconds = chance.uniform(*_LIFE_S)
        for _ in range(every):
            next(steps, None)
            _live_until(time.monotonic() + seconds / every, (_never, _begun(inbox), _decided(inbox))[life % 3])
        if life % 3 == 1:
            time.sleep(chance.uniform(0, _WORK_S))
        os.kill(watcher, signal.SIGKILL)
        _, status = os.waitpid(watcher, 0)
        if not os.WIFSIGNALED(status):
            raise RuntimeError(f"a watcher ended by itself:\n{log.read_text()[-4000:]}")
    for _ in steps:
        pass
    return [file.name for file in dropped]


Sign = Callable[[], bool]


def _never() -> bool:
    return False


def _begun(inbox: Path) -> Sign:
    """Whether work on a file has begun since."""

    def written() -> int:
        return tries.stat().st_mtime_ns if tries.exists() else 0

    tries = inbox / ".wellspring" / "tries.json"
    before = written()
    return lambda: written() != before


def _decided(inbox: Path) -> Sign:
    """Whether something is decided, and not yet carried out."""
    return lambda: any(inbox.glob(".wellspring/decision-*"))


def _live_until(end: float, sign: Sign) -> None:
    while time.monotonic() < end and not sign():
        time.sleep(0.001)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("config", type=Path)
    arguments.add_argument("partner")
    arguments.add_argument("inbox", type=Path)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=7)
    given = arguments.parse_args()
    print(json.dumps(torment(given.inbox, given.config, given.partner, given.kills, given.seed)))


if __name__ == "__main__":
    main()
