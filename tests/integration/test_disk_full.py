"""A disk that is full, at whichever write of a cycle: a clean failure in words, and nothing lost or doubled afterwards."""

import itertools
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from infra.local_kafka import Address
from tests.arrivals import WORLD, Arrivals
from tests.s3_server import S3Server
from tests.steps import Once, heard_by
from tests.worlds import World, make_world, once

MB = 1024 * 1024
PAGE = 4096
ROOM = (0, PAGE, 2 * PAGE)
IN_FOLDERS = (
    *("ingest planned", "ingest ran", "ingest manifest", "ingest append.checked", "ingest append.done"),
    *("ingest apply.table 2", "ingest told"),
    *("redrive planned", "redrive ran", "redrive append.checked", "redrive append.done", "redrive told"),
    *("compact begun", "compact compacted", "compact append.checked", "compact append.done"),
)
"""From which steps on there is no room on the disk of lake and vault."""
IN_BUCKETS = ("start takeover", "ingest planned", "ingest told", "ingest held", "redrive planned", "compact begun")
"""From which steps on there is none on the disk where files are on their way to a bucket."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here: it takes Linux and the rights of root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """A file that leaves no more than so many bytes of its file system to others."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def leave(self, room: int) -> None:
        self.drop()
        size = shutil.disk_usage(self._path.parent).free - room
        with self._path.open("wb") as file:
            while size > 0:
                size -= file.write(bytes(min(size, MB)))

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)


@pytest.mark.timeout(600)
def test_a_disk_that_is_full_at_any_write_of_a_cycle_ends_the_driver_in_words(
    small_disk: Path, broker: Address
) -> None:
    world = make_world(small_disk / "world", broker.bootstrap, partitions=1)
    world.consent(world.link("ann"), world.grant("ann", "sleep"), world.grant("ann", "cycle"))
    ballast, room, numbers = Ballast(small_disk), 0, itertools.count()
    came: Counter[str] = Counter()
    while True:
        world.publish(world.reading("ann", [next(numbers)]))
        head = world.ledger.head()
        ballast.leave(room)
        ended = world.execute("run", "--once")
        ballast.drop()
        if ended.returncode == 0:
            break
        assert ended.returncode == 1
        assert "is full: what was under way is not committed" in ended.stderr
        kinds = [entry.kind for entry in world.ledger.entries(head.n + 1 if head else 1)]
        came[kinds[-1] if kinds else "nothing"] += 1
        room += PAGE
    assert all(came[last] for last in ("nothing", "takeover", "ingest")), came
    world.work()
    world.assert_sound()
    published = next(numbers)
    for study in ("sleep", "cycle"):
        assert world.landed(study) == once(range(published))


def fill_from_each(steps: tuple[str, ...], world: World, disk: Path, words: str) -> None:
    """At one step after another there is next to no room left on the disk: a command ends in these words. Afterwards
    all that has come is there once, and a cycle has done all that it can do."""
    arrivals, ballast = Arrivals(world), Ballast(disk)
    for step, room in zip(steps, itertools.cycle(ROOM)):
        arrivals.come()
        world.work()  # there is something to redrive, and to compact
        arrivals.come()
        full = Once(step, partial(ballast.leave, room))
        with heard_by(full):
            ended = world.execute("run", "--once")
        ballast.drop()
        assert full.happened, step
        assert (ended.returncode, words in ended.stderr, "Traceback" in ended.stderr) == (1, True, False), (step, ended)
        assert full.doing == step.partition(" ")[0], (step, full.label)
    arrivals.settle()
    arrivals.assert_once()
    assert {str(entry.kind) for entry in world.entries()} >= {"ingest", "redrive", "compact"}


@pytest.mark.timeout(600)
def test_a_disk_that_is_full_at_ingest_redrive_or_compaction_loses_and_doubles_nothing(
    small_disk: Path, broker: Address
) -> None:
    world = make_world(small_disk / "world", broker.bootstrap, **WORLD)
    fill_from_each(IN_FOLDERS, world, small_disk, "is full: what was under way is not committed")


@pytest.mark.timeout(600)
def test_a_full_disk_of_files_on_their_way_to_a_bucket_loses_and_doubles_nothing(
    small_disk: Path, broker: Address, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TMPDIR and the working folder of the vault are there."""
    monkeypatch.setenv("TMPDIR", str(small_disk))
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    places = {"bucket": s3.bucket, "vault_bucket": s3.bucket}
    world = make_world(small_disk / "world", broker.bootstrap, **places, **WORLD)
    fill_from_each(IN_BUCKETS, world, small_disk, "full")
