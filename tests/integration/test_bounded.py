"""Bombs of a gigabyte, in a process of its own: the memory of the one that reads them stays as it was."""

import subprocess
import sys

from tests.documents import ROOT

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
