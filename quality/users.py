"""Who may do what at the stewards' desk: a YAML file of users, each with a role for each study that is theirs.

    users:
      - name: ada
        password: $argon2id$v=19$…
        studies: {sleep-2026: steward}
        oidc: 00u1ab2c

A password lies there as its argon2 hash only. Who signs in with an identity provider is known by `oidc`, the subject
that the provider gives them, and needs no password.
"""

import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from quality.desk import THE_JOB
from quality.whole_file import write_whole
from schemas.registry import Name
from schemas.yaml_faults import place_in_yaml

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000
HASHER = PasswordHasher()
"""With the library's cost: some 50 ms and 64 MB for each password that is tried."""

Action = Literal["view", "rows", "decide", "propose", "approve", "sign-off", "export"]


class UsersError(Exception):
    """A users file that cannot be used, or a user that cannot be added; names the entry and the field, never a value."""


class Role(StrEnum):
    """What somebody is to a study; each may do what those before may."""

    VIEWER = "viewer"
    STEWARD = "steward"
    APPROVER = "approver"


_MAY: Mapping[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset(("view", "export")),
    Role.STEWARD: frozenset(("view", "export", "rows", "decide", "propose", "sign-off")),
    Role.APPROVER: frozenset(("view", "export", "rows", "decide", "propose", "sign-off", "approve")),
}


def _argon2(password: str) -> str:
    if not password.startswith("$argon2id$"):
        raise ValueError("expected an argon2id hash, as `wellspring steward users add` makes it")
    return password


def _not_the_job(name: str) -> str:
    if name == THE_JOB:
        raise ValueError("the quality job decides under this name: choose another")
    return name


Hash = Annotated[str, AfterValidator(_argon2)]
UserName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,39}$"), AfterValidator(_not_the_job)]
Subject = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class User(BaseModel):
    """Somebody who may sign in, and their role in each study that they see anything of."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: UserName
    password: Hash | None = Field(default=None, repr=False)
    studies: dict[Name, Role] = {}
    oidc: Subject | None = Field(default=None, repr=False)

    def may(self, action: Action, study: str) -> bool:
        """Whether they may do this to the study. Whoever has no role in it may nothing, not even know of it."""
        role = self.studies.get(study)
        return role is not None and action in _MAY[role]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    users: tuple[User, ...] = ()


class Users:
    """The users by name."""

    def __init__(self, users: Iterable[User]) -> None:
        self.by_name = _unique(users)
        self._by_subject = {user.oidc: user for user in self.by_name.values() if user.oidc}
        if len(self._by_subject) != sum(user.oidc is not None for user in self.by_name.values()):
            raise UsersError("users: oidc: one subject is given to two users")

    def get(self, name: str) -> User | None:
        """The user of that name, whoever asks."""
        return self.by_name.get(name)

    def sign_in(self, name: str, password: str) -> User | None:
        """Whose name and password these are. It takes as long where nobody has the name."""
        user = self.by_name.get(name)
        known = user.password if user else None
        right = len(password) <= LONGEST_PASSWORD and _fits(known or _nobody(), password)
        return user if user and known and right else None

    def of_subject(self, subject: str) -> User | None:
        """Whom the identity provider knows under this subject."""
        return self._by_subject.get(subject)


def _unique(users: Iterable[User]) -> dict[str, User]:
    found: dict[str, User] = {}
    for place, user in enumerate(users):
        if user.name in found:
            raise UsersError(f"users.{place}.name: it is given twice")
        found[user.name] = user
    return found


def _fits(known: str, password: str) -> bool:
    try:
        return HASHER.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    """What a password is compared with where nobody has the name: a hash of what nobody can type."""
    return HASHER.hash(os.urandom(32))


def hashed(password: str) -> str:
    """The hash under which a password is kept; UsersError where it is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsersError(f"password: expected {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return HASHER.hash(password)


def load_users(path: Path) -> Users:
    """The users in the file; UsersError where it, or an entry, is not what it should be."""
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        users = Users(found.users)
    except FileNotFoundError:
        raise UsersError(f"there is no users file {path}: add somebody with `wellspring steward users add`") from None
    except UnicodeDecodeError:
        raise UsersError(f"{path} is not UTF-8") from None
    except yaml.YAMLError as error:
        raise UsersError(f"{path} is not YAML{place_in_yaml(error)}") from None
    except ValidationError as error:
        raise UsersError(f"{path}: {_without_keys(error)}") from None
    except UsersError as error:
        raise UsersError(f"{path}: {error}") from None
    _nobody()
    return users


class UsersFile:
    """The users in a file, read anew once it has changed, so that whoever is removed is out at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int, int], Users] | None = None

    def now(self) -> Users:
        """The users as they stand there; UsersError as `load_users`."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return load_users(self._path)
        version = state.st_mtime_ns, state.st_size, state.st_ino
        if self._read is None or self._read[0] != version:
            self._read = version, load_users(self._path)
        return self._read[1]


def _without_keys(error: ValidationError) -> str:
    """The entry and field, and nothing that somebody wrote where another thing belongs, not as a key either."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    known = {*_File.model_fields, *User.model_fields}
    where = [str(part) for part in first["loc"] if isinstance(part, int) or part in known]
    return f"{'.'.join(where) or 'users'}: {first['msg'].removeprefix('Value error, ')}"


def checked_user(fields: Mapping[str, object]) -> User:
    """The user of these fields; UsersError where they cannot be one's."""
    try:
        return User.model_validate(fields)
    except ValidationError as error:
        raise UsersError(_without_keys(error)) from None


def save_users(path: Path, users: Iterable[User]) -> None:
    """Write the file anew, sorted by name and readable by its owner only; never half of it."""
    rows = [user.model_dump(mode="json", exclude_defaults=True) for user in sorted(users, key=lambda user: user.name)]
    write_whole(path, yaml.safe_dump({"users": rows}, sort_keys=False), 0o600)
