"""The parts of the local broker that need no broker: ports, processes, settings, and whether it is ready."""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from infra import broker_process, local_kafka
from infra.broker_process import (
    PortTaken,
    Running,
    free_port,
    is_alive,
    is_free,
    is_locked,
    listens_on,
    recall,
    spawn,
    stop,
)
from infra.broker_ready import LOOPBACK, Metadata, ask_metadata, parse_metadata
from infra.broker_settings import BrokerFolder, last_port, server_properties
from infra.broker_start import BrokerFailed, cluster_id, new_cluster_id
from infra.local_kafka import LocalKafka, Stopped

SLEEPER = ["/bin/sh", "-c", "sleep 60 & wait", "mark"]
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; sleep 60 & echo ready; wait"]


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[psutil.Process]:
    process = spawn(SLEEPER, tmp_path / "console.log")
    while "mark" not in process.cmdline():  # for a moment a new process has none
        time.sleep(0.01)
    yield process
    stop(process, 5.0)


def running(process: psutil.Process) -> Running:
    return Running(process.pid, process.create_time(), 9092, "cluster", 0, "17", "4.4.0", None)


def write(file: Path, running: Running) -> Path:
    file.write_text(json.dumps(asdict(running)))
    return file


def test_a_port_with_a_listener_is_taken() -> None:
    with listening() as port:
        assert not is_free(port)
    assert is_free(port)


def test_a_port_with_a_listener_on_every_address_is_taken() -> None:
    with socket.create_server(("", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_port_is_free_again_after_its_connections_were_closed() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)):
            accepted, _ = server.accept()
            accepted.close()
    assert is_free(port)


def test_a_free_port_is_neither_taken_nor_one_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(), free_port()
    with listening() as taken:
        monkeypatch.setattr(broker_process, "_PORTS", (taken, first, second))
        assert {free_port(first) for _ in range(20)} == {second}


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with listening() as port, pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1 is taken"):
        LocalKafka(tmp_path).up(port)
    assert not (tmp_path / "data").exists()


def test_a_secured_broker_takes_the_port_after_its_own_too(tmp_path: Path) -> None:
    with listening() as port, pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1 is taken"):
        LocalKafka(tmp_path, secure=True).up(port - 1)
    assert not (tmp_path / "data").exists()


class Starts:
    """Stands for the start of a broker: the ports it was asked for; somebody else is faster at the first ones."""

    def __init__(self, taken: int) -> None:
        self.taken = taken
        self.ports: list[int] = []

    def __call__(self, folder: BrokerFolder, runtime: object, port: int, extra: dict[str, str]) -> Running:
        self.ports.append(port)
        if len(self.ports) <= self.taken:
            raise PortTaken("taken")
        return Running(1, 0.0, port, "cluster", 0, "17", "4.4.0", None)


@pytest.fixture
def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_kafka, "prepare", lambda on_progress: None)
    monkeypatch.setattr(local_kafka, "lay_out", lambda folder, runtime, extra: None)


@pytest.mark.usefixtures("without_java")
def test_where_somebody_takes_the_port_meanwhile_another_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(taken=2)
    monkeypatch.setattr(local_kafka, "start", starts)
    assert LocalKafka(tmp_path).up().port == starts.ports[-1]
    assert len(set(starts.ports)) == 3
    starts = Starts(taken=3)
    monkeypatch.setattr(local_kafka, "start", starts)
    with pytest.raises(PortTaken):
        LocalKafka(tmp_path).up()


@pytest.mark.usefixtures("without_java")
def test_a_port_that_was_asked_for_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(taken=1)
    monkeypatch.setattr(local_kafka, "start", starts)
    port = free_port()
    with pytest.raises(PortTaken):
        LocalKafka(tmp_path).up(port)
    assert starts.ports == [port]


@pytest.mark.usefixtures("without_java")
def test_the_port_of_last_time_is_taken_if_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(taken=0)
    monkeypatch.setattr(local_kafka, "start", starts)
    port = free_port()
    (tmp_path / "server.properties").write_text(server_properties(port, 1, tmp_path, {}))
    assert LocalKafka(tmp_path).up().port == port
    with socket.create_server((LOOPBACK, port)):
        assert LocalKafka(tmp_path).up().port != port


def test_the_owner_of_a_port_is_told_from_others(sleeper: psutil.Process) -> None:
    with listening() as port:
        assert listens_on(psutil.Process(), port)
        assert not listens_on(sleeper, port)


def test_a_process_is_remembered(tmp_path: Path, sleeper: psutil.Process) -> None:
    pid_file = write(tmp_path / "broker.json", running(sleeper))
    found = recall(pid_file, "mark")
    assert found is not None
    assert found == (running(sleeper), sleeper)


def test_another_process_with_the_same_id_is_not_ours(tmp_path: Path, sleeper: psutil.Process) -> None:
    earlier = replace(running(sleeper), started=sleeper.create_time() - 60)
    assert recall(write(tmp_path / "broker.json", earlier), "mark") is None
    assert recall(write(tmp_path / "broker.json", running(sleeper)), "another mark") is None


def test_nothing_of_anybody_else_is_stopped(tmp_path: Path, sleeper: psutil.Process) -> None:
    write(tmp_path / "broker.json", running(sleeper))
    assert LocalKafka(tmp_path).down() is Stopped.NOT_RUNNING
    LocalKafka(tmp_path).kill()
    assert is_alive(sleeper)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_pid_file_means_that_nothing_runs(tmp_path: Path, content: str) -> None:
    (tmp_path / "broker.json").write_text(content)
    assert not LocalKafka(tmp_path).status().running


def test_one_that_ended_is_not_alive_though_nobody_waited_for_it(tmp_path: Path, sleeper: psutil.Process) -> None:
    pid_file = write(tmp_path / "broker.json", running(sleeper))
    sleeper.kill()
    deadline = time.monotonic() + 30
    while is_alive(sleeper) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sleeper.status() == psutil.STATUS_ZOMBIE
    assert not is_alive(sleeper)
    assert recall(pid_file, "mark") is None


def test_stopped_by_asking(tmp_path: Path) -> None:
    assert stop(spawn(SLEEPER, tmp_path / "console.log"), 30.0)


def test_stopped_by_asking_whatever_its_starter_ignores(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = spawn(SLEEPER, tmp_path / "console.log")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGTERM, before)
    assert stop(process, 30.0)


def test_stopped_by_force_with_all_that_it_started(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    process = spawn(STUBBORN, console)
    while "ready" not in console.read_text():
        time.sleep(0.01)
    family = [process, *process.children()]
    assert len(family) == 2
    assert not stop(process, 0.2)
    deadline = time.monotonic() + 30
    while any(is_alive(member) for member in family):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_gets_a_session_of_its_own(sleeper: psutil.Process) -> None:
    assert os.getsid(sleeper.pid) == sleeper.pid


def test_nothing_runs_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path / "nowhere")
    status = kafka.status()
    assert (status.running, status.version, status.bootstrap) == (False, "4.4.0", None)
    assert kafka.down() is Stopped.NOT_RUNNING
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerFailed, match="Cannot make the folder"):
        LocalKafka(tmp_path / "file" / "kafka").up()


def test_settings_are_on_loopback_and_extra_ones_win(tmp_path: Path) -> None:
    extra = {"message.max.bytes": "5000", "log.retention.check.interval.ms": "100"}
    text = server_properties(9092, 9093, tmp_path / "data", extra)
    said = dict(line.split("=", 1) for line in text.splitlines())
    assert said["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert said["auto.create.topics.enable"] == "false"
    assert said["message.max.bytes"] == "5000"
    assert said["log.retention.check.interval.ms"] == "100"
    assert len(said) == len(text.splitlines())


def test_settings_survive_any_path() -> None:
    text = server_properties(1, 2, Path("/tmp/Zoë's 文\\new"), {})
    assert "log.dirs=/tmp/Zo\\u00eb's \\u6587\\\\new\n" in text
    assert text.isascii()


def test_the_last_port_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    assert last_port(file) is None
    file.write_text(server_properties(21_234, 21_235, tmp_path, {}))
    assert last_port(file) == 21_234


def test_cluster_ids_are_what_kafka_accepts() -> None:
    chosen = [new_cluster_id() for _ in range(500)]
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", one) for one in chosen)
    assert len(set(chosen)) == 500


def test_a_lock_is_seen_while_another_process_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert not is_locked(lock)
    lock.touch()
    assert not is_locked(lock)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_locked(lock)
        holder.communicate(b"\n")
    assert not is_locked(lock)


def test_a_data_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(BrokerFailed, match="is not a data folder of Apache Kafka"):
        cluster_id(BrokerFolder(tmp_path))


def answer(ports: list[int], cluster: bytes | None, controller: int) -> bytes:
    """A Metadata response of version 2, after Kafka's protocol guide."""
    brokers = b"".join(struct.pack(">ih", 1, 9) + b"127.0.0.1" + struct.pack(">ih", port, -1) for port in ports)
    named = struct.pack(">h", -1) if cluster is None else struct.pack(">h", len(cluster)) + cluster
    return struct.pack(">ii", 1, len(ports)) + brokers + named + struct.pack(">ii", controller, 0)


@pytest.mark.parametrize(
    ("ports", "cluster", "controller", "ready"),
    [([9092], b"abc", 1, True), ([], b"abc", 1, False), ([9092], b"abc", -1, False), ([1, 2], None, 1, True)],
)
def test_what_a_broker_says(ports: list[int], cluster: bytes | None, controller: int, ready: bool) -> None:
    said = parse_metadata(answer(ports, cluster, controller))
    assert said == Metadata(cluster.decode() if cluster else None, tuple(ports), controller)
    assert said.ready is ready


def test_an_answer_cut_short_is_none() -> None:
    whole = answer([9092], b"abc", 1)
    for length in range(len(whole) - 4):
        with pytest.raises(struct.error):
            parse_metadata(whole[:length])


@pytest.mark.parametrize(
    ("reply", "understood"),
    [
        (struct.pack(">i", len(answer([7], b"x", 1))) + answer([7], b"x", 1), True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (struct.pack(">i", 100) + b"short", False),
        (struct.pack(">ii", -1, 0), False),
        (b"", False),
    ],
)
def test_only_a_broker_is_understood(reply: bytes, understood: bool) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(1024)
                accepted.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        said = ask_metadata(server.getsockname()[1], 5.0)
        thread.join()
    assert (said == Metadata("x", (7,), 1)) is understood
    assert (said is None) is not understood


def test_nobody_answers() -> None:
    assert ask_metadata(free_port(), 1.0) is None
