"""The pool of workers: what it is told, however it arrives, and what becomes of those that die."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from pipelines import worker_pool
from pipelines.worker_pool import _Nursery, _words


class Sleepers:
    """Stand for workers; `begun` are their names in order."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, name: str, endpoint: str) -> int:
        self.begun.append(name)
        self.processes.append(subprocess.Popen(["sleep", "600"]))
        return self.processes[-1].pid


@pytest.fixture
def sleepers() -> Iterator[Sleepers]:
    made = Sleepers()
    yield made
    for process in made.processes:
        process.returncode = 0  # the nursery has waited for it


@pytest.fixture
def nursery(sleepers: Sleepers) -> Iterator[_Nursery]:
    made = _Nursery(sleepers)
    yield made
    made.end(list(made.workers))


def start(name: str) -> dict[str, str]:
    return {"start": name, "endpoint": "127.0.0.1:1"}


def die(nursery: _Nursery, name: str) -> None:
    (pid,) = [pid for pid, worker in nursery.workers.items() if worker.name == name]
    os.kill(pid, signal.SIGKILL)
    while pid in nursery.workers:
        nursery.look()


def test_words_that_arrive_together_or_in_pieces_are_each_heeded() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b'{"stop": "1"}\n{"stop": "2"}\n{"st')
        words = (word for word in _words(theirs) if word is not None)
        assert [next(words), next(words)] == [{"stop": "1"}, {"stop": "2"}]
        ours.sendall(b'op": "3"}\n')
        assert next(words) == {"stop": "3"}
        ours.shutdown(socket.SHUT_WR)
        assert list(words) == []


def test_a_worker_that_dies_unasked_is_begun_again_and_not_for_ever(
    nursery: _Nursery, sleepers: Sleepers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker_pool, "_DEATHS", 2)
    nursery.heed(start("1-1"))
    nursery.heed(start("1-2"))
    for _ in range(3):
        die(nursery, "1-1")
    assert sleepers.begun == ["1-1", "1-2", "1-1", "1-1"]
    assert [worker.name for worker in nursery.workers.values()] == ["1-2"]
    said = capfd.readouterr().err.splitlines()
    again = "worker 1-1 was ended by SIGKILL, and is begun again"
    assert said == [again, again, "worker 1-1 was ended by SIGKILL"]


def test_a_worker_that_is_stopped_is_gone_and_the_others_are_not(nursery: _Nursery, sleepers: Sleepers) -> None:
    nursery.heed(start("1-1"))
    nursery.heed(start("1-2"))
    nursery.heed({"stop": "1-1"})
    nursery.look()
    assert not psutil.pid_exists(sleepers.processes[0].pid)
    assert [worker.name for worker in nursery.workers.values()] == ["1-2"] and len(sleepers.begun) == 2


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # the child begins processes and waits
@pytest.mark.parametrize("is_dead", [True, False])
def test_a_pool_waits_for_its_nursery_and_not_for_workers_that_it_has_inherited(is_dead: bool) -> None:
    """In a container it is the first process, to which those of a nursery that was killed belong."""
    pool = os.fork()
    if pool == 0:
        signal.pthread_sigmask(signal.SIG_BLOCK, worker_pool._ENDS)
        inherited, nursery = subprocess.Popen(["true"]), subprocess.Popen(["sleep", "600"])
        os.waitid(os.P_PID, inherited.pid, os.WEXITED | os.WNOWAIT)
        kill = f"kill -KILL {nursery.pid}" if is_dead else f"kill -TERM {os.getpid()}"
        subprocess.Popen(["sh", "-c", f"sleep 0.3; {kill}"])
        status = worker_pool._until_asked_or_dead(nursery.pid)
        if not is_dead:
            nursery.kill()
        os._exit(0 if status == (signal.SIGKILL if is_dead else None) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pool, 0)[1]) == 0
