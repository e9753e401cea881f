"""The sign of life of a driver: a small object, rewritten every few seconds, that tells others to stay away.

It is a courtesy. What keeps two drivers from doing harm is the ledger, which fences the older one.
"""

import hashlib
import os
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.source_file import StorageFailed
from pipelines.store import Store

KEY = "_control/heartbeat.json"
EVERY_SECONDS = 2.0
STALE_AFTER_US = 15_000_000

Clock = Callable[[], int]


class Beat(BaseModel):
    """Which driver lives, and when it last said so (microseconds since the epoch, UTC)."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    epoch: int
    host: str
    pid: int
    born: int
    at_us: int


class Heartbeat:
    """Beats from a thread between `__enter__` and `__exit__`, and stops for good once a newer driver beats."""

    def __init__(self, store: Store, epoch: int, clock: Clock, every_seconds: float = EVERY_SECONDS) -> None:
        self.store = store
        self.epoch = epoch
        self.clock = clock
        self.every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if not self._is_newer(read_beat(self.store)):
            self.store.delete(KEY)

    def beat(self) -> bool:
        """Say once that this driver lives; False where a newer one does."""
        if self._is_newer(read_beat(self.store)):
            return False
        process = psutil.Process()
        beat = Beat(
            epoch=self.epoch, host=host_hash(), pid=process.pid, born=int(process.create_time()), at_us=self.clock()
        )
        self.store.put(KEY, beat.model_dump_json().encode())
        return True

    def _is_newer(self, found: Beat | None) -> bool:
        return found is not None and found.epoch > self.epoch

    def _run(self) -> None:
        while not self._stop.wait(self.every_seconds):
            # a server that is away, or a full disk: tried again in a moment; who waits for longer may take over
            with suppress(StorageFailed, OSError):
                if not self.beat():
                    return


def read_beat(store: Store) -> Beat | None:
    """The last beat of any driver, None where there is none that can be read."""
    data = store.get(KEY)
    try:
        return Beat.model_validate_json(data) if data is not None else None
    except ValidationError:
        return None


def live_heartbeat(store: Store, now_us: int, stale_after_us: int = STALE_AFTER_US) -> Beat | None:
    """The beat of a driver that seems to be alive, else None.

    A beat of this machine whose process is gone is no sign of life, so a killed driver can be restarted at once.
    """
    beat = read_beat(store)
    if beat is None or now_us - beat.at_us > stale_after_us:
        return None
    if beat.host == host_hash() and not _runs(beat):
        return None
    return beat


def host_hash() -> str:
    """Which machine and process name space this is, without naming it."""
    parts = [platform.node()]
    with suppress(OSError):  # not Linux: the name of the machine has to do
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _runs(beat: Beat) -> bool:
    """Whether that process lives. One that was killed and not yet buried by its parent is a zombie, and does not."""
    try:
        process = psutil.Process(beat.pid)
        return int(process.create_time()) == beat.born and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
