"""Which tests go to workers, and which stay together."""

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.database import Database
from tests import conftest
from tests.conftest import ROOT


def workers(*asked: str) -> Any:
    config: Any = SimpleNamespace(args=[*asked])
    return conftest.pytest_xdist_auto_num_workers(config)


@pytest.mark.parametrize(
    "asked", [["tests"], ["tests/"], ["."], [str(ROOT / "tests")], ["tests/test_rows.py", "tests"]]
)
def test_a_folder_of_tests_goes_to_as_many_workers_as_there_are_processors(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert workers(*asked) is None


@pytest.mark.parametrize(
    "asked",
    [
        ["tests/test_rows.py"],
        ["tests/test_rows.py", "tests/test_zones.py::test_anything"],
        ["tests/integration"],
        ["tests/integration/", "tests/test_rows.py"],
        ["tests/integration/test_law.py"],
        [str(ROOT / "tests/integration")],
    ],
)
def test_a_few_files_and_real_servers_go_to_none(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert workers(*asked) == 0


def test_a_file_stays_together_and_so_do_all_that_share_a_broker() -> None:
    part = conftest._FewWorkersForServers.__new__(conftest._FewWorkersForServers)._split_scope
    assert part("tests/test_rows.py::test_a[x::y]") == part("tests/test_rows.py::test_b") == "tests/test_rows.py"
    assert part("tests/integration/test_law.py::test_a") == part("tests/integration/test_replay.py::test_b")
    assert part("tests/integration/test_s3.py::test_a") == part("tests/integration/test_secure.py::test_b")
    assert part("tests/integration/test_s3.py::test_a") != part("tests/integration/test_law.py::test_a")
    named = {path.stem for path in (ROOT / conftest.REAL).glob("test_*.py")}
    assert named >= conftest.WITH_SERVERS_OF_THEIR_OWN
    assert part("tests/test_integration.py::test_a") != part("tests/integration/test_law.py::test_a")


def test_real_servers_come_last_and_all_else_keeps_its_order() -> None:
    names = [
        "tests/integration/test_a.py::b",
        "tests/test_z.py::a",
        "tests/integration/test_a.py::a",
        "tests/test_a.py::a",
    ]
    items: list[Any] = [SimpleNamespace(nodeid=name) for name in names]
    conftest.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == [names[1], names[3], names[0], names[2]]


def test_the_vault_waits_for_no_disk_but_where_servers_are_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(name: str) -> int:
        with closing(Database(tmp_path / name, "CREATE TABLE a (b)", "FULL")) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            return int(sqlite3.Connection.execute(database, "PRAGMA synchronous").fetchone()[0])

    assert waits("unit") == 0
    monkeypatch.setattr("os.fsync", conftest.fsync)
    assert waits("real") == 2
