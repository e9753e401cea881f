"""wellspring steward: users of the desk, its secret, and what it refuses before it listens."""

import io
import json
import stat
from pathlib import Path

import pytest

from pipelines.commands.common import Refused
from pipelines.commands.steward import secret_of
from quality.users import Role, load_users
from tests.command import execute
from tests.stewards import PASSWORD, cheap_passwords


@pytest.fixture(autouse=True)
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings and two studies; a hash costs next to nothing, and passwords come from standard input."""
    monkeypatch.chdir(tmp_path)
    cheap_passwords(monkeypatch)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n" * 5))
    (tmp_path / "wellspring.yaml").write_text("steward: {users: etc/users.yaml}\n")
    for study in ("sleep", "cycle"):
        assert execute(["studies", "add", study]) == 0
    return tmp_path


def users(*words: str) -> int:
    return execute(["steward", "users", *words])


def test_a_user_is_added_listed_and_removed(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert users("add", "ada", "--study", "sleep=steward", "--study", "cycle=viewer") == 0
    assert users("add", "bob", "--oidc", "subject-1") == 0
    path = deployment / "etc" / "users.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and PASSWORD not in path.read_text()
    known = load_users(path)
    ada = known.sign_in("ada", PASSWORD)
    assert ada and ada.studies == {"sleep": Role.STEWARD, "cycle": Role.VIEWER}
    assert known.of_subject("subject-1") == known.get("bob")
    capsys.readouterr()
    assert users("list", "--json") == 0
    text = capsys.readouterr().out
    assert [json.loads(line) for line in text.splitlines()] == [
        {"name": "ada", "signs in by": "password", "studies": {"sleep": "steward", "cycle": "viewer"}},
        {"name": "bob", "signs in by": "identity provider", "studies": {}},
    ]
    assert "argon2" not in text and "subject-1" not in text
    assert users("remove", "ada") == 0 and load_users(path).get("ada") is None


def test_another_of_the_same_name_takes_their_place_only_where_that_is_meant(deployment: Path) -> None:
    assert users("add", "ada") == 0 and users("add", "ada") == 1
    assert users("add", "ada", "--replace", "--study", "sleep=approver") == 0
    ada = load_users(deployment / "etc" / "users.yaml").get("ada")
    assert ada and ada.studies == {"sleep": Role.APPROVER}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "Ada"), 1, "name: "),
        (("add", "ada", "--study", "sleep"), 2, "STUDY=ROLE"),
        (("add", "ada", "--study", "sleep=owner"), 2, "STUDY=ROLE"),
        (("add", "ada", "--study", "dream=viewer"), 1, "no study of that name"),
        (("remove", "ada"), 1, "there is no users file"),
        (("list",), 1, "steward users add"),
    ],
)
def test_what_cannot_be_is_said(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    assert users(*words) == code
    assert said in capsys.readouterr().err


def test_a_short_password_is_refused_and_not_repeated(
    deployment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("zebra\n"))
    assert users("add", "ada") == 1
    said = capsys.readouterr().err
    assert "12 to 1000 characters" in said and "zebra" not in said
    assert not (deployment / "etc" / "users.yaml").exists()


def test_one_subject_is_one_user_s(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert users("add", "ada", "--oidc", "subject-1") == 0 and users("add", "bob", "--oidc", "subject-1") == 1
    assert list(load_users(deployment / "etc" / "users.yaml").by_name) == ["ada"]
    assert "subject-1" not in capsys.readouterr().err


def test_the_desk_does_not_listen_to_the_world_nor_without_users(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["steward"]) == 1 and "steward users add" in capsys.readouterr().err
    assert users("add", "ada") == 0
    assert execute(["steward", "--host", "0.0.0.0"]) == 1
    assert "steward.url" in capsys.readouterr().err
    assert execute(["steward", "--host", "192.0.2.7"]) == 1


def test_the_secret_is_made_once_and_its_owner_s(tmp_path: Path) -> None:
    made = secret_of(tmp_path / "vault")
    assert len(made) == 32 and secret_of(tmp_path / "vault") == made
    path = tmp_path / "vault" / "steward-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and not list(path.parent.glob(".steward*"))
    path.write_bytes(b"short")
    with pytest.raises(Refused, match="damaged"):
        secret_of(tmp_path / "vault")
