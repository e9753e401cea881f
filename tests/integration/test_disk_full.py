"""A disk that is full, at whichever write of a cycle: a clean failure in words, and nothing lost or doubled afterwards."""

import itertools
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local_kafka import Address
from tests.worlds import make_world, once

MB = 1024 * 1024
PAGE = 4096


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
