"""The lake's part of a copy: rows, ledger and logs through one entry, none of which is ever changed once it is written.

Into the other place go the files of rows first, then entry after entry, each with its tables' logs, as a driver would
have written them. What is there already is passed over, so a copy that was broken off goes on where it was.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pipelines.delta import log_key
from pipelines.entries import LakeError
from pipelines.files import DataFile
from pipelines.lake_check import History
from pipelines.ledger import FOLDER, Ledger
from pipelines.store import Store, Taken

Tell = Callable[[str, int, int], None]
"""Hears what is copied, how much of it is done, and of how much."""

AT_ONCE = 8
ENTRIES_AT_ONCE = 200
_PIECE = 1 << 20
_CHECKPOINT = re.compile(r"/(\d{20})\.checkpoint\.parquet$")


class CopyRefused(LakeError):
    """What lies in the other place is not a copy of this, or somebody is at work there: nothing of it was changed."""


class Moved(Exception):
    """The driver has gone on so far that something of the entry is deleted by now: a later entry has to be copied."""


@dataclass
class Extent:
    """A lake through one entry: the files of rows that are live then, the versions of each table by entry, and requests'
    ids by the entry that answered them."""

    through: int
    files: list[DataFile] = field(default_factory=list)
    commits: dict[str, list[int]] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)


@dataclass
class Missing:
    """What the other place does not have yet."""

    files: list[DataFile]
    entries: dict[int, str]
    logs: dict[int, list[str]]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def extent(ledger: Ledger, through: int) -> Extent:
    """What the ledger says of the lake after entry `through`, and of requests also after that."""
    found, history = Extent(through), History()
    for entry in ledger.entries():
        mark: Any = entry.cause.get("request")
        if mark:
            found.answered[str(mark["id"])] = entry.n
        if entry.n <= through and (problems := list(history.take(entry))):
            raise LakeError(problems[0])
    for table, touched in history.touched.items():
        found.files += history.live_at(table, len(touched)).values()
        found.commits[table] = touched
    return found


def missing(source: Store, target: Store, wanted: Extent) -> Missing:
    """What of the extent is to be copied. CopyRefused where the other place holds another lake, or more of this one."""
    has = ledger_keys(target)
    if has and max(has) > wanted.through:
        raise CopyRefused("the other place has gone further than what is copied: copy into an empty one")
    if has and source.get(has[max(has)]) != target.get(has[max(has)]):
        raise CopyRefused("the other place holds another lake: copy into an empty one")
    keys = {n: key for n, key in ledger_keys(source).items() if n <= wanted.through}
    there = set(target.list("study="))
    logs: dict[int, list[str]] = {}
    for table, touched in wanted.commits.items():
        for n, key in _log_keys(source, table, touched):
            if key not in there:
                logs.setdefault(n, []).append(key)
    files = [file for file in wanted.files if file.path not in there]
    return Missing(files, {n: key for n, key in keys.items() if n not in has}, logs)


def copy_files(source: Store, target: Store, files: list[DataFile], tell: Tell) -> None:
    """Copy files of rows, several at a time. Moved where one is gone."""
    sizes = _each(files, lambda file: _copy_file(source, target, file))
    done, of = 0, sum(file.bytes for file in files)
    for size in sizes:
        done += size
        tell("bytes of rows", done, of)


def copy_entries(source: Store, target: Store, wanted: Missing, tell: Tell) -> None:
    """Copy the ledger's entries in their order, some at a time, and after each such step the logs of what they touched."""
    numbers = sorted(wanted.entries.keys() | wanted.logs.keys())
    for at in range(0, len(numbers), ENTRIES_AT_ONCE):
        some = numbers[at : at + ENTRIES_AT_ONCE]
        entries = [wanted.entries[n] for n in some if n in wanted.entries]
        logs = [key for n in some for key in wanted.logs.get(n, ())]
        for keys in (entries, logs):
            for _ in _each(keys, lambda key: copy_new(source, target, key)):
                pass
        tell("entries", at + len(some), len(numbers))


def copy_new(source: Store, target: Store, key: str) -> None:
    """Copy an object that never changes. Moved where it is gone, CopyRefused where another lies in its place."""
    data = source.get(key)
    if data is None:
        raise Moved
    try:
        target.put_new(key, data)
    except Taken:
        if target.get(key) != data:
            raise CopyRefused("the other place holds another lake: copy into an empty one") from None


def ledger_keys(store: Store) -> dict[int, str]:
    """The keys of the ledger's entries by their numbers."""
    return {int(key.removeprefix(FOLDER).removesuffix(".json")): key for key in store.list(FOLDER)}


def _log_keys(source: Store, table: str, touched: list[int]) -> Iterator[tuple[int, str]]:
    """What of a table's log tells its state after these entries, each with the entry that it belongs to.

    From its last checkpoint within them on: what came before that may be gone.
    """
    found = set(source.list(f"{table}/_delta_log/"))
    checkpoints = {int(name[1]): key for key in found if (name := _CHECKPOINT.search(key))}
    first = max((version for version in checkpoints if version < len(touched)), default=None)
    if first is not None:
        yield touched[first], checkpoints[first]
    for version in range(first or 0, len(touched)):
        if log_key(table, version) in found:
            yield touched[version], log_key(table, version)
        elif version != first:
            raise Moved


def _copy_file(source: Store, target: Store, file: DataFile) -> int:
    temp, size = target.temp_path(file.path), 0
    try:
        content = source.open_file(file.path)
    except FileNotFoundError:
        raise Moved from None
    with content, open(temp, "xb") as copy:
        while piece := content.read(_PIECE):
            size += copy.write(piece)
    if size != file.bytes:
        temp.unlink()
        raise LakeError(f"{file.path} has {size} bytes where {file.bytes} were written")
    try:
        target.publish_file(temp, file.path)
    except Taken:
        if target.size(file.path) != size:
            raise CopyRefused("the other place holds other files of the same names: copy into an empty one") from None
    return size


def _each(items: Iterable[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
    """What came of each, several at a time; after a failure nothing more is begun."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
