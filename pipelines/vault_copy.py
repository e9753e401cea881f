"""The vault's part of a copy: what is made once, then the databases, each in one piece.

Runs and snapshots are not copied: what runs found out is settled through the entry that is copied, and snapshots are
made of the register.
"""

import re
from contextlib import closing
from pathlib import Path

from pipelines.alert_book import FILE as ALERTS
from pipelines.alert_book import AlertBook
from pipelines.audit_objects import audit_of
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from pipelines.database import Database, copied
from pipelines.holds import FILE as HOLDS
from pipelines.lake_copy import CopyRefused
from pipelines.progress import VAULT_ID
from pipelines.vault import Vault

SECRETS = (VAULT_ID, "snapshot-salt")  # without that of the desk: whoever had signed out would be in again
_KEY = re.compile(r"^keys/[a-z][a-z0-9-]*\.key$")


def refuse_another(source: Vault, target: Vault, through: int) -> None:
    """CopyRefused where the other place holds another vault, or has settled more than is copied. Changes nothing."""
    if any(target.secret(name) not in (None, data) for name, data in _secrets(source).items()):
        raise CopyRefused("the other place holds another vault: copy into an empty one")
    if not target.has(HOLDS):
        return
    with closing(Database(target.read(HOLDS), "", "FULL")) as holds:
        (settled,) = holds.execute("SELECT through FROM total").fetchone()
    if settled > through:
        raise CopyRefused("the other vault has gone further than what is copied: copy into an empty one")


def copy_secrets(source: Vault, target: Vault) -> None:
    """Copy the vault's name, keys and secrets."""
    for name, data in _secrets(source).items():
        target.create(name, data)


def _secrets(source: Vault) -> dict[str, bytes]:
    names = [*SECRETS, *(key for key in source.store.list("keys/") if _KEY.match(key))]
    return {name: data for name in names if (data := source.secret(name)) is not None}


def copied_holds(source: Vault, folder: Path) -> tuple[Path, int]:
    """The holds as they are now, in a file of their own, and the entry through which they are settled."""
    if not source.has(HOLDS):
        raise CopyRefused("the vault holds nothing yet: no driver has run on it")
    file = _copied(source, HOLDS, folder)
    with closing(Database(file, "", "FULL")) as holds:
        (through,) = holds.execute("SELECT through FROM total").fetchone()
    return file, int(through)


def copy_databases(source: Vault, target: Vault, holds: Path, through: int, folder: Path) -> None:
    """Put the holds in place, the register as it is by now, which may be ahead of them and never behind, and the rest."""
    if source.has(REGISTER):
        file = _copied(source, REGISTER, folder)
        with closing(Register(file)) as register:
            register.go_on_apart()
            read = sum(register.positions().values())
        target.place(REGISTER, read, file)
    if source.has(ALERTS):
        file = _copied(source, ALERTS, folder)
        with closing(AlertBook(folder)) as book:
            number = book.changes
        target.place(ALERTS, number, file)
    audit_of(target).take(audit_of(source).lines())
    target.place(HOLDS, through, holds)  # the last: a driver takes the copy only with them


def _copied(source: Vault, name: str, folder: Path) -> Path:
    path = folder / name
    path.unlink(missing_ok=True)
    with closing(Database(source.read(name), "", "FULL")) as database:
        return copied(database, path)
