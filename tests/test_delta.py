"""A table that is kept open shows what one that is opened anew would show, whatever has become of it meanwhile."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pipelines import delta
from pipelines.store import FolderStore
from tests.lakes import Driver, noting

A = "study=a/observation"


def seen(handle: DeltaTable | None) -> object:
    """Version, last entry and files."""
    if handle is None:
        return None
    files = sorted(delta.live_files(handle, A), key=lambda live: live.file.path)
    return handle.version(), delta.entry_of(handle), files


def assert_current(store: FolderStore) -> None:
    assert seen(delta.current_table(store, A)) == seen(delta.open_table(store, A))


@pytest.fixture
def _soon_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle is given up after a few commits."""
    monkeypatch.setattr(delta, "KEPT_COMMITS", 4)


@pytest.mark.usefixtures("_soon_anew")
def test_it_follows_every_commit(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    assert_current(driver.store)
    for _ in range(3 * delta.KEPT_COMMITS):
        driver.land("a")
        assert_current(driver.store)


@pytest.mark.usefixtures("_soon_anew")
def test_it_is_opened_anew_only_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, opened = Driver(tmp_path), []
    driver.land("a")
    monkeypatch.setattr(delta, "open_table", noting(opened, delta.open_table, 1))
    for _ in range(3 * delta.KEPT_COMMITS):
        driver.land("a")
        delta.current_table(driver.store, A)
    assert 3 <= len(opened) <= 4


def test_commits_of_others_and_a_log_that_was_cut_short_are_seen(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    delta.current_table(driver.store, A)
    other = Driver(tmp_path)
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lambda: [other.land("a") for _ in range(3)]).result()
    DeltaTable(driver.store.uri(A)).create_checkpoint()
    for version in range(3):
        driver.store.delete(delta.log_key(A, version))
    assert_current(driver.store)


def test_an_older_copy_of_the_table_is_seen(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "lake")
    driver.land("a")
    shutil.copytree(driver.store.root / A, tmp_path / "copy")
    driver.land("a")
    delta.current_table(driver.store, A)
    shutil.rmtree(driver.store.root / A)
    assert delta.current_table(driver.store, A) is None
    delta.current_table(driver.store, A)
    shutil.copytree(tmp_path / "copy", driver.store.root / A)
    assert_current(driver.store)


def test_another_table_of_the_same_length_is_seen(tmp_path: Path) -> None:
    driver, other = Driver(tmp_path / "lake"), Driver(tmp_path / "other")
    for one in (driver, other):
        one.land("a")
    delta.current_table(driver.store, A)
    shutil.rmtree(driver.store.root / A)
    shutil.copytree(other.store.root / A, driver.store.root / A)
    assert_current(driver.store)
    assert seen(delta.current_table(driver.store, A)) == seen(delta.open_table(other.store, A))


def test_a_handle_stays_where_it_was_checked_whatever_another_thread_looks_at(tmp_path: Path) -> None:
    """Else a commit of a driver that took over would pass unseen between the check of a handle and the commit on it."""
    driver = Driver(tmp_path)
    driver.land("a")
    handle = delta.current_table(driver.store, A)
    before = seen(handle)
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(driver.land, "a").result()
        assert elsewhere.submit(lambda: seen(delta.current_table(driver.store, A))).result() != before
    assert seen(handle) == before


def test_few_tables_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "KEPT_TABLES", 2)
    monkeypatch.setattr(delta._OPEN, "tables", {})
    driver = Driver(tmp_path)
    driver.land("a", "b", "c")
    for study in ("a", "b", "c"):
        delta.current_table(driver.store, f"study={study}/observation")
    assert [Path(uri).parent.name for uri in delta._OPEN.tables] == ["study=b", "study=c"]


def test_a_handle_is_kept_by_the_credentials_that_it_was_opened_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are renewed by another thread, in the midst of it: what is kept must not seem to have the new ones."""
    driver, opened = Driver(tmp_path), []
    driver.land("a")
    told = iter(["old", *["new"] * 9])

    def noted(uri: str, storage_options: dict[str, str]) -> DeltaTable:
        opened.append(storage_options["AWS_SESSION_TOKEN"])
        return DeltaTable(uri)

    monkeypatch.setattr(delta, "DeltaTable", noted)
    monkeypatch.setattr(FolderStore, "delta_options", lambda _: {"AWS_SESSION_TOKEN": next(told)})
    for _ in range(3):
        assert delta.current_table(driver.store, A) is not None
    assert opened == ["old", "new"]
