from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.entries import Kind, TableChange
from pipelines.views import QueryRefused, sql, tables, view_name
from schemas.families import FAMILIES
from tests.lakes import JAN, Driver, rows

OBSERVATION = FAMILIES["observation"]


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path / "it's a lake")


def land(driver: Driver, content: pa.Table, study: str = "heart-a", month: str = "2025-01") -> None:
    driver.tables.append_and_apply(driver.entry([driver.file(study, content, month=month)]))


def one(driver: Driver, query: str) -> list[object]:
    (row,) = sql(driver.store, query).to_pylist()
    return list(row.values())


def test_a_view_shows_a_study_s_rows_with_their_month(driver: Driver) -> None:
    land(driver, rows(OBSERVATION, 3))
    land(driver, rows(OBSERVATION, 2, 100), month="2024-12")
    land(driver, rows(OBSERVATION, 9), study="b")
    assert view_name("study=heart-a/observation") == "heart_a_observation"
    assert one(driver, "SELECT count(*), min(month), max(month) FROM heart_a_observation") == [5, "2024-12", "2025-01"]
    assert one(driver, "SELECT count(*) FROM Heart_A_Observation JOIN b_observation USING (key64)") == [3]
    found = sql(driver.store, "FROM heart_a_observation_all LIMIT 0")
    assert found.schema.names == [*OBSERVATION.schema.names, "month"]


def test_a_block_shows_its_values_whether_they_lie_as_numbers_or_as_integers(driver: Driver) -> None:
    blocks = rows(
        FAMILIES["waveform"],
        3,
        values=[[0.25, -1.5], None, None],
        counts=[None, [3312, -5, 0], [-40, 100]],
        scale=[None, 0.01, 1.8],
        zero=[None, 0.0, 32.0],
    )
    driver.tables.append_and_apply(driver.entry([driver.file("heart-a", blocks, "waveform")]))
    found = sql(driver.store, 'SELECT "values" FROM heart_a_waveform ORDER BY key64').column("values").to_pylist()
    assert found == [[0.25, -1.5], [3312 * 0.01, -5 * 0.01, 0.0], [-40 * 1.8 + 32.0, 100 * 1.8 + 32.0]]
    assert not {"counts", "scale", "zero"} & {*sql(driver.store, "FROM heart_a_waveform LIMIT 0").schema.names}


def test_times_come_as_utc(driver: Driver) -> None:
    land(driver, rows(OBSERVATION, 1))
    assert one(driver, "SELECT start FROM heart_a_observation") == [datetime.fromtimestamp(JAN // 1_000_000, UTC)]
    assert one(driver, "SELECT CAST(start AS VARCHAR) FROM heart_a_observation") == ["2025-01-15 00:00:00+00"]


def test_the_current_view_shows_the_last_revision_of_a_record(driver: Driver) -> None:
    land(driver, rows(OBSERVATION, 3, record64=[1, None, 2], value=[1.0, 2.0, 3.0]))
    land(driver, rows(OBSERVATION, 2, 10, record64=[1, None], revision=[1, 0], value=[10.0, 20.0]))
    land(driver, rows(OBSERVATION, 1, 20, record64=[1], revision=[2], value=[100.0], pseudonym=["q"]))
    query = "SELECT list(value ORDER BY value) FROM heart_a_observation"
    assert one(driver, query) == [[2.0, 3.0, 10.0, 20.0, 100.0]]
    assert one(driver, query + "_all") == [[1.0, 2.0, 3.0, 10.0, 20.0, 100.0]]


def test_a_table_whose_files_are_all_gone_is_an_empty_view(driver: Driver) -> None:
    land(driver, rows(OBSERVATION, 3))
    table = "study=heart-a/observation"
    change = TableChange(remove=tuple(file.path for file in driver.tables.live_files(table)))
    driver.tables.append_and_apply(driver.ledger.draft(Kind.DISCARD, JAN, cause={}, tables={table: change}))
    assert one(driver, "SELECT count(*), count(month) FROM heart_a_observation") == [0, 0]


def test_show_tables_lists_every_view(driver: Driver) -> None:
    land(driver, rows(OBSERVATION, 1))
    land(driver, rows(OBSERVATION, 1), study="b")
    names = {"b_observation", "b_observation_all", "heart_a_observation", "heart_a_observation_all"}
    assert set(sql(driver.store, "SHOW TABLES")["name"].to_pylist()) == names


def test_only_the_tables_that_a_query_names_are_opened(driver: Driver) -> None:
    land(driver, rows(OBSERVATION, 1))
    land(driver, rows(OBSERVATION, 1), study="b")
    (driver.store.root / "study=b/observation/_delta_log/00000000000000000000.json").write_bytes(b"{")
    assert one(driver, "SELECT count(*) FROM heart_a_observation") == [1]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    driver = Driver(tmp_path_factory.mktemp("lake"))
    land(driver, rows(OBSERVATION, 1))
    land(driver, rows(OBSERVATION, 1), study="b")
    return driver


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_parquet('{root}/study=b/*/*/*.parquet')",
        "SELECT * FROM glob('{root}/*')",
        "SELECT * FROM '{root}/_control/standing.json'",
        "COPY (SELECT 1) TO '{root}/out.csv'",
        "COPY (SELECT 1 AS pbucket FROM heart_a_observation) TO '{file}'",
        "ATTACH '{root}/new.db'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO heart_a_observation SELECT * FROM heart_a_observation",
        "DROP VIEW heart_a_observation",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "EXPORT DATABASE '{root}/out'",
        "SELECT 1; COPY (SELECT 1) TO '{root}/out.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "",
    ],
)
def test_a_query_reads_its_views_and_does_nothing_else(guarded: Driver, query: str) -> None:
    root = str(guarded.store.root)
    file = guarded.tables.live_files("study=heart-a/observation")[0]
    before = {key: guarded.store.size(key) for key in guarded.store.list("")}
    asked = query.replace("{root}", root).replace("{file}", f"{root}/{file.path}")
    with pytest.raises(QueryRefused):
        sql(guarded.store, asked + " -- heart_a_observation")
    assert {key: guarded.store.size(key) for key in guarded.store.list("")} == before


def test_an_error_about_a_row_does_not_show_it(driver: Driver) -> None:
    land(driver, rows(OBSERVATION, 1, pseudonym=["PLANTED"]))
    with pytest.raises(QueryRefused) as refused:
        sql(driver.store, "SELECT CAST(pseudonym AS INTEGER) FROM heart_a_observation")
    assert "PLANTED" not in str(refused.value)


def test_tables_tells_what_each_holds(driver: Driver) -> None:
    assert tables(driver.store) == []
    land(driver, rows(OBSERVATION, 3))
    land(driver, rows(OBSERVATION, 2, 10))
    (info,) = tables(driver.store)
    assert (info.table, info.view) == ("study=heart-a/observation", "heart_a_observation")
    assert (info.rows, info.files, info.version, info.entry) == (5, 2, 1, 3)
    assert info.bytes == sum(file.bytes for file in driver.tables.live_files(info.table))
