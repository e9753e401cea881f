"""Finding the record that ends whoever reads it, by halves; what runs a plan is a fake that dies of given records."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import poison
from pipelines.halt import PlanTooLarge
from pipelines.plan import Plan, PlannedRange, Selection
from pipelines.poison import halves, records_in, run_carefully
from pipelines.runner_settings import RunnerFailed
from pipelines.store import FolderStore
from tests import test_graph

TOPIC = "acme.sensor-reading.v1"
Dies = Callable[[set[tuple[int, int]]], bool]


def planned(partition: int, start: int, end: int, chosen: tuple[int, ...] | None = None) -> PlannedRange:
    selected = None if chosen is None else tuple(Selection(offset=offset, runs=((0, 1),)) for offset in chosen)
    return PlannedRange(topic=TOPIC, partition=partition, start=start, end=end, selected=selected)


def read_by(plan: Plan) -> set[tuple[int, int]]:
    """Partition and offset of all that a plan reads."""
    found = set()
    for item in plan.ranges:
        wanted = range(item.start, item.end) if item.selected is None else [one.offset for one in item.selected]
        found |= {(item.partition, offset) for offset in wanted if offset not in plan.poison_of(item.key)}
    return found


class Careful:
    """A careful run whose processes die where `dies` says so of what they read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, dies: Dies) -> None:
        self.runs: list[set[tuple[int, int]]] = []
        self.said: list[str] = []
        self._dies, self._store = dies, FolderStore(folder)
        monkeypatch.setattr(poison.OwnProcess, "run", self._run)
        monkeypatch.setattr(poison, "discard", lambda *_: None)

    def _run(self, plan: Plan, new: bool = False) -> signal.Signals | None:
        read = read_by(plan)
        assert new or len(read) != 1 or not self.runs  # what has been held before is no fault of a record's
        self.runs.append(read)
        return signal.SIGSEGV if self._dies(read) else None

    def __call__(self, *ranges: PlannedRange) -> Plan:
        made = test_graph.plan().model_copy(update={"ranges": ranges})
        return run_carefully(made, self._store, self.said.append)


@pytest.mark.parametrize(
    "evil", [{(0, 7)}, {(0, 0)}, {(1, 99)}, {(0, 3), (0, 4)}, {(0, 9), (1, 50)}, {(1, n) for n in range(50, 58)}]
)
def test_each_record_that_kills_is_found_and_no_other(
    evil: set[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = Careful(tmp_path, monkeypatch, lambda read: bool(read & evil))
    done = careful(planned(0, 0, 10), planned(1, 50, 100))
    assert {(int(key[-1]), offset) for key, offsets in done.poison.items() for offset in offsets} == evil
    assert read_by(done) == ({(0, n) for n in range(10)} | {(1, n) for n in range(50, 100)}) - evil
    assert careful.runs[-1] == read_by(done)
    for one in evil:
        assert careful.runs.count({one}) == 2
    assert len(careful.said) == 1 + len(evil)


def test_what_dies_alone_only_once_is_no_poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the run go on as if nothing had been: it is made smaller."""
    deaths = iter([True] * 5)  # of the whole, a half, a quarter, a pair and the one; the same again is alive
    careful = Careful(tmp_path, monkeypatch, lambda read: (0, 0) in read and next(deaths, False))
    with pytest.raises(PlanTooLarge, match="needs too much memory"):
        careful(planned(0, 0, 16))
    assert careful.runs[-3:-1] != [] and not any("R_POISON" in text for text in careful.said)


def test_a_plan_that_dies_of_its_size_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    careful = Careful(tmp_path, monkeypatch, lambda read: len(read) > 8)
    with pytest.raises(PlanTooLarge):
        careful(planned(0, 0, 16))


def test_a_machine_on_which_everything_dies_is_not_laid_on_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunnerFailed, match="it is this machine"):
        Careful(tmp_path, monkeypatch, lambda read: True)(planned(0, 0, 4))


def test_a_plan_that_lives_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    careful = Careful(tmp_path, monkeypatch, lambda read: False)
    assert careful(planned(0, 0, 4)).poison == {} and len(careful.runs) == 1


def test_halves_have_as_many_records_and_all_of_them() -> None:
    ranges = (planned(0, 0, 3), planned(1, 5, 6), planned(2, 0, 900, (4, 8, 15, 16, 23)))
    first, second = halves(ranges)
    assert (records_in(first), records_in(second)) == (4, 5)
    both = [test_graph.plan().model_copy(update={"ranges": half}) for half in (first, second)]
    assert read_by(both[0]) | read_by(both[1]) == read_by(test_graph.plan().model_copy(update={"ranges": ranges}))
    assert not read_by(both[0]) & read_by(both[1])
