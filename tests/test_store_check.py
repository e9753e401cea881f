"""A server that may lose what it acknowledges is refused before anything is written that has to last."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.object_race import StorageUnfit
from pipelines.keys import _name
from pipelines.object_vault import SALT
from pipelines.places import store_of
from pipelines.store import Store
from pipelines.store_check import KEY, check_store
from tests.command import execute
from tests.lax_s3 import lax_server

Use = Callable[[dict[str, str]], Store]
LASTING = {
    "lake": ["_control/heartbeat.json", "_control/ledger/000000000001.json"],
    "vault": ["vault-id", SALT, _name("sleep"), _name("cycle")],
}
"""What lies in a place once a driver has started or keys were made."""


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Has the environment name a server; the store on it."""

    def named(environment: dict[str, str]) -> Store:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return store_of("s3://studies/lake")

    return named


def unheard(said: str) -> None:
    pytest.fail(said)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("ignores", "it takes no notice of If-None-Match"),
        ("unlocked", "it checks If-None-Match without a lock"),
        ("loses", "what it acknowledges is not what lies there"),
    ],
)
def test_a_server_that_may_lose_commits_is_refused_and_not_remembered(fault: str, words: str, use: Use) -> None:
    with lax_server(fault) as environment:
        store = use(environment)
        with pytest.raises(StorageUnfit) as refusal:
            check_store(store, unheard)
        assert words in str(refusal.value) and "use a server that" in str(refusal.value)
        assert store.get(KEY) is None


def test_one_after_the_other_the_unlocked_server_seems_sound(use: Use) -> None:
    with lax_server("unlocked") as environment:
        store = use(environment)
        store.put_new("a", b"1")
        with pytest.raises(Exception, match="a is there already"):
            store.put_new("a", b"2")


def test_a_sound_server_is_asked_once_and_again_when_it_is_another(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    raced: list[str] = []
    monkeypatch.setattr("connectors.object_race.race", lambda objects, prefix: raced.append(objects.where))
    with lax_server("sound") as environment:
        store = use(environment)
        for _ in range(2):
            check_store(store, unheard)
        remembered = store.get(KEY)
        assert len(raced) == 1 and remembered
        with lax_server("sound") as elsewhere:
            moved = use(elsewhere)
            moved.put(KEY, remembered)  # a copy of the lake, with all that it remembers
            check_store(moved, unheard)
    assert len(raced) == 2 and raced[0] != raced[1]


def test_a_damaged_memory_is_none(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    raced: list[str] = []
    monkeypatch.setattr("connectors.object_race.race", lambda objects, prefix: raced.append(prefix))
    with lax_server("sound") as environment:
        store = use(environment)
        store.put(KEY, b"{")
        check_store(store, unheard)
    assert raced == ["_control/probe/"]


def test_a_sound_server_passes_the_race(use: Use) -> None:
    with lax_server("sound") as environment:
        check_store(use(environment), unheard)


@pytest.mark.parametrize("fault", ["ignores", "unlocked"])
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("lake", "run --once"),
        ("vault", "run --once"),
        ("vault", "studies keys"),
        ("vault", "studies add cycle"),
    ],
)
def test_nothing_that_has_to_last_is_written_on_it(
    fault: str, place: str, words: str, use: Use, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither as lake nor as vault, by a driver or by whoever makes keys."""
    (tmp_path / "partners.yaml").write_text("partners: []\n")
    (tmp_path / "studies.yaml").write_text("studies: [{id: sleep}]\n")
    (tmp_path / "wellspring.yaml").write_text(f"{place}: s3://studies/{place}\n")
    with lax_server(fault) as environment:
        use(environment)
        done = execute([*words.split(), "--config", str(tmp_path / "wellspring.yaml")])
        assert done == 1 and "several writers create one object" in capsys.readouterr().err
        store = store_of(f"s3://studies/{place}")
        assert [name for name in LASTING[place] if store.get(name) is not None] == []


def test_a_folder_needs_no_check(tmp_path: Path) -> None:
    check_store(store_of(tmp_path), unheard)
    assert list(tmp_path.iterdir()) == []
