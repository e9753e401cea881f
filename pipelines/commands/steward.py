"""wellspring steward: the stewards' desk in the browser; wellspring steward users add|list|remove: who may sign in."""

import secrets
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from pipelines.alerting import send_test
from pipelines.commands.common import AsJson, Config, Refused, say, settings_of, show_rows
from pipelines.entries import now_us
from pipelines.settings import Settings
from pipelines.vault import Vault, as_vault, vault_of
from quality.users import Role, User, Users, UsersError, UsersFile, checked_user, hashed, load_users, save_users
from quality.web.settings import StewardSettings
from schemas.registry import load_studies

app = typer.Typer(help="The stewards' desk in the browser, and its users.", invoke_without_command=True)
users = typer.Typer(help="Who may sign in at the desk, and what they are to which study.", no_args_is_help=True)
app.add_typer(users, name="users")

SECRET, SECRET_BYTES = "steward-secret", 32


@app.callback(epilog="Examples: wellspring steward; wellspring steward --port 8601")
def steward(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: that of the settings]")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.  [default: that of the settings]"),
    ] = None,
    config: Config = None,
) -> None:
    """Serve the stewards' desk until it is stopped; the address is said on standard error."""
    if context.invoked_subcommand is not None:
        return
    from pipelines.desk_sessions import VaultSessions
    from pipelines.lake_desk import LakeDesk
    from quality.web.app import desk_app
    from quality.web.serve import listen, serve

    settings = settings_of(config)
    wanted = _served(settings.steward, host, port)
    _known(settings)
    try:
        listener = listen(wanted.host, wanted.port)
    except OSError as error:
        raise Refused(f"nothing can listen on {wanted.host} port {wanted.port}: {error.strerror}") from None
    served = wanted.model_copy(update={"port": listener.getsockname()[1]})
    file = UsersFile(settings.steward.users)
    with closing(vault_of(settings)) as vault, closing(LakeDesk(settings, vault=vault)) as lake:
        secret, ended = secret_of(vault), VaultSessions(vault)
        desk = desk_app(lake, file.now, served, secret, test_alerts=_alerts_of(settings), ended=ended)
        say(f"the stewards' desk is at {served.origin} (stop it with Ctrl-C)")
        serve(desk, listener, served.trusted_proxies if served.url else ())


def _alerts_of(settings: Settings) -> Callable[[str], list[tuple[str, str]]] | None:
    """What the desk's test button does; None where nobody is alerted."""
    if not settings.alerts.receivers:
        return None
    return lambda study: [(one.name, one.why) for one in send_test(settings, now_us(), study)]


def _served(settings: StewardSettings, host: str | None, port: int | None) -> StewardSettings:
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    try:
        return StewardSettings.model_validate({**settings.model_dump(), **given})
    except ValueError:
        raise Refused(
            "the desk listens on this machine only, unless steward.url says where browsers reach it"
        ) from None


def secret_of(vault: Vault | Path) -> bytes:
    """With what the desk signs sessions: random, made when it is first asked for, readable by the vault's owner only."""
    vault = as_vault(vault)
    if vault.secret(SECRET) is None:
        vault.create(SECRET, secrets.token_bytes(SECRET_BYTES))
    secret = vault.secret(SECRET) or b""
    if len(secret) != SECRET_BYTES:
        raise Refused(f"the vault's {SECRET} is damaged: remove it, and everybody signs in anew")
    return secret


@users.command(epilog="Example: wellspring steward users add ada --study sleep=steward --study cycle=viewer")
def add(
    name: Annotated[str, typer.Argument(help="Small letters, digits, dots and hyphens; it stands with each decision.")],
    study: Annotated[
        list[str] | None, typer.Option(help=f"STUDY=ROLE, once for each study; a role is {', '.join(Role)}.")
    ] = None,
    oidc: Annotated[
        str | None,
        typer.Option(help="The subject under which the identity provider knows them, in place of a password."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of the user of that name.")] = False,
    config: Config = None,
) -> None:
    """Add a user. The password is asked for, or read from standard input."""
    settings = settings_of(config)
    known = _known(settings, empty=True)
    if name in known.by_name and not replace:
        raise Refused("there is a user of that name already: --replace takes their place")
    try:
        user = checked_user({"name": name, "studies": _roles(settings, study or ()), "oidc": oidc})
        if oidc is None:
            user = user.model_copy(update={"password": hashed(_password())})
        _save(settings, {**known.by_name, name: user})
    except UsersError as error:
        raise Refused(str(error)) from None
    say(f"{name} may sign in" + ("" if user.studies else ", and has no role in any study yet"))


def _roles(settings: Settings, given: Iterable[str]) -> dict[str, Role]:
    registered, found = load_studies(settings.studies), {}
    for text in given:
        study, _, role = text.partition("=")
        if role not in set(Role):
            raise typer.BadParameter(f"--study takes STUDY=ROLE with one of {', '.join(Role)}")
        if study not in registered:
            raise Refused(f"no study of that name is registered in {settings.studies}")
        found[study] = Role(role)
    return found


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


@users.command("list", epilog="Example: wellspring steward users list --json")
def list_users(config: Config = None, as_json: AsJson = False) -> None:
    """Who may sign in, and what they are to which study."""
    rows = [
        {
            "name": user.name,
            "signs in by": "identity provider" if user.oidc else "password" if user.password else "nothing",
            "studies": {study: str(role) for study, role in user.studies.items()} if as_json else _said(user),
        }
        for user in _known(settings_of(config)).by_name.values()
    ]
    show_rows("users", rows, as_json)


def _said(user: User) -> str:
    return ", ".join(f"{study}: {role}" for study, role in user.studies.items())


@users.command(epilog="Example: wellspring steward users remove ada")
def remove(
    name: Annotated[str, typer.Argument(help="Whose sessions end, and who cannot sign in any more.")],
    config: Config = None,
) -> None:
    """Remove a user. What they decided stays with their name."""
    settings = settings_of(config)
    known = dict(_known(settings).by_name)
    if known.pop(name, None) is None:
        raise Refused("there is no user of that name")
    _save(settings, known)
    say(f"{name} may not sign in any more")


def _known(settings: Settings, empty: bool = False) -> Users:
    """The users that there are; with `empty` nobody where there is no file yet."""
    path = settings.steward.users
    try:
        return Users([]) if empty and not path.exists() else load_users(path)
    except UsersError as error:
        raise Refused(str(error)) from None


def _save(settings: Settings, known: dict[str, User]) -> None:
    settings.steward.users.parent.mkdir(parents=True, exist_ok=True)
    save_users(settings.steward.users, Users(known.values()).by_name.values())
