"""Is a copy whole: the audit of its lake, and whether its vault belongs to it. Changes nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.audit_objects import audit_of
from pipelines.consent.register import FILE as REGISTER
from pipelines.database import Database
from pipelines.entries import LakeError
from pipelines.holds import FILE as HOLDS
from pipelines.holds import Holds
from pipelines.keys import KeyRing
from pipelines.lake_check import NOT_HELD, Report, lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.progress import VAULT_ID, Progress, check_settled, check_vault
from pipelines.store import Store
from pipelines.vault import Vault


def copy_check(lake: Store, vault: Vault | None, deep: bool = False) -> Report:
    """The audit of the lake, in which nothing may wait to be applied; and of the vault whether a driver would take both.

    With `deep` every row of every file is read, where else its footer is.
    """
    ledger = Ledger(lake)
    report = lake_check(lake, ledger, law=entry_law, deep=deep)
    report.problems += [words for words in report.waiting if NOT_HELD in words]
    if not report.entries and not report.problems:
        report.problems.append("there is no ledger: this is no copy of a lake that a driver has worked on")
    if vault is not None:
        report.problems += _vault_problems(ledger, vault)
    return report


def _vault_problems(ledger: Ledger, vault: Vault) -> list[str]:
    problems = [f"the vault has no {name}" for name in (HOLDS, REGISTER) if not vault.has(name)]
    name = vault.secret(VAULT_ID)
    if problems or name is None:
        return problems or [f"the vault has no {VAULT_ID}"]
    try:
        check_vault(Progress.of(ledger.head()), name.decode("ascii").strip(), KeyRing(vault))
        audit_of(vault).verify()
        for database in (HOLDS, REGISTER):
            problems += _damages(database, vault.read(database))
        if not problems:
            with closing(Holds(vault, 0, 0)) as holds:
                check_settled(ledger, holds, vault.store)
    except LakeError as error:
        problems.append(str(error))
    return problems


def _damages(name: str, path: Path) -> list[str]:
    try:
        with closing(Database(path, "", "FULL")) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError:
        found = ""
    return [] if found == "ok" else [f"the vault's {name} is damaged"]
