from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.compaction import DEFAULT, MB, Job, Limits, choose, compact
from pipelines.delta import LiveFile
from pipelines.entries import Kind, LakeError, TableChange
from pipelines.files import DataFile, new_key
from pipelines.sweep import clear_removed
from pipelines.write import write_sorted
from schemas.families import FAMILIES
from tests.lakes import HOUR, JAN, Driver, buckets_in, keys_landed, rows

A = "study=a/observation"
OBSERVATION = FAMILIES["observation"]


def live(megabytes: float, age_us: int = 0, month: str = "2025-01", rows: int = 1000) -> LiveFile:
    path = new_key(A, month, 1, 1)
    file = DataFile(path=path, table=A, month=month, rows=rows, bytes=int(megabytes * MB))
    return LiveFile(file, JAN - age_us)


def chosen(files: list[LiveFile], limits: Limits = DEFAULT) -> list[list[float]]:
    return [sorted(round(file.bytes / MB, 2) for file in job.files) for job in choose({A: files}, JAN, limits)]


@pytest.mark.parametrize(
    ("count", "age_us", "month", "jobs"),
    [
        (49, 0, "2025-01", 0),
        (50, 0, "2025-01", 1),
        (2, HOUR - 1, "2025-01", 0),
        (2, HOUR, "2025-01", 1),
        (1, 48 * HOUR, "2025-01", 0),
        (2, 23 * HOUR, "2024-12", 0),
        (2, 24 * HOUR, "2024-12", 1),
        (50, 0, "2024-12", 1),
        (1, 48 * HOUR, "2024-12", 0),
    ],
)
def test_a_live_month_waits_for_fifty_files_or_an_hour_a_closed_one_for_a_day(
    count: int, age_us: int, month: str, jobs: int
) -> None:
    assert len(choose({A: [live(0.1, age_us, month) for _ in range(count)]}, JAN)) == jobs


def test_months_and_tables_are_compacted_apart_and_no_file_twice() -> None:
    files = [live(0.1, HOUR, month) for month in ("2025-01", "2025-01", "2024-12", "2024-12")]
    jobs = choose({A: files, "study=b/observation": files[:2]}, JAN + 24 * HOUR)
    assert [(job.table[6], job.month, len(job.files)) for job in jobs] == [
        ("a", "2024-12", 2),
        ("a", "2025-01", 2),
        ("b", "2025-01", 2),
    ]
    paths = [file.path for job in jobs if job.table == A for file in job.files]
    assert len(paths) == len(set(paths))


def test_a_large_file_is_not_rewritten_for_a_few_rows() -> None:
    day = 24 * HOUR
    assert chosen([live(100, day), live(0.1, day), live(0.1, day)]) == [[0.1, 0.1]]
    assert chosen([live(100, day), live(0.1, day)]) == []
    assert chosen([live(60, day), live(30, day), live(20, day), live(10, day), live(1, day)]) == []
    assert chosen([live(4, day), live(2, day), live(0.5, day), live(0.5, day)]) == [[0.5, 0.5, 2, 4]]


def test_finished_files_stay_and_no_job_is_larger_than_a_file_may_be() -> None:
    day = 24 * HOUR
    assert chosen([live(128, day), live(130, day), live(200, day)]) == []
    total = [sum(sizes) for sizes in chosen([live(1, day) for _ in range(600)], Limits(most=64 * MB))]
    assert total == [64]
    jobs = choose({A: [live(1, day, rows=400_000) for _ in range(30)]}, JAN)
    assert [job.rows for job in jobs] == [4_800_000]


def test_rows_are_rewritten_a_few_times_at_most() -> None:
    """Half a day of files of 50 kB every ten seconds, compacted as the driver does: bytes written for each byte."""
    files: list[LiveFile] = []
    rewritten = 0.0
    for step in range(4_320):
        files.append(live(0.05, -step * 10_000_000))
        for job in choose({A: files}, JAN + step * 10_000_000) if step % 10 == 0 else []:
            gone = {file.path for file in job.files}
            size = sum(file.bytes for file in job.files) / MB
            files = [one for one in files if one.file.path not in gone] + [live(size, -step * 10_000_000)]
            rewritten += size
    assert rewritten / (4_320 * 0.05) < 8
    assert len(files) < 80


def people(count: int, first: int, seed: int) -> pa.Table:
    """Rows of several people and metrics in the family's order, keys from `first`."""
    random = np.random.default_rng(seed)
    who = random.integers(0, 20, count)
    columns = {
        "pbucket": (who % 5).tolist(),
        "pseudonym": [f"person-{w}" for w in who],
        "metric": [f"metric-{m}" for m in random.integers(0, 3, count)],
        "source": [f"source-{s}" for s in random.integers(0, 2, count)],
        "value": random.normal(size=count).tolist(),
        "record64": [int(r) if r % 2 else None for r in range(count)],
    }
    return sorted_by_arrow(rows(OBSERVATION, count, first, **columns))


def sorted_by_arrow(table: pa.Table) -> pa.Table:
    order = pc.sort_indices(table, [(name, "ascending") for name in OBSERVATION.sort_key])
    return table.take(order)


def compact_all(driver: Driver) -> TableChange:
    job = Job(A, "2025-01", tuple(driver.tables.live_files(A)))
    return compact(job, OBSERVATION, driver.store, driver.ledger.next_n, driver.ledger.epoch, write_sorted)


def land(driver: Driver, content: pa.Table) -> None:
    driver.tables.append_and_apply(driver.entry([driver.file("a", content)]))


def test_compaction_changes_the_files_and_not_one_row(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    parts = [people(200, 1000 * i, i) for i in range(4)]
    for part in parts:
        land(driver, part)
    change = compact_all(driver)
    entry = driver.ledger.draft(Kind.COMPACT, JAN, cause={}, tables={A: change})
    driver.tables.append_and_apply(entry)
    (file,) = driver.tables.live_files(A)
    with driver.store.open_file(file.path) as source:
        landed = pq.ParquetFile(source).read().replace_schema_metadata(None)
    assert landed.schema.equals(OBSERVATION.schema)
    assert landed.select(OBSERVATION.sort_key) == sorted_by_arrow(landed).select(OBSERVATION.sort_key)
    assert landed.sort_by("key64") == pa.concat_tables(parts).sort_by("key64")
    assert file == change.add[0]
    assert file.rows == 800
    assert buckets_in(driver.store, A) == {file.path: (0, 4)}
    log = (tmp_path / A / "_delta_log/00000000000000000004.json").read_text()
    assert log.count('"dataChange":false') == 5
    assert '"dataChange":true' not in log
    before = keys_landed(driver.store, A)
    clear_removed(driver.store, driver.ledger, driver.tables.standing, JAN + 2 * HOUR)
    assert keys_landed(driver.store, A) == before
    assert [key for key in driver.store.list("study=") if key.endswith(".parquet")] == [file.path]


def test_compaction_that_loses_a_row_is_not_committed(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    land(driver, people(100, 0, 1))
    land(driver, people(100, 1000, 2))
    job = Job(A, "2025-01", tuple(driver.tables.live_files(A)))

    def losing(table: pa.Table, family: object, path: Path) -> None:
        pq.write_table(table.slice(1), path)

    with pytest.raises(LakeError, match="read 200 rows of 200 and wrote 199"):
        compact(job, OBSERVATION, driver.store, 4, 1, losing)
    fewer = (job.files[0].model_copy(update={"rows": 99}), job.files[1])
    with pytest.raises(LakeError, match="read 200 rows of 199 and wrote 200"):
        compact(job._replace(files=fewer), OBSERVATION, driver.store, 4, 1, write_sorted)
