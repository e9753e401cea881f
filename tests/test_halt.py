"""Halting a run: who notices says so, everybody hears it, and the driver gets our own exception, once."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import stages
from pipelines.accounts import note
from pipelines.blocks import Block
from pipelines.halt import Halt, PlanTooLarge, heed
from pipelines.plan import Plan
from pipelines.stages import write_manifest
from pipelines.store import FolderStore
from tests.test_graph import plan


def bounded(folder: Path, **bounds: Any) -> tuple[Plan, FolderStore]:
    wanted = {"lake": str(folder / "lake"), "vault": str(folder / "vault"), **bounds}
    return plan().model_copy(update=wanted), FolderStore(folder / "lake")


def test_what_one_worker_notices_all_hear_and_the_driver_gets_once(tmp_path: Path) -> None:
    made, store = bounded(tmp_path, most_files=10, most_bytes=1000)
    one, other = Halt(made, store), Halt(made, store)
    one.files(10)
    one.bytes(1000)
    heed(made, store)
    assert not one.is_called and not other.is_called
    one.files(11)
    assert one.is_called and other.is_called
    with pytest.raises(PlanTooLarge) as cut:
        heed(made, store)
    assert (cut.value.records, cut.value.why) == (1, "files")
    assert not other.is_called and list(store.list("")) == []
    heed(made, store)


def test_bytes_are_another_reason_and_the_first_one_said_counts(tmp_path: Path) -> None:
    made, store = bounded(tmp_path, most_files=10, most_bytes=1000)
    halt = Halt(made, store)
    halt.bytes(1001)
    halt.files(11)
    with pytest.raises(PlanTooLarge) as cut:
        heed(made, store)
    assert cut.value.why == "bytes"


def test_a_plan_without_bounds_is_never_halted(tmp_path: Path) -> None:
    made, store = bounded(tmp_path)
    halt = Halt(made, store)
    halt.files(10**9)
    halt.bytes(10**15)
    assert not halt.is_called
    heed(made, store)


class Reader:
    """Reads three blocks of ten records, whatever it is asked for."""

    asked = 0

    def read(self, *wanted: Any) -> Iterator[pa.RecordBatch]:
        self.asked += 1
        for _ in range(3):
            yield pa.RecordBatch.from_pydict({"offset": list(range(10))})


@pytest.mark.parametrize("notices", ["another stage", "the reader"])
def test_nothing_more_is_read_once_the_run_is_halted(
    notices: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader()
    monkeypatch.setattr(stages, "_reader", lambda plan: nullcontext(reader))
    made, store = bounded(tmp_path, most_files=1, most_bytes=10**6 if notices == "another stage" else 100)
    read = stages.Read(made)
    read.start()
    blocks = 0
    for item in read.each((made.ranges[0].key, [made.ranges[0].model_dump_json()] * 2)):
        if isinstance(item, Block):
            blocks += 1
            if notices == "another stage":
                Halt(made, store).files(2)
    assert (blocks, reader.asked) == (1, 1) and Halt(made, store).is_called


def files_note(count: int) -> str:
    return note(
        "write", study="sleep", duplicate=0, people={}, files=[{"table": "study=sleep/observation"}] * count, answers=[]
    )


def test_a_halted_run_leaves_no_manifest(tmp_path: Path) -> None:
    made, store = bounded(tmp_path, most_files=10)
    Halt(made, store).files(11)
    write_manifest(made, [files_note(1)])
    assert list(store.list("")) == [made.halt_key] and not (tmp_path / "vault").exists()


def test_workers_that_are_each_within_the_bound_and_together_are_not_halt_the_run(tmp_path: Path) -> None:
    made, store = bounded(tmp_path, most_files=10)
    write_manifest(made, [files_note(5), files_note(5)])
    heed(made, store)
    assert store.get(made.manifest_key)
    other, _ = bounded(tmp_path, most_files=10, id="other")
    write_manifest(other, [files_note(5), files_note(6)])
    assert store.get(other.manifest_key) is None
    with pytest.raises(PlanTooLarge):
        heed(other, store)
