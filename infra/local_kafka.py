"""A real Apache Kafka on this machine: one broker, everything in one folder, reached from this machine only.

    kafka = LocalKafka(Path("kafka"))
    address = kafka.up()    # fetches what is missing; a topic can be created as soon as it returns
    kafka.down()

The broker outlives the process that started it; any later process can stop it by its folder. Linux and macOS.
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import psutil

from infra.broker_process import PortTaken, Running, free_port, is_free, kill, recall, stop
from infra.broker_ready import LOOPBACK
from infra.broker_settings import BrokerFolder, last_port
from infra.broker_start import BrokerFailed, Runtime, lay_out, prepare, start
from infra.certificates import ends
from infra.class_archive import adopt
from infra.java import JavaMissing
from infra.kafka_jars import JarsMissing, Progress, kafka_version, quiet, read_lock
from infra.secured import certificate_port

__all__ = ["Address", "BrokerFailed", "JarsMissing", "JavaMissing", "LocalKafka", "PortTaken", "Status", "Stopped"]

STOP_SECONDS = 30.0
ARCHIVE_SECONDS = 60.0
_PORT_TRIES = 3


class Stopped(StrEnum):
    """How a broker came to its end."""

    NOT_RUNNING = "it was not running"
    CLEAN = "stopped"
    KILLED = "killed, since it did not stop in time"


@dataclass(frozen=True)
class Address:
    """Where a broker that is up is reached; `started` is False where it was up already."""

    port: int
    cluster_id: str
    pid: int
    started: bool
    host: str = LOOPBACK

    @property
    def bootstrap(self) -> str:
        """`host:port`, as clients want it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Status:
    """What is known of a folder's broker; `since` is microseconds since the epoch (UTC). None: no broker runs."""

    running: bool
    folder: Path
    version: str
    bootstrap: str | None = None
    pid: int | None = None
    since: int | None = None
    java: str | None = None
    secured: bool = False


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LocalKafka:
    """The broker of one folder. `extra` adds settings to its server.properties, or wins over them.

    With `secure` its folder becomes a secured broker's, and stays it: see `infra.secured`.
    """

    def __init__(
        self,
        folder: Path,
        extra: Mapping[str, str] | None = None,
        *,
        secure: bool = False,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.folder = BrokerFolder(folder.resolve())
        self.extra = dict(extra or {})
        self._secure, self._clock = secure, clock

    def up(self, port: int | None = None, on_progress: Progress = quiet) -> Address:
        """Start the broker and return when it can be used; one that is up already is left as it is.

        Without a port it takes the one of last time, else a free one. Raises JarsMissing, JavaMissing, PortTaken and
        BrokerFailed.
        """
        self._make_folder()
        with self._alone():
            found = self._recall()
            self._may_be_secured()
            if found is not None:
                return self._already(found[0], port, on_progress)
            self._protect(on_progress)
            self._must_be_free(port)
            runtime = prepare(on_progress)
            if not self.folder.data.exists():
                on_progress("laying out the data folder", 0, 0)
                lay_out(self.folder, runtime, self.extra)
            on_progress("starting Apache Kafka", 0, 0)
            running = self._start(runtime, port)
            on_progress(f"Apache Kafka is up on {LOOPBACK}:{running.port}", 1, 1)
            return Address(running.port, running.cluster_id, running.pid, started=True)

    def status(self) -> Status:
        """What runs in this folder, without asking the broker."""
        found = self._recall()
        if found is None:
            return Status(False, self.folder.path, kafka_version(read_lock()))
        running, _ = found
        bootstrap = f"{LOOPBACK}:{running.port}"
        about = (running.version, bootstrap, running.pid, running.since, running.java)
        return Status(True, self.folder.path, *about, self.folder.secured.is_there)

    def down(self, on_progress: Progress = quiet) -> Stopped:
        """Stop the broker: ask (SIGTERM), and after 30 s insist (SIGKILL). The data stay.

        The first clean stop on a machine also writes the class archive, and is given another minute for that.
        """
        if not self.folder.path.is_dir():
            return Stopped.NOT_RUNNING
        with self._alone():
            found = self._recall()
            if found is None:
                self.folder.pid_file.unlink(missing_ok=True)
                return Stopped.NOT_RUNNING
            running, process = found
            keeping = ", keeping its classes for faster starts" if running.archive else ""
            on_progress(f"stopping Apache Kafka{keeping}", 0, 0)
            by_itself = stop(process, STOP_SECONDS + (ARCHIVE_SECONDS if running.archive else 0))
            self.folder.pid_file.unlink(missing_ok=True)
            if by_itself and running.archive:
                adopt(Path(running.archive))
            return Stopped.CLEAN if by_itself else Stopped.KILLED

    def kill(self) -> None:
        """End the broker as a crash would (SIGKILL)."""
        if not self.folder.path.is_dir():
            return
        with self._alone():
            found = self._recall()
            if found is not None:
                kill(found[1])
            self.folder.pid_file.unlink(missing_ok=True)

    def _make_folder(self) -> None:
        """Nobody else on this machine needs to read it."""
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.logs.mkdir(exist_ok=True)
        except OSError as failure:
            raise BrokerFailed(f"Cannot make the folder {self.folder.path}: {failure.strerror}.") from failure

    def _may_be_secured(self) -> None:
        """Nobody's data are given a protection that they were laid out without: its users would not be in them."""
        if self._secure and self.folder.data.exists() and not self.folder.secured.is_there:
            raise BrokerFailed(
                f"The broker of {self.folder.path} was laid out as an open one and stays that: name another folder "
                "(broker_folder) for a secured one."
            )

    def _protect(self, on_progress: Progress) -> None:
        """Make what a secured broker needs, and anew what ends soon."""
        secured = self.folder.secured
        if (self._secure or secured.is_there) and secured.make(self._clock()):
            on_progress(f"the broker's certificate is new, and good until {ends(secured.broker_pem):%Y-%m-%d}", 1, 1)

    def _must_be_free(self, port: int | None) -> None:
        wanted = () if port is None else (port, certificate_port(port)) if self.folder.secured.is_there else (port,)
        for one in wanted:
            if not is_free(one):
                raise PortTaken(f"Port {one} on {LOOPBACK} is taken by another program: choose another or stop it.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time starts or stops the broker of a folder; the others wait."""
        with self.folder.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _recall(self) -> tuple[Running, psutil.Process] | None:
        return recall(self.folder.pid_file, mark=str(self.folder.properties))

    def _already(self, running: Running, port: int | None, on_progress: Progress) -> Address:
        if port not in (None, running.port):
            raise BrokerFailed(
                f"The broker of {self.folder.path} is up on port {running.port}; stop it to change that."
            )
        on_progress(f"Apache Kafka is up already on {LOOPBACK}:{running.port}", 1, 1)
        secured = self.folder.secured
        if secured.is_there and secured.ends_soon(self._clock()):
            until = f"{ends(secured.broker_pem):%Y-%m-%d %H:%M} UTC"
            on_progress(f"its certificate is good until {until}: stop it and start it again for a new one", 1, 1)
        return Address(running.port, running.cluster_id, running.pid, started=False)

    def _start(self, runtime: Runtime, port: int | None) -> Running:
        """On the port given, or on one of our choice: then another is tried where somebody was faster."""
        if port is not None:
            return start(self.folder, runtime, port, self.extra)
        chosen = last_port(self.folder.properties)
        for _ in range(_PORT_TRIES - 1):
            try:
                return start(self.folder, runtime, chosen if chosen and is_free(chosen) else free_port(), self.extra)
            except PortTaken:
                chosen = None
        return start(self.folder, runtime, free_port(), self.extra)
