"""Ended sessions in the vault: over for good, through restarts, and never so many that they fill it."""

import stat
from pathlib import Path
from typing import Any

import pytest

from pipelines import desk_sessions
from pipelines.desk_sessions import FILE, VaultSessions
from quality.web.app import desk_app
from quality.web.sessions import Session
from quality.web.settings import StewardSettings
from tests.steward_world import desk
from tests.stewards import Browser, Clock, as_, users


def session(id: str, since: float = 100.0, name: str = "ada") -> Session:
    return Session(id, name, "proof", since, since)


@pytest.fixture
def ended(tmp_path: Path) -> VaultSessions:
    return VaultSessions(tmp_path / "vault")


def rows(ended: VaultSessions) -> list[int]:
    with ended._open() as vault:
        counts = [vault.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("ended", "over")]
    vault.close()
    return counts


def test_whoever_has_signed_out_stays_out_through_a_restart(tmp_path: Path) -> None:
    world: Any = desk(days=1)

    def app() -> Any:
        return desk_app(world, users, StewardSettings(), b"secret", Clock(), ended=VaultSessions(tmp_path))

    ada, other = as_(app(), "ada"), as_(app(), "ada")
    stolen = ada.client.cookies["wellspring"]
    ada.get("/")
    assert ada.post("/sign-out").status_code == 303
    thief = Browser(app())
    thief.client.cookies.set("wellspring", stolen, domain="127.0.0.1", path="/")
    assert thief.get("/").status_code == 303
    assert other.get("/").status_code == 200
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_it_is_kept_until_the_session_would_have_ended(ended: VaultSessions) -> None:
    ended.end(session("a"), until=200, now=150)
    assert ended.is_ended(session("a")) and not ended.is_ended(session("b"))
    ended.end(session("b"), until=300, now=199)
    assert rows(ended) == [2, 0]
    ended.end(session("c"), until=300, now=200)
    assert rows(ended) == [2, 0]


def test_of_many_the_user_s_older_sessions_are_over_as_a_whole(
    ended: VaultSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_sessions, "MOST_OF_ONE", 3)
    for number in range(20):
        ended.end(session(f"s{number}", since=100.0 + number), until=1000, now=150)
    assert rows(ended) == [3, 1]
    assert all(ended.is_ended(session(f"s{number}", since=100.0 + number)) for number in range(20))
    assert ended.is_ended(session("not ended", since=110.0))
    assert not ended.is_ended(session("later", since=130.0))
    assert not ended.is_ended(session("of another", since=110.0, name="bob"))
    ended.end(session("last", since=1001), until=2000, now=1001)
    assert rows(ended) == [1, 0]


def test_visits_of_nobody_leave_nothing_there(tmp_path: Path) -> None:
    app = desk_app(desk(days=1), users, StewardSettings(), b"secret", Clock(), ended=VaultSessions(tmp_path))
    for _ in range(3):
        as_(app, "ada")
    assert not (tmp_path / FILE).exists() or rows(VaultSessions(tmp_path)) == [0, 0]
