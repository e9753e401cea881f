"""Beam's job server for Flink and a worker pool on this machine: two processes that outlive whoever starts them.

    flink = LocalFlink(Path("flink"), job_port=8099, pool_port=8100)
    flink.up()
    flink.down()

Without an address of a cluster the job server runs each job on a small cluster inside itself. The ports of both are open
on every interface, whatever they are told: a firewall has to keep others away, who could otherwise run code here.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.broker_process import PortTaken, free_port, is_alive, is_free, kill, listens_on, spawn, stop
from infra.broker_ready import LOOPBACK
from infra.flink.jar import job_server_jar
from infra.java import find_java
from infra.kafka_jars import Progress, quiet

IN_ITSELF = "[local]"
MEMORY = "-Xmx3g"
FRUGAL = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
)  # readings do not pass through Java: what it costs is its start
RESTARTS = """restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: {retries}
restart-strategy.fixed-delay.delay: 1 s
"""
START_SECONDS = 120.0
STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_SAME_START_SECONDS = 2.0
_OPENED = ("lang", "util", "nio", "util.concurrent", "lang.invoke", "net", "io", "time")


class FlinkFailed(Exception):
    """The job server or the worker pool did not start; the text says where its log is."""


@dataclass(frozen=True)
class LocalFlink:
    """The processes of one folder. `master` is the address of a JobManager's REST interface, `jar` that of Beam."""

    folder: Path
    job_port: int
    pool_port: int
    master: str = IN_ITSELF
    jar: Path | None = None
    memory: str = MEMORY
    retries: int = 60

    def up(self, on_progress: Progress = quiet) -> None:
        """Start what does not run yet, and return when both listen. JarsMissing, JavaMissing, PortTaken, FlinkFailed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._start("job-server", self.job_port, lambda: self._job_server(on_progress))
        self._start("worker-pool", self.pool_port, lambda: worker_pool(self.pool_port))

    def down(self) -> bool:
        """Stop both; whether anything ran."""
        found = [process for process in map(self._recall, ("worker-pool", "job-server")) if process is not None]
        for process in found:
            stop(process, STOP_SECONDS)
        for file in self.folder.glob("*.pid"):
            file.unlink()
        return bool(found)

    def kill(self, name: str) -> None:
        """End `job-server` or `worker-pool` as a crash would (SIGKILL)."""
        process = self._recall(name)
        if process is not None:
            kill(process)

    def status(self) -> dict[str, int | None]:
        """The process ids of both; None for what does not run."""
        found = {name: self._recall(name) for name in ("job-server", "worker-pool")}
        return {name: None if process is None else process.pid for name, process in found.items()}

    def _job_server(self, on_progress: Progress) -> list[str]:
        java, jar = find_java(), self.jar or job_server_jar(on_progress)
        on_progress("starting the job server", 0, 0)
        opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED]
        others = [f"--{kind}-port={free_port(self.job_port, self.pool_port)}" for kind in ("artifact", "expansion")]
        folders = [f"--artifacts-dir={self.folder / 'artifacts'}", f"--flink-conf-dir={self._conf()}"]
        return [
            *(str(java.executable), self.memory, *FRUGAL, *java.quiet, *opened, "-jar", str(jar)),
            *(f"--flink-master={self.master}", f"--job-host={LOOPBACK}", f"--job-port={self.job_port}"),
            *(*others, *folders),
        ]

    def _conf(self) -> Path:
        """Flink's settings. How often a bounded job is begun anew is one of them: Beam's option for it is ignored."""
        conf = self.folder / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "flink-conf.yaml").write_text(RESTARTS.format(retries=self.retries), "utf-8")
        return conf

    def _start(self, name: str, port: int, command: Callable[[], list[str]]) -> None:
        if self._recall(name) is not None:
            return
        if not is_free(port):
            raise PortTaken(f"Port {port} on {LOOPBACK} is taken by another program: choose another or stop it.")
        log = self.folder / f"{name}.log"
        process = spawn(command(), log)
        self._remember(name, process)
        wait_until_it_listens(process, port, log)

    def _remember(self, name: str, process: psutil.Process) -> None:
        content = json.dumps({"pid": process.pid, "started": process.create_time()})
        (self.folder / f"{name}.pid").write_text(content, "utf-8")

    def _recall(self, name: str) -> psutil.Process | None:
        """The process that was started, if it is still that one."""
        with suppress(FileNotFoundError, ValueError, KeyError, psutil.Error):
            said = json.loads((self.folder / f"{name}.pid").read_text("utf-8"))
            process = psutil.Process(said["pid"])
            if is_alive(process) and abs(process.create_time() - said["started"]) < _SAME_START_SECONDS:
                return process
        return None


def worker_pool(port: int) -> list[str]:
    """The command that gives out workers of this installation on the port."""
    return [str(Path(sys.executable).with_name("wellspring-worker")), "--pool", str(port)]


def wait_until_it_listens(process: psutil.Process, port: int, log: Path) -> None:
    """Return when the process has the port open; it is gone again if it does not come to that."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if listens_on(process, port):
            return
        if not is_alive(process):
            raise FlinkFailed(f"What was to listen on port {port} has ended by itself; {log} says why.")
        time.sleep(_LOOK_SECONDS)
    kill(process)
    raise FlinkFailed(f"Nothing listens on port {port} after {START_SECONDS:.0f} s; {log} says how far it came.")
