"""Too little memory: plans are made smaller, beforehand where it is known and afterwards where it was not."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.entries import Kind
from pipelines.halt import PlanTooLarge
from pipelines.memory import NoMemory, ceiling_mb, telling_no_memory, within
from pipelines.plan import Plan, PlannedRange
from pipelines.settings import Limits

GB = 1024


def plan(kind: Kind, records: int) -> Plan:
    return Plan.model_construct(kind=kind, ranges=(PlannedRange.of("acme.sensor-reading.v1/0", 5, 5 + records),))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "Traceback …\npyarrow.lib.ArrowMemoryError: malloc of size 68719476736 failed [while running 'Land']"
        ),
        RuntimeError("Traceback …\nMemoryError: [while running 'Decode']"),
    ],
)
def test_a_run_without_memory_is_made_again_with_a_smaller_plan(error: Exception) -> None:
    with pytest.raises(PlanTooLarge) as cut, telling_no_memory(plan(Kind.INGEST, 8)):
        raise error
    assert (cut.value.records, cut.value.why) == (8, "memory")


@pytest.mark.parametrize(("kind", "records"), [(Kind.INGEST, 1), (Kind.REDRIVE, 8)])
def test_what_cannot_be_divided_is_told(kind: Kind, records: int) -> None:
    with pytest.raises(NoMemory, match=f"a run of {records} records"), telling_no_memory(plan(kind, records)):
        raise MemoryError


def test_other_failures_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="other"), telling_no_memory(plan(Kind.INGEST, 8)):
        raise ValueError("other")


@pytest.mark.parametrize(("ceiling", "plan_mb"), [(16 * GB, 256), (1424, 256), (1423, 255), (800, 100), (300, 1)])
def test_a_plan_holds_no_more_than_the_process_may(ceiling: int, plan_mb: int) -> None:
    assert within(Limits(), ceiling).plan_mb == plan_mb
    assert within(Limits(plan_mb=1), ceiling).plan_mb == 1


@pytest.mark.parametrize(
    ("name", "content", "limited"),
    [
        ("memory.max", "536870912\n", True),
        ("memory/memory.limit_in_bytes", "536870912\n", True),
        ("memory.max", "max\n", False),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", False),
    ],
)
def test_the_limit_of_the_container_counts(tmp_path: Path, name: str, content: str, limited: bool) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    assert (ceiling_mb(tmp_path) == 512) is limited
    assert ceiling_mb(tmp_path) <= ceiling_mb(tmp_path / "nowhere")


_FREED = """
import pipelines.memory
import psutil

taken = [bytes(100_000) for _ in range(1_000)]
kept = taken[::50]
taken.append(taken)
before = psutil.Process().memory_info().rss
del taken
pipelines.memory.give_back()
print(before - psutil.Process().memory_info().rss)
"""


def test_what_was_freed_between_what_is_kept_is_given_back() -> None:
    """In a process of its own, whose Arrow is loaded as the driver's is. Of itself the allocator gives back the end alone."""
    done = subprocess.run([sys.executable, "-c", _FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 60_000_000


_SHARED = """
import ctypes
import sys
import threading

import pipelines

together = threading.Barrier(8)


def allocate():
    kept = [bytearray(10_000) for _ in range(100)]
    together.wait()


threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in [*threads]:
    each.start()
for each in threads:
    each.join()
c = ctypes.CDLL(None)
c.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(c.fopen(sys.argv[1].encode(), b"w"))
c.malloc_info(0, file)
c.fclose(file)
"""


def test_threads_share_memory(tmp_path: Path) -> None:
    """In a process of its own, as the driver's begins."""
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("no glibc: other allocators have places of their own")
    subprocess.run([sys.executable, "-c", _SHARED, str(tmp_path / "said")], check=True)
    assert (tmp_path / "said").read_text().count("<heap nr=") <= 2
