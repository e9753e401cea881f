"""A copy of a lake and its vault, taken while a driver may be at work, from which another driver can go on.

What holds the two together is one number: the ledger entry through which the vault has settled what it holds. So the
holds are copied first, in one piece, and say through which entry everything else is copied: by then the tables hold
that entry too. Nothing else of it changes once it is written, and what a driver deletes it deletes an hour after it was
removed. If something is gone all the same, the copy goes on to a later entry. A mark in the other place, which a driver
refuses, says that a copy is not at its end; while files of rows are added to an earlier copy, that one is still whole.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipelines import requests
from pipelines.delta import log_key
from pipelines.entries import now_us
from pipelines.heartbeat import live_heartbeat
from pipelines.lake_check import UNFINISHED
from pipelines.lake_copy import CopyRefused, Extent, Moved, Tell, copy_entries, copy_files, extent, ledger_keys, missing
from pipelines.ledger import Ledger
from pipelines.progress import Progress
from pipelines.requests import Asked
from pipelines.standing import Place, Standing, cleared_through, load_standing
from pipelines.store import Store
from pipelines.vault import Vault
from pipelines.vault_copy import copied_holds, copy_databases, copy_secrets, refuse_another
from pipelines.work_folder import WorkFolder

TRIES = 5


class Side(NamedTuple):
    """A lake, and its vault where that is copied too."""

    lake: Store
    vault: Vault | None


@dataclass(frozen=True)
class Copied:
    """What was copied, or would be: everything through ledger entry `through`. Files and bytes are those of rows."""

    through: int
    files: int
    bytes: int
    entries: int
    requests: int
    vault: bool


def copy(source: Side, target: Side, work: Path, tell: Tell, dry_run: bool = False) -> Copied:
    """Copy lake and vault into another place: what is there already is left as it is. `work` is for the vault's databases.

    CopyRefused where there is something else, or a driver at work. A lake without its vault can be read, not gone on
    with.
    """
    if live_heartbeat(target.lake, now_us()) is not None:
        raise CopyRefused("a driver is at work in the other place")
    with closing(WorkFolder(work)) as folder:
        for tries in range(TRIES):
            try:
                return _copy(source, target, folder.path, tell, dry_run)
            except Moved:
                tell("a later entry, as the driver went on", tries, TRIES)
    raise CopyRefused("the driver deletes faster than this copies: copy again, from a machine that is nearer")


def _copy(source: Side, target: Side, folder: Path, tell: Tell, dry_run: bool) -> Copied:
    ledger = Ledger(source.lake)
    asked = requests.everything(source.lake)
    holds, through = copied_holds(source.vault, folder) if source.vault else (None, _applied(ledger))
    if not through:
        raise CopyRefused("there is nothing to copy yet: no driver has brought lake and vault to an entry")
    asked += requests.everything(source.lake)
    head = ledger.head()
    wanted = extent(ledger, through)
    left = _unanswered(wanted, asked, head.n if head else 0, Progress.of(ledger.read(through)))
    if source.vault and target.vault:
        refuse_another(source.vault, target.vault, through)
    lacks = missing(source.lake, target.lake, wanted)
    copied = Copied(through, len(lacks.files), lacks.bytes, len(lacks.entries), len(left), target.vault is not None)
    if dry_run:
        return copied
    cleared = _cleared(target.lake, wanted)
    if not ledger_keys(target.lake):
        target.lake.put(UNFINISHED, b"{}")
    if source.vault and target.vault:
        copy_secrets(source.vault, target.vault)
    copy_files(source.lake, target.lake, lacks.files, tell)
    target.lake.put(UNFINISHED, b"{}")  # until here an earlier copy is as good as it was
    copy_entries(source.lake, target.lake, lacks, tell)
    places = {table: Place(touched[-1], len(touched)) for table, touched in wanted.commits.items()}
    Standing(places, wanted.through, cleared).save(target.lake, Ledger(target.lake))
    _put_requests(target.lake, left)
    if source.vault and target.vault and holds:
        copy_databases(source.vault, target.vault, holds, through, folder)
    target.lake.delete(UNFINISHED)
    return copied


def _applied(ledger: Ledger) -> int:
    """The last entry that the tables hold."""
    standing = load_standing(ledger.store, ledger)
    for entry in ledger.entries(standing.through + 1):
        next_logs = (log_key(table, standing.place(table).commits) for table in entry.tables)
        if not all(ledger.store.exists(key) for key in next_logs):
            break
        standing.advance(entry)
    return standing.through


def _cleared(target: Store, wanted: Extent) -> int:
    """Through which entry nothing that was removed is there: a first copy has none of it, a later one what earlier ones had."""
    had = cleared_through(target)
    if had is not None:
        return had
    return 0 if any(True for _ in target.list("study=")) else wanted.through


def _put_requests(target: Store, left: dict[str, Asked]) -> None:
    """Leave these requests there, and no others."""
    for one in requests.everything(target):
        if one.id not in left:
            requests.remove(target, one)
    for one in left.values():
        if one.request is not None:
            target.put(one.key, one.request.model_dump_json().encode())


def _unanswered(wanted: Extent, asked: list[Asked], head: int, progress: Progress) -> dict[str, Asked]:
    """The requests that wait after the extent, by id, also those that were answered since.

    Moved where one is gone by the entry `head`, which was the last when they were looked at.
    """
    left = {one.id: one for one in asked if one.waits}
    unfinished = progress.request.id if progress.request and progress.request.rest is not None else None
    for request, n in wanted.answered.items():
        if wanted.through < n <= head and request not in left:
            raise Moved
        if n <= wanted.through and request != unfinished:
            left.pop(request, None)
    return left
