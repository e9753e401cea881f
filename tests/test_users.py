"""Users of the desk: what each role may, passwords, and a file whose faults are named without repeating any of it."""

import stat
from pathlib import Path
from typing import get_args

import pytest
from argon2 import PasswordHasher

from pipelines.judged_results import BY
from pipelines.take_back import THE_JOB as WELLSPRING
from quality import users as users_module
from quality.users import (
    THE_JOB,
    Action,
    Role,
    User,
    Users,
    UsersError,
    UsersFile,
    checked_user,
    hashed,
    load_users,
    save_users,
)
from tests.stewards import PASSWORD, cheap_passwords

pytestmark = pytest.mark.usefixtures("_cheap_passwords")

VALUE = "q9-what-was-written"


@pytest.fixture
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that costs next to nothing."""
    cheap_passwords(monkeypatch)


def written(folder: Path, text: str) -> Path:
    path = folder / "users.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (Role.VIEWER, {"view", "export"}),
        (Role.STEWARD, {"view", "export", "rows", "decide", "propose", "sign-off"}),
        (Role.APPROVER, set(get_args(Action))),
    ],
)
def test_a_role_is_a_study_s_and_says_what_may_be_done(role: Role, may: set[Action]) -> None:
    user = User(name="ada", studies={"sleep": role})
    assert {action for action in get_args(Action) if user.may(action, "sleep")} == may
    assert not any(user.may(action, "cycle") for action in get_args(Action))


def test_a_file_comes_back_as_it_was_saved_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    ada = User(name="ada", password=hashed(PASSWORD), studies={"sleep": Role.STEWARD})
    bob = User(name="bob", oidc="subject-1", studies={"cycle": Role.VIEWER})
    save_users(path, [bob, ada])
    assert list(load_users(path).by_name.values()) == [ada, bob]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text() and list(tmp_path.iterdir()) == [path]


def test_only_the_right_password_of_a_known_name_signs_in() -> None:
    ada = User(name="ada", password=hashed(PASSWORD))
    users = Users([ada, User(name="bob", oidc="subject-1")])
    assert users.sign_in("ada", PASSWORD) == ada
    assert users.sign_in("ada", PASSWORD + ".") is None and users.sign_in("ada", "") is None
    assert users.sign_in("bob", "") is None and users.sign_in("eve", PASSWORD) is None
    assert users.sign_in("ada", PASSWORD * 1000) is None
    assert users.of_subject("subject-1") == users.get("bob") and users.of_subject("subject-2") is None


def test_a_hash_is_compared_for_an_unknown_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users([User(name="ada", password=hashed(PASSWORD)), User(name="bob", oidc="subject-1")])
    compared = []
    fits = users_module._fits
    monkeypatch.setattr(users_module, "_fits", lambda known, password: compared.append(known) or fits(known, password))
    for name in ("ada", "bob", "eve"):
        users.sign_in(name, "wrong password")
    assert len(compared) == 3 and len({known.rsplit("$", 2)[0] for known in compared}) == 1


def test_a_hash_costs_an_attacker_something() -> None:
    assert PasswordHasher().time_cost >= 2 and PasswordHasher().memory_cost >= 19 * 1024


def test_who_is_removed_is_out_at_once(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    save_users(path, [User(name="ada")])
    file = UsersFile(path)
    assert file.now().get("ada") and file.now() is file.now()
    save_users(path, [])
    assert file.now().get("ada") is None
    path.unlink()
    with pytest.raises(UsersError):
        file.now()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"users: [{{name: '{VALUE.upper()}'}}]", "users.0.name"),
        (f"users: [{{name: ada, password: {VALUE}}}]", "users.0.password: expected an argon2id hash"),
        (f"users: [{{name: ada, studies: {{{VALUE.upper()}: steward}}}}]", "users.0.studies"),
        (f"users: [{{name: ada}}, {{name: bob, studies: {{sleep: {VALUE}}}}}]", "users.1.studies: Input should be 'vi"),
        (f"users: [{{name: ada, {VALUE}: 1}}]", "users.0: "),
        (f"{VALUE}: []", "users: "),
        ("users: [{name: ada}, {name: ada}]", "users.1.name: it is given twice"),
        ("users: [{name: ada}, {name: wellspring}]", "users.1.name: the quality job decides under this name"),
        (f"users: [{{name: ada, oidc: {VALUE}}}, {{name: bob, oidc: {VALUE}}}]", "users: oidc"),
        (f"users: [{{name: {VALUE}", "is not YAML at line"),
        (VALUE, "users"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(UsersError) as raised:
        load_users(written(tmp_path, text))
    assert where in str(raised.value) and VALUE not in repr(raised.value).lower()


def test_a_missing_file_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsersError, match="steward users add"):
        load_users(tmp_path / "users.yaml")


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_a_password_has_a_length(password: str) -> None:
    with pytest.raises(UsersError, match="12 to 1000 characters"):
        hashed(password)


def test_nobody_has_the_name_under_which_the_job_decides() -> None:
    assert THE_JOB == WELLSPRING == BY
    with pytest.raises(UsersError, match="^name: the quality job decides under this name"):
        checked_user({"name": THE_JOB})


def test_a_user_shows_no_hash_and_no_subject() -> None:
    user = checked_user({"name": "ada", "password": hashed(PASSWORD), "oidc": VALUE})
    assert "argon2" not in repr(user) and VALUE not in repr(user)
    with pytest.raises(UsersError, match="^name: "):
        checked_user({"name": "../up"})
