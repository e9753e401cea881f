"""A record that ends whoever reads it: what stands in for a crash of native code is a `sitecustomize` in the path of the
processes of a test.
"""

import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from tests.worlds import ROOT, World, make_world

MARK = "evil"
PATCH = f"""
import os, signal, time, schemas.contracts
plain = schemas.contracts.decode
def decode(value, contract):
    if b"{MARK}" in value:
        DO
    return plain(value, contract)
schemas.contracts.decode = decode
"""
ABORTS = "os.abort()"
IS_KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
RAISES = 'raise KeyError("a bug")'
HANGS = "open(os.environ['HANGS'], 'w').close(); time.sleep(600)"


def marked_world(folder: Path, bootstrap: str) -> World:
    """Four messages of ten readings each, the third of them marked."""
    made = make_world(folder / "world", bootstrap, studies=("sleep",), partitions=1)
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    for n in range(4):
        marked = {"record_ids": [f"{MARK}{i}" for i in range(10)]} if n == 2 else {}
        made.publish(made.reading("ann", range(n * 10, n * 10 + 10), **marked))
    return made


def environment(world: World, does: str) -> dict[str, str]:
    folder = world.folder / "patch"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(PATCH.replace("DO", does), "utf-8")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "HANGS": str(world.folder / "hangs")}


def run(world: World, does: str) -> subprocess.CompletedProcess[str]:
    """The command, in whose processes the marked record does what it does."""
    words = world._words("run", "--once")
    return subprocess.run(
        words, capture_output=True, text=True, timeout=250, check=False, cwd=ROOT, env=environment(world, does)
    )


def reasons(world: World) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in world.entries("ingest"):
        rejected: Any = entry.counts["rejected"]
        found.update(rejected)
    return found
