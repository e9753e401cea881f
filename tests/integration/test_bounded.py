"""Memory that stays as it was: of who reads bombs of a gigabyte, and of a driver whose files come and go."""

import subprocess
import sys
from pathlib import Path

from infra.local_kafka import Address
from pipelines import stages
from tests.documents import ROOT
from tests.worlds import make_world, work_off

_BOMBS = """
import resource
from connectors import bounded
from connectors.kafka_python import MemoryRecords
from tests.kafka_batches import PACKED, SNAPPY, ZSTD, batch, rebuilt, zeros

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
bounded.install()
three = batch([(1, b"k", b"v", [])] * 3)
before = peak()
for codec in PACKED:
    size = 1 << 27 if codec == SNAPPY else 1 << 30  # snappy packs zeros only to a twentieth
    bomb = rebuilt(three, zeros(codec, size), codec)
    assert codec != ZSTD or len(bomb) < 40_000
    marked = [record.headers[0][0] for record in MemoryRecords(bomb).next_batch()]
    assert marked == [bounded.TOO_LARGE] * 3, (codec, marked)
print(peak() - before)
"""


def test_a_gigabyte_of_zeros_in_each_codec_leaves_memory_flat() -> None:
    """In a process of its own, since a peak can only rise. Without `install` each of them takes gigabytes."""
    done = subprocess.run([sys.executable, "-c", _BOMBS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100, "MB more at the peak"


def test_a_driver_forgets_the_keys_of_files_that_are_no_more(tmp_path: Path, broker: Address) -> None:
    """Few readings come in between many that are there, so that files are looked into; three files become one."""
    world = make_world(tmp_path, broker.bootstrap, studies=["sleep"], compact_files=3)
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    made, kinds = set[str](), set[str]()
    with world.driver() as driver:
        for readings in (range(0, 400, 2), *(range(n, n + 3) for n in range(0, 48, 4))):
            world.publish(world.reading("ann", readings))
            entries = work_off(driver)
            made |= {file.path for entry in entries for change in entry.tables.values() for file in change.add}
            kinds |= {str(entry.kind) for entry in entries}
        live = {file.path for table in driver.tables.names() for file in driver.tables.live_files(table)}
    caches = stages._FILE_KEYS._free[str(world.settings.lake)]
    held = {path for cache in caches for _, path in cache._held}
    assert "compact" in kinds and len(made - live) > 12
    assert held and len(held - live) <= 3, "no more than have come to their end since the last plan"
