"""What is deleted from a lake, and when: leavings of dead drivers, and files whose removal is long past.

Nothing else is ever deleted. A file that no rule here names stays, whatever it is.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from pipelines.entries import Fenced, LakeError
from pipelines.files import written
from pipelines.ledger import Ledger
from pipelines.standing import Standing
from pipelines.store import Store

GRACE_US = 3600 * 1_000_000
TEMP_AGE_US = 3600 * 1_000_000
_EPOCH_IN_NAME = re.compile(r"^_tmp/\d+-(\d+)-")


class Swept(NamedTuple):
    """How many files a sweep deleted."""

    files: int
    temps: int


def sweep(store: Store, ledger: Ledger, now_us: int) -> Swept:
    """Delete data files of older epochs that no entry names, and temporary files that nobody writes any more.

    The driver's third act, after takeover and recovery; LakeError for anybody else, Fenced once another took over.
    Files of this epoch and of later ones stay, so that even a driver overtaken without knowing does no harm.
    """
    head = ledger.head()
    if head is None or not ledger.epoch:
        raise LakeError("only a driver that has taken over sweeps the lake")
    if head.epoch != ledger.epoch:
        raise Fenced("another driver has taken over: this one deletes nothing")
    added = lru_cache(maxsize=4096)(partial(_added, ledger))
    files = [key for key in store.list("study=") if _is_leaving(key, ledger.epoch, added)]
    temps = [temp.key for temp in store.temps() if _is_stale(temp.key, temp.modified_us, ledger.epoch, now_us)]
    for key in files + temps:
        store.delete(key)
    return Swept(len(files), len(temps))


def sweep_runs(store: Store, vault: Store, epoch: int) -> None:
    """Delete what runs of older epochs left in lake and vault: by now it is settled, or was never appended."""
    for place, prefix in ((store, "_control/manifests/"), (vault, "runs/")):
        for key in list(place.list(prefix)):
            if int(key.removeprefix(prefix).split("-")[1]) < epoch:
                place.delete(key)
    store.forget("_control/")


def clear_removed(
    store: Store, ledger: Ledger, standing: Standing, now_us: int, grace_us: int = GRACE_US, most: int = 1_000
) -> int:
    """Delete the files that entries older than the grace have removed; how many entries were gone through.

    The grace lets a reader that opened the table before the removal finish. Goes on where it stopped, at most `most`
    entries at a time; `standing.save` keeps how far it came.
    """
    done = 0
    while done < most and standing.cleared_through < standing.through:
        entry = ledger.read(standing.cleared_through + 1)
        if entry.at_us + grace_us > now_us:
            break
        for change in entry.tables.values():
            for path in change.remove:
                store.delete(path)
        standing.cleared_through = entry.n
        done += 1
    return done


def _is_leaving(key: str, epoch: int, added: Callable[[int], frozenset[str]]) -> bool:
    name = written(key)
    if name is None or name.epoch >= epoch:
        return False
    return key not in added(name.n)


def _added(ledger: Ledger, n: int) -> frozenset[str]:
    """Every file that entry n adds; none where there is no such entry."""
    if ledger.digest(n) is None:
        return frozenset()
    return frozenset(file.path for change in ledger.read(n).tables.values() for file in change.add)


def _is_stale(key: str, modified_us: int, epoch: int, now_us: int) -> bool:
    """A data file's temporary name carries its driver's epoch; any other is told by its age."""
    found = _EPOCH_IN_NAME.match(key)
    return int(found[1]) < epoch if found else modified_us + TEMP_AGE_US < now_us
