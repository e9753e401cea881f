"""From a folder to a broker that can be used: lay out the data once, start Java, wait until a topic can be created."""

import base64
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from infra.broker_process import (
    PortTaken,
    Running,
    free_port,
    is_alive,
    is_locked,
    kill,
    listens_on,
    now_us,
    remember,
    spawn,
)
from infra.broker_ready import LOOPBACK, Metadata, ask_metadata
from infra.broker_settings import JAVA_OPTIONS, STARTED, BrokerFolder, log4j_properties, server_properties
from infra.class_archive import ClassArchive, class_archive
from infra.java import Java, find_java
from infra.kafka_jars import Progress, fetch_jars, kafka_version, read_lock
from infra.secured import certificate_port

T = TypeVar("T")

START_SECONDS = 120.0
LAY_OUT_SECONDS = 120.0

_LOOK_EVERY_SECONDS = 0.05
_ANSWER_SECONDS = 5.0
_CLUSTER_ID = re.compile(r"^cluster\.id=(\S+)$", re.MULTILINE)


class BrokerFailed(Exception):
    """The broker did not start or cannot be used; the text says what to do, or where its log is."""


class EndedUnexplained(BrokerFailed):
    """Java ended by itself, and nothing that is known of says why: it may be the class archive."""


@dataclass(frozen=True)
class Runtime:
    """What every start of Apache Kafka on this machine has in common."""

    java: Java
    jars: list[Path]
    version: str
    archive: ClassArchive

    def command(self, folder: BrokerFolder, main: str, arguments: list[str], options: list[str]) -> list[str]:
        """The command line that runs this main class with the whole class path."""
        java = [str(self.java.executable), *JAVA_OPTIONS, *self.java.quiet, f"-XX:ErrorFile={folder.logs}/java-%p.log"]
        return [*java, *options, "-cp", os.pathsep.join(map(str, self.jars)), main, *arguments]


def prepare(on_progress: Progress) -> Runtime:
    """Find Java and fetch the jars. Raises JavaMissing and JarsMissing."""
    java, locked = find_java(), read_lock()
    jars = fetch_jars(locked, on_progress)
    archive = class_archive(java, jars, [*JAVA_OPTIONS, *java.quiet])
    return Runtime(java, jars, kafka_version(locked), archive)


def _with_archive(runtime: Runtime, attempt: Callable[[Path | None], T]) -> T:
    """Attempt it with the class archive if there is one; where it goes only without, that archive is removed."""
    used = runtime.archive.find()
    try:
        return attempt(used)
    except EndedUnexplained:
        if used is None:
            raise
        done = attempt(None)
        used.unlink(missing_ok=True)
        return done


def lay_out(folder: BrokerFolder, runtime: Runtime, extra: Mapping[str, str]) -> None:
    """Make the data folder. Raises BrokerFailed."""
    _with_archive(runtime, lambda used: _lay_out(folder, runtime, extra, used))


def _lay_out(folder: BrokerFolder, runtime: Runtime, extra: Mapping[str, str], used: Path | None) -> None:
    """Under another name first: half a layout is never taken for a whole one."""
    new, properties = folder.path / "data.new", folder.path / "format.properties"
    shutil.rmtree(new, ignore_errors=True)
    _write_properties(folder, properties, free_port(), new, extra)
    arguments = ["format", "--standalone", "-t", new_cluster_id(), "-c", str(properties)]
    if folder.secured.is_there:
        arguments += folder.secured.format_arguments()
    options = runtime.archive.to_use(used) if used else []
    process = spawn(runtime.command(folder, "kafka.tools.StorageTool", arguments, options), folder.console)
    try:
        code = process.wait(LAY_OUT_SECONDS)
    except psutil.TimeoutExpired:
        raise BrokerFailed(f"{folder.data} was not laid out within {LAY_OUT_SECONDS:.0f} s; try again.") from None
    finally:
        kill(process)
        properties.unlink()
        folder.secured.forget_format_arguments()
    if code != 0:
        raise EndedUnexplained(f"Apache Kafka could not lay out {folder.data}; {folder.console} says why.")
    new.replace(folder.data)


def _write_properties(folder: BrokerFolder, file: Path, port: int, data: Path, extra: Mapping[str, str]) -> None:
    secured = folder.secured if folder.secured.is_there else None
    others = (port, certificate_port(port)) if secured else (port,)
    file.write_text(server_properties(port, free_port(*others), data, extra, secured), "ascii")


def new_cluster_id() -> str:
    """A random id as Kafka writes them: 16 bytes in 22 characters, the first no hyphen (it would read as an option)."""
    while (chosen := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return chosen


def cluster_id(folder: BrokerFolder) -> str:
    """The id that the data folder was given when it was laid out. Raises BrokerFailed."""
    meta = folder.data / "meta.properties"
    found = _CLUSTER_ID.search(meta.read_text("utf-8")) if meta.is_file() else None
    if found is None:
        raise BrokerFailed(f"{folder.data} is not a data folder of Apache Kafka; choose another folder.")
    return found.group(1)


def start(folder: BrokerFolder, runtime: Runtime, port: int, extra: Mapping[str, str]) -> Running:
    """Start the broker on this port and wait until it is ready; it is gone again if that fails.

    Raises PortTaken where somebody else was faster, and BrokerFailed. Kafka itself would see that another one uses the
    data only after it had written to them.
    """
    if is_locked(folder.data / ".lock"):
        raise BrokerFailed(
            f"Another broker, not started from here, uses {folder.data}: stop it, or choose another folder."
        )
    _write_properties(folder, folder.properties, port, folder.data, extra)
    folder.logging.write_text(log4j_properties(folder.log), "ascii")
    return _with_archive(runtime, lambda used: _start(folder, runtime, port, used))


def _start(folder: BrokerFolder, runtime: Runtime, port: int, used: Path | None) -> Running:
    cluster = cluster_id(folder)
    new = None if used else runtime.archive.new_file()
    archiving = runtime.archive.to_use(used) if used else runtime.archive.to_make(new) if new else []
    options = [f"-Dlog4j2.configurationFile={folder.logging.as_uri()}", *archiving]
    process = spawn(runtime.command(folder, "kafka.Kafka", [str(folder.properties)], options), folder.console)
    ready = False
    try:
        java, made = f"{runtime.java.version} ({runtime.java.executable})", str(new) if new else None
        running = Running(process.pid, process.create_time(), port, cluster, now_us(), java, runtime.version, made)
        remember(folder.pid_file, running)
        _wait_until_ready(process, folder, running)
        ready = True
    finally:
        if not ready:
            kill(process)
            folder.pid_file.unlink(missing_ok=True)
    return running


def _wait_until_ready(process: psutil.Process, folder: BrokerFolder, running: Running) -> None:
    """Ready: it says so itself, it answers clients as the cluster that it is, and the port is its own."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not is_alive(process):
            raise _why_it_ended(folder, running.port)
        if STARTED in folder.console.read_text("utf-8", "replace"):
            said = _asked(folder, running.port)
            if said is not None and said.cluster_id not in (None, running.cluster_id):
                raise PortTaken(f"Another broker answers on port {running.port} of {LOOPBACK}: choose another port.")
            if said is not None and said.ready and listens_on(process, running.port):
                return
        time.sleep(_LOOK_EVERY_SECONDS)
    raise BrokerFailed(f"Apache Kafka was not ready within {START_SECONDS:.0f} s; {folder.log} says how far it came.")


def _asked(folder: BrokerFolder, port: int) -> Metadata | None:
    """What the broker says; a secured one says it to who shows a certificate."""
    if not folder.secured.is_there:
        return ask_metadata(port, _ANSWER_SECONDS)
    return ask_metadata(certificate_port(port), _ANSWER_SECONDS, folder.secured.client())


def _why_it_ended(folder: BrokerFolder, port: int) -> Exception:
    """The cause in words where the console shows a known one."""
    said = folder.console.read_text("utf-8", "replace")
    if "Address already in use" in said:
        return PortTaken(f"Port {port} on {LOOPBACK}, or the controller's, was taken by another program meanwhile.")
    if "No space left on device" in said:
        return BrokerFailed(f"The disk of {folder.path} is full: make room, or choose another folder.")
    return EndedUnexplained(f"Apache Kafka ended while starting; see {folder.console} and {folder.log}.")
