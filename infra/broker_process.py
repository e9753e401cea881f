"""The broker's process: free ports, starting it apart from us, remembering it, and never mistaking another for it."""

import fcntl
import json
import os
import random
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from infra.broker_ready import LOOPBACK

# Below the range from which systems take ports for outgoing connections: one of those could be taken at any moment.
_PORTS = range(20_000, 32_000)
_SAME_START_SECONDS = 2.0


class PortTaken(Exception):
    """The port that was asked for belongs to somebody else; the text says what to do."""


@dataclass(frozen=True)
class Running:
    """The pid file: which process was started, when, and for what. `started` is the system's own figure, in seconds."""

    pid: int
    started: float
    port: int
    cluster_id: str
    since: int
    java: str
    version: str
    archive: str | None


def is_free(port: int) -> bool:
    """Whether nobody listens on this loopback port (a connection that has just been closed does not count)."""
    with socket.socket() as knocking:
        knocking.settimeout(1.0)
        if knocking.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ours.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(*others: int) -> int:
    """A free loopback port other than these, chosen at random so that two who choose at once rarely meet."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in others and is_free(port):
            return port
    raise PortTaken(f"No port of {_PORTS.start} to {_PORTS.stop - 1} is free on {LOOPBACK}.")


def is_locked(file: Path) -> bool:
    """Whether another process holds this file with the kind of lock that Java takes."""
    try:
        with file.open("r+b") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def spawn(command: list[str], console: Path) -> psutil.Process:
    """Start a command in a session of its own, its output in `console`: it outlives us and gets none of our signals.

    It heeds its own, even where we were started to ignore them, which it would inherit.
    """
    to_console = (os.POSIX_SPAWN_OPEN, 1, str(console), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), to_console, (os.POSIX_SPAWN_DUP2, 1, 2)]
    heeded = (signal.SIGINT, signal.SIGTERM)
    return psutil.Process(
        os.posix_spawn(
            command[0], command, os.environ, file_actions=actions, setsid=True, setsigmask=(), setsigdef=heeded
        )
    )


def remember(file: Path, running: Running) -> None:
    """Write the pid file in one step."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(asdict(running)), "utf-8")
    new.replace(file)


def recall(file: Path, mark: str) -> tuple[Running, psutil.Process] | None:
    """The process of the pid file if it is alive and still the one it speaks of, else None.

    A process id is soon given to another program, so the start time must agree and the command line contain `mark`.
    """
    try:
        running = Running(**json.loads(file.read_text("utf-8")))
        process = psutil.Process(running.pid)
        if is_alive(process) and abs(process.create_time() - running.started) < _SAME_START_SECONDS:
            return (running, process) if mark in process.cmdline() else None
    except (FileNotFoundError, json.JSONDecodeError, TypeError, psutil.Error):
        return None
    return None


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that ended and was not waited for does not."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def listens_on(process: psutil.Process, port: int) -> bool:
    """Whether this very process has the port open."""
    with suppress(psutil.Error):
        return any(
            c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp")
        )
    return False


def stop(process: psutil.Process, grace: float) -> bool:
    """Ask it to end, and after `grace` seconds make it; whether it ended by itself."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    if _ended(process, grace):
        return True
    kill(process)
    return False


def kill(process: psutil.Process) -> None:
    """End it and what it has started at once (SIGKILL), and wait until it is gone."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        if os.getpgid(process.pid) == process.pid and process.is_running():
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    _ended(process, 30.0)


def _ended(process: psutil.Process, timeout: float) -> bool:
    try:
        process.wait(timeout)
    except psutil.TimeoutExpired:
        return False
    return True


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000
