"""Duplicates and revisions, against a set and a dictionary that remember everything."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import duplicates as module
from pipelines.duplicates import FileKeys, KeyedFile, Seen, duplicates, revisions
from pipelines.key_sets import Asked, Keys
from pipelines.store import FolderStore

KEYS = st.integers(-4, 12)  # few enough that they meet, of both signs
RECORDS = st.none() | st.integers(-2, 4)


def starts(keys: list[int]) -> np.ndarray:
    """The start of a reading is part of its key, so equal keys have equal starts."""
    return np.array(keys, dtype=np.int64) * 10


class Lake:
    """Files of keys and records, as a table holds them."""

    def __init__(self, root: Path) -> None:
        self.store = FolderStore(root)
        self.files: list[KeyedFile] = []
        self.reads = 0

    def add(self, keys: list[int], records: list[int | None] | None = None, numbers: list[int] | None = None) -> None:
        path = f"{len(self.files)}.parquet"
        columns = {
            "key64": pa.array(keys, pa.int64()),
            "record64": pa.array(records or [None] * len(keys), pa.int64()),
            "revision": pa.array(numbers or [0] * len(keys), pa.int16()),
        }
        pq.write_table(pa.table(columns), self.store.root / path)
        span = starts(keys)
        self.files.append(KeyedFile(path, int(span.min()), int(span.max())))


def held(cache: FileKeys, path: str, wanted: np.ndarray, portion: int = 1) -> np.ndarray:
    """Which of the wanted are in the file, asked for with a portion of so many rows."""
    asked = Asked(wanted)
    cache.answer(path, asked, portion)
    return asked.found()


def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake"))


@given(
    landed=st.lists(st.lists(KEYS, min_size=1, max_size=8), max_size=3),
    portions=st.lists(st.lists(KEYS, min_size=1, max_size=12), min_size=1, max_size=4),
    small=st.sampled_from([0, 1, 1000]),
)
def test_each_key_passes_once_wherever_it_was_before(
    tmp_path_factory: pytest.TempPathFactory, landed: list[list[int]], portions: list[list[int]], small: int
) -> None:
    """With `small` 0 the keys of every file are held, with 1000 those of none."""
    table = lake(tmp_path_factory)
    for keys in landed:
        table.add(keys)
    known = {key for keys in landed for key in keys}
    seen, cache = Seen(), FileKeys(table.store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SMALL", small)
        for keys in portions:
            expected = []
            for key in keys:
                expected.append(key in known)
                known.add(key)
            found = duplicates(np.array(keys, dtype=np.int64), starts(keys), seen, table.files, cache)
            assert found.tolist() == expected


def test_the_first_of_equal_rows_is_the_one_that_stays(tmp_path: Path) -> None:
    keys = np.array([7, 3, 7, 7, 3], dtype=np.int64)
    found = duplicates(keys, keys, Seen(), [], FileKeys(FolderStore(tmp_path)))
    assert found.tolist() == [False, False, True, True, True]


def test_a_file_whose_starts_lie_elsewhere_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Lake(tmp_path)
    table.add([1, 2, 3])
    opened: list[str] = []

    def answer(self: FileKeys, path: str, asked: Asked, portion: int) -> None:
        opened.append(path)

    monkeypatch.setattr(FileKeys, "answer", answer)
    cache = FileKeys(table.store)
    for around, expected in (([9], 0), ([10], 1), ([30], 2), ([31], 2), ([31, 9], 2), ([9, 31, 20], 3)):
        duplicates(np.arange(len(around)), np.array(around), Seen(), table.files, cache)
        assert len(opened) == expected, "the file's starts are 10 to 30, both in it"


def test_a_file_is_read_once_and_the_least_used_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, reads = Lake(tmp_path), list[int]()
    for first in (0, 100, 200):
        table.add(list(range(first, first + 100)))
    real = module._read_keys

    def read(file: pq.ParquetFile) -> Keys:
        reads.append(1)
        return real(file)

    monkeypatch.setattr(module, "_read_keys", read)
    cache = FileKeys(table.store, limit_bytes=2 * 100 * 8)
    for path, expected in (("0", 1), ("0", 1), ("1", 2), ("0", 2), ("2", 3), ("0", 3), ("1", 4)):
        assert held(cache, f"{path}.parquet", np.arange(int(path) * 100 - 50, int(path) * 100 + 150)).sum() == 100
        assert len(reads) == expected, path


def test_files_that_no_longer_live_are_forgotten_and_other_tables_stay(tmp_path: Path) -> None:
    mine, other, keys = "study=a/observation", "study=b/observation", np.arange(100)
    cache = FileKeys(FolderStore(tmp_path))
    paths = [f"{table}/month=2025-0{month}/1.parquet" for table in (mine, other) for month in (1, 2)]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True)
        columns = {"key64": keys, "record64": pa.nulls(100, pa.int64()), "revision": pa.array([0] * 100, pa.int16())}
        pq.write_table(pa.table(columns), tmp_path / path)
        assert held(cache, path, keys).all()
        cache.numbers(path)
    held_of_one = cache._bytes // 4
    cache.keep_only(mine, paths[1:2])
    assert cache._bytes == 3 * held_of_one and {path for _, path in cache._held} == set(paths[1:])
    cache.keep_only(mine, [])
    assert cache._bytes == 2 * held_of_one and {path for _, path in cache._held} == set(paths[2:])
    assert held(cache, paths[0], keys).all(), "forgotten or not, the answer is the same"


def test_the_keys_of_a_plan_leave_less_room_for_those_of_files(tmp_path: Path) -> None:
    table = Lake(tmp_path)
    cache, keys = FileKeys(table.store, limit_bytes=10 * 100 * 8), np.arange(100)
    for number in range(10):
        table.add(list(range(100)))
        held(cache, f"{number}.parquet", keys)
    bytes_held = []
    for plan_bytes in (0, 3 * 100 * 8, 10**9, 0):
        cache.make_room(plan_bytes)
        for number in range(10):
            assert held(cache, f"{number}.parquet", keys).all(), "forgotten or not, the answer is the same"
        bytes_held.append(cache._bytes // 800)
    assert bytes_held == [10, 7, 1, 10]


def test_beside_a_large_portion_a_file_is_read_a_stretch_at_a_time_and_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, looked_at, look_through = Lake(tmp_path), list[int](), Asked.look_through
    table.add(list(range(100)))

    def noted(self: Asked, keys: np.ndarray) -> None:
        looked_at.append(len(keys))
        look_through(self, keys)

    monkeypatch.setattr(Asked, "look_through", noted)
    monkeypatch.setattr(module, "STRETCH", 30)
    cache, wanted, expected = FileKeys(table.store), np.arange(-5, 105), [False] * 5 + [True] * 100 + [False] * 5
    assert held(cache, "0.parquet", wanted, portion=4).tolist() == expected
    assert looked_at == [30, 30, 30, 10] and not cache._held
    assert held(cache, "0.parquet", wanted, portion=3).tolist() == expected
    assert looked_at[4:] == [100] and cache._bytes == 800, "it is small beside the file"
    monkeypatch.setattr(table.store, "open_file", lambda path: pytest.fail("what is held was read again"))
    assert held(cache, "0.parquet", wanted, portion=1000).tolist() == expected


@given(
    landed=st.lists(st.lists(RECORDS, min_size=1, max_size=6), max_size=3),
    portions=st.lists(st.lists(RECORDS, min_size=1, max_size=8), min_size=1, max_size=4),
)
def test_a_record_that_comes_again_counts_up_across_files_and_portions(
    tmp_path_factory: pytest.TempPathFactory, landed: list[list[int | None]], portions: list[list[int | None]]
) -> None:
    table = lake(tmp_path_factory)
    newest: dict[int, int] = {}

    def count(records: list[int | None]) -> list[int]:
        numbers = []
        for record in records:
            if record is not None:
                newest[record] = newest.get(record, -1) + 1
            numbers.append(0 if record is None else newest[record])
        return numbers

    for number, records in enumerate(landed):
        table.add([number * 10 + i for i in range(len(records))], records, count(records))
    seen, cache = Seen(), FileKeys(table.store)
    for records in portions:
        has_record = np.array([record is not None for record in records])
        numbers = np.array([record or 0 for record in records], dtype=np.int64)
        expected = count(records)
        assert revisions(numbers, has_record, seen, table.files, cache).tolist() == expected


def test_files_without_records_are_told_by_their_statistics_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Lake(tmp_path)
    table.add([1, 2])
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("rows were read"))
    record, revision = FileKeys(table.store).records("0.parquet")
    assert len(record) == len(revision) == 0
