"""Word of an error in a stage on another machine: what the driver is told, and that nobody is named by it."""

import errno
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.kafka import KafkaUnreachable
from connectors.source_file import StorageFailed
from pipelines.failure import StageFailed, failure_of_run, telling
from pipelines.halt import PlanTooLarge
from pipelines.memory import NoMemory, telling_no_memory
from pipelines.plan import Plan
from pipelines.room import NoRoom, telling_no_room
from pipelines.store import FolderStore
from tests import test_graph
from tests.canaries import subject


def plan(folder: Path, is_elsewhere: bool = True) -> Plan:
    return test_graph.plan().model_copy(update={"lake": str(folder), "is_elsewhere": is_elsewhere})


def test_a_defect_is_told_by_its_kind_and_place_and_not_by_its_text(tmp_path: Path) -> None:
    made = plan(tmp_path)
    with pytest.raises(StageFailed) as raised, telling(made):
        raise ValueError(subject("ann"))
    assert raised.value.__cause__ is None and raised.value.__suppress_context__
    told = failure_of_run(made, FolderStore(tmp_path))
    assert isinstance(told, StageFailed) and str(told).startswith("ValueError at tests/test_failure.py:")
    assert failure_of_run(made, FolderStore(tmp_path)) is None


def test_what_is_meant_for_operators_comes_as_it_is(tmp_path: Path) -> None:
    made = plan(tmp_path)
    with pytest.raises(StageFailed), telling(made):
        raise KafkaUnreachable("Kafka at h:1 cannot be used: nothing listens there")
    told = failure_of_run(made, FolderStore(tmp_path))
    assert isinstance(told, KafkaUnreachable) and "nothing listens there" in str(told)


def test_in_the_drivers_own_process_errors_are_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="as it is"), telling(plan(tmp_path, is_elsewhere=False)):
        raise ValueError("as it is")
    assert list(FolderStore(tmp_path).list("")) == []


@pytest.mark.parametrize(
    ("error", "told_by"),
    [
        (MemoryError(), telling_no_memory(test_graph.plan())),
        (pa.ArrowMemoryError("malloc of size 9 failed"), telling_no_memory(test_graph.plan())),
        (OSError(errno.ENOSPC, "No space left on device"), telling_no_room({})),
        (RuntimeError("Unable to copy data to file: No space left on device (os error 28)"), telling_no_room({})),
    ],
)
def test_what_a_driver_can_mend_is_known_by_what_travels(
    error: Exception, told_by: AbstractContextManager[None], tmp_path: Path
) -> None:
    made = plan(tmp_path)
    with pytest.raises(StageFailed), telling(made):
        raise error
    found = failure_of_run(made, FolderStore(tmp_path))
    assert found is not None
    with pytest.raises((PlanTooLarge, NoMemory, NoRoom)), told_by:
        raise found


def test_a_bucket_that_is_away_is_told_in_words(tmp_path: Path) -> None:
    made = plan(tmp_path)
    with pytest.raises(StageFailed), telling(made):
        raise StorageFailed("the bucket: the server cannot be reached (AWS_ENDPOINT_URL)")
    assert isinstance(failure_of_run(made, FolderStore(tmp_path)), StorageFailed)
