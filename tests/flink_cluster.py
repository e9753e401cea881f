"""A real Flink cluster on loopback for tests: a JobManager and a TaskManager, from the Flink that the job server holds.

They have its classes already, so that a job need not load its own copy of them.
"""

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.broker_process import free_port, is_alive, kill, spawn
from infra.flink.jar import cached_jar, job_server_jar
from infra.flink.local_flink import wait_until_it_listens
from infra.java import find_java
from infra.kafka_jars import JarsMissing

_OPENED = ("lang", "util", "nio", "util.concurrent", "lang.invoke", "net", "io", "time")
# Without Flink's shell scripts nobody works sizes of memory out: each must be given.
_SIZES = {
    "taskmanager.cpu.cores": "2",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.managed.size": "64m",
    "taskmanager.memory.network.min": "32m",
    "taskmanager.memory.network.max": "32m",
    "taskmanager.memory.framework.heap.size": "64m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.jvm-metaspace.size": "192m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
}


def job_server() -> Path:
    """The job server's jar; the test is skipped where it is not there and cannot be built."""
    if not cached_jar().is_file() and shutil.which("mvn") is None:
        pytest.skip("no job server for Flink: it is built by Maven and a JDK, once, and there is no mvn on the path")
    try:
        return job_server_jar()
    except JarsMissing as missing:
        pytest.skip(f"no job server for Flink: {missing}")


class Cluster:
    """A JobManager and one TaskManager, which can be killed and started anew."""

    def __init__(self, folder: Path, slots: int = 2) -> None:
        folder.mkdir(parents=True)
        self._folder, self._java, self._jar = folder, find_java(), job_server()
        self.rest, rpc = free_port(), free_port()
        self._settings: dict[str, Any] = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.rpc.port": rpc,
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.rest,
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": slots,
            "heartbeat.interval": 500,
            "heartbeat.timeout": 5_000,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 60,
            "restart-strategy.fixed-delay.delay": "500 ms",
            "classloader.resolve-order": "parent-first",
            "io.tmp.dirs": folder,
            **_SIZES,
        }
        (folder / "flink-conf.yaml").write_text("", "utf-8")
        self.start_manager()
        self.start_worker()

    @property
    def master(self) -> str:
        return f"127.0.0.1:{self.rest}"

    def start_manager(self) -> None:
        """A JobManager, which knows nothing of what one before it did."""
        self._manager = self._start("JobManager", "entrypoint.StandaloneSessionClusterEntrypoint", "256m")
        wait_until_it_listens(self._manager, self.rest, self._folder / "JobManager.log")

    def kill_manager(self) -> bool:
        """Kill the JobManager (SIGKILL), and with it what is known of the job; whether it ran."""
        return _kill(self._manager)

    def start_worker(self) -> None:
        """A TaskManager, which makes itself known to the JobManager."""
        self._worker = self._start("TaskManager", "taskexecutor.TaskManagerRunner", "320m")

    def kill_worker(self) -> bool:
        """Kill the TaskManager (SIGKILL); whether it ran."""
        return _kill(self._worker)

    def close(self) -> None:
        for process in (self._worker, self._manager):
            kill(process)

    def _start(self, name: str, main: str, heap: str) -> psutil.Process:
        opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED]
        java = [str(self._java.executable), f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *opened]
        logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        settings = [f"-D{key}={value}" for key, value in self._settings.items()]
        main = f"org.apache.flink.runtime.{main}"
        words = [*java, logging, "-cp", str(self._jar), main, "--configDir", str(self._folder), *settings]
        return spawn(words, self._folder / f"{name}.log")


def _kill(process: psutil.Process) -> bool:
    ran = is_alive(process)
    kill(process)
    return ran
