"""What stewards' commands share: who is there, what they may, which rows they mean, and the audit of what they do."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from pipelines.commands.common import Refused, settings_of
from pipelines.lake_desk import LakeDesk
from pipelines.settings import Settings
from quality.chosen import Chosen
from quality.desk import Seen, Stratum
from quality.users import Action, User, UsersError, load_users

PASSWORD = "WELLSPRING_STEWARD_PASSWORD"


class Desk:
    """Somebody who has signed in, at the lake."""

    def __init__(self, settings: Settings, lake: LakeDesk, user: User) -> None:
        self.settings, self.lake, self.user = settings, lake, user

    def note(self, study: str, what: str, about: Mapping[str, Any]) -> None:
        """Note in the study's audit what they do or see, before it is done or shown."""
        self.lake.audit(Seen(datetime.now(UTC), self.user.name, study, what, dict(about)))


@contextmanager
def signed_in(config: Path | None, by: str, action: Action, study: str) -> Iterator[Desk]:
    """The desk of the user `by`, who may do this to the study. Refused where they may not, whether there is one or not."""
    settings = settings_of(config)
    user = _user(settings, by)
    with closing(LakeDesk(settings)) as lake:
        if not user.may(action, study) or study not in lake.studies():
            raise Refused(
                "you may not do this in that study: an approver of the study, or whoever keeps the users file, can help"
            )
        yield Desk(settings, lake, user)


def _user(settings: Settings, by: str) -> User:
    try:
        users = load_users(settings.steward.users)
    except UsersError as error:
        raise Refused(str(error)) from None
    user = users.sign_in(by, _password())
    if user is None:
        raise Refused("no user has this name and password")
    return user


def _password() -> str:
    if (known := os.environ.get(PASSWORD)) is not None:
        return known
    if not sys.stdin.isatty():
        raise Refused(f"nobody is there to give a password: set {PASSWORD}")
    return str(typer.prompt("password", hide_input=True, err=True))


def chosen(where: Iterable[str] | None, everything: bool = False) -> Stratum:
    """The rows that FIELD=VALUE texts mean; where none is given, all of them if that is allowed. BadParameter else."""
    fields: dict[str, Any] = {}
    for text in where or ():
        name, is_given, value = text.partition("=")
        if not is_given or name not in {*Chosen.model_fields, "row"} - {"rows"}:
            raise typer.BadParameter(f"--where takes FIELD=VALUE with one of {', '.join(_FIELDS)}")
        if name == "row":
            fields.setdefault("rows", []).append(value)
        elif name in fields:
            raise typer.BadParameter(f"--where names {name} twice")
        else:
            fields[name] = value
    if not fields and everything:
        return Stratum()
    try:
        return Chosen.model_validate(fields).stratum
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise typer.BadParameter(f"--where: {first['msg'].removeprefix('Value error, ')}") from None


_FIELDS = (*(name for name in Chosen.model_fields if name != "rows"), "row")
