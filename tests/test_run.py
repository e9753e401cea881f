"""Running a plan: on which pipeline, and on which never."""

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from connectors.source_file import StorageFailed
from pipelines.accounts import note
from pipelines.prepared import Prepared
from pipelines.run import IN_MEMORY, RunnerRefused, _pipeline, read_manifest, run
from pipelines.stages import Ranges, write_manifest
from pipelines.store import FolderStore
from tests.test_graph import plan


def test_a_runner_that_loses_elements_is_refused_each_time(tmp_path: Path) -> None:
    options = PipelineOptions(["--direct_running_mode=multi_threading"])
    for _ in range(2):
        with pytest.raises(RunnerRefused):
            run(plan(), FolderStore(tmp_path), options)


def test_plans_after_one_another_share_a_pipeline_and_threads_share_none() -> None:
    meet = Barrier(2)

    def own(_: int) -> list[Prepared]:
        meet.wait(30)
        return [_pipeline(IN_MEMORY, get_ident()) for _ in range(2)]

    with ThreadPoolExecutor(2) as threads:
        (first, again), (other, _) = threads.map(own, range(2))
    assert first is again and first is not other


@pytest.mark.parametrize(
    "error", [StorageFailed("the lake's bucket: the server failed"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_an_error_in_a_stage_comes_as_it_is(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a step's name is added to its words, and it is of its own kind."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Ranges, "each", fail)
    with pytest.raises(type(error)) as raised:
        run(plan(), FolderStore(tmp_path), IN_MEMORY)
    assert (type(raised.value), str(raised.value)) == (type(error), str(error))


def notes_of(attempt: str) -> list[str]:
    """What one attempt at a run notes: a file and a pointer of its own."""
    file = {
        "path": f"study=a/observation/month=2025-01/{1:012d}-1-{attempt * 32}.parquet",
        "table": "study=a/observation",
    }
    written = {**file, "month": "2025-01", "rows": 1, "bytes": 1}
    pointer = ["acme.sensor-reading.v1", 0, 7, None, 0, "R_EMPTY", attempt]
    return [
        note("write", study="a", bundle=attempt, duplicate=0, people={}, files=[written], answers=[]),
        note("decode", pointers=[pointer], reasons={"R_EMPTY": 1}, records=1, readings=0, messages=0, decoded=0),
    ]


def test_of_two_attempts_that_race_one_is_read_and_nothing_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was given up goes on writing, in the midst of the attempt that took its place and after it."""
    made = plan().model_copy(update={"lake": str(tmp_path / "lake"), "vault": str(tmp_path / "vault")})
    store, vault = FolderStore(tmp_path / "lake"), FolderStore(tmp_path / "vault")
    put = FolderStore.put

    def overtaken(self: FolderStore, key: str, data: bytes) -> None:
        monkeypatch.setattr(FolderStore, "put", put)
        write_manifest(made, notes_of("b"))  # between what goes to the vault and the manifest
        put(self, key, data)

    monkeypatch.setattr(
        FolderStore, "put", lambda self, key, data: (overtaken if "manifests" in key else put)(self, key, data)
    )
    write_manifest(made, notes_of("a"))
    result = read_manifest(made, store)
    assert result.files[0].path.endswith("a.parquet") and [one[-1] for one in result.pointers] == ["a"]
    vault.put(made.vault_key, b"what the entry says")
    write_manifest(made, notes_of("b"))
    assert vault.get(made.vault_key) == b"what the entry says"
