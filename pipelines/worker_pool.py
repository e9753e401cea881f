"""wellspring-worker --pool PORT: a pool from which a runner on this machine has its workers (`workers: external`).

Beam's own pool starts an interpreter for each worker of each job, and two seconds of imports in it. Here one process
imports everything, once, and every worker is a fork of it. It holds no connection and no thread, so that a fork is safe;
the runner is talked to by another process, its parent. Where the former is killed, the latter begins anew; where the
latter is, both end, and a supervisor has to begin it again.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

_LOOK_S = 0.2
_DEATHS = 5
_ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def serve(port: int) -> NoReturn:
    """Give out workers until SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # they are waited for
    ours, theirs = socket.socketpair()
    nursery = os.fork()
    if nursery == 0:
        ours.close()
        _leave(_nurse, theirs)
    theirs.close()
    from pipelines.worker_service import listen

    with listen(port, lambda **word: ours.sendall(json.dumps(word).encode() + b"\n")):
        _tell(f"workers can be had on port {port}")
        status = _until_asked_or_dead(nursery)
    ours.close()
    if status is not None:
        _begin_anew(status)
    os.waitpid(nursery, 0)
    os._exit(0)


def _until_asked_or_dead(nursery: int) -> int | None:
    """Wait until this process is told to end, which gives None, or the nursery has: how.

    In a container this is the first process, and has the workers of a nursery that was killed for children, too.
    """
    while signal.sigwait(_ENDS) == signal.SIGCHLD:
        for pid, status in iter(_who_has_ended, (0, 0)):
            if pid == nursery:
                return status
    return None


def _who_has_ended() -> tuple[int, int]:
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0


def _begin_anew(status: int) -> NoReturn:
    """Where what forks the workers was killed, be a new pool; where it has ended by itself, end with its exit code."""
    if not os.WIFSIGNALED(status):
        os._exit(os.waitstatus_to_exitcode(status) or 1)
    _tell(f"the pool was ended by {signal.Signals(os.WTERMSIG(status)).name}, and is begun again")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _leave(work: Callable[..., None], *arguments: object) -> NoReturn:
    """Do the work in a process that was forked, and end it, whatever comes."""
    code = 1
    try:
        work(*arguments)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _nurse(line: socket.socket) -> None:
    """Import what workers need; then fork one for each word that asks for it, and end those that are no longer wanted."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
    import pipelines.stages  # noqa: F401  what the stages of a run need
    from pipelines import worker

    def begin(name: str, endpoint: str) -> int:
        child = os.fork()
        if child == 0:
            line.close()
            _leave(worker.work, name, endpoint)
        return child

    nursery = _Nursery(begin)
    for word in _words(line):
        if word is not None:
            nursery.heed(word)
        nursery.look()
    nursery.end(list(nursery.workers))


def _words(line: socket.socket) -> Iterator[dict[str, str] | None]:
    """What the parent says, until it is gone; None now and then, while it says nothing."""
    heard = b""
    while True:
        if select.select([line], [], [], _LOOK_S)[0]:
            more = line.recv(65_536)
            if not more:
                return
            *whole, heard = (heard + more).split(b"\n")
            yield from map(json.loads, whole)
        yield None


@dataclass
class _Worker:
    name: str
    endpoint: str
    deaths: int = 0


class _Nursery:
    """The workers by their process ids.

    One that dies unasked is begun again, a few times: a runner that asked for it and has never heard of it would wait
    for ever. One that it has heard of it gives up by itself.
    """

    def __init__(self, begin: Callable[[str, str], int]) -> None:
        self._begin = begin
        self.workers: dict[int, _Worker] = {}

    def heed(self, word: dict[str, str]) -> None:
        """Begin a worker, or end it."""
        if "start" in word:
            self._add(_Worker(word["start"], word["endpoint"]))
        else:
            self.end([pid for pid, worker in self.workers.items() if worker.name == word["stop"]])

    def look(self) -> None:
        """See who has died."""
        for pid in list(self.workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            worker = self.workers.pop(pid)
            if os.WIFSIGNALED(status):
                worker.deaths += 1
                again = ", and is begun again" if worker.deaths <= _DEATHS else ""
                _tell(f"worker {worker.name} was ended by {signal.Signals(os.WTERMSIG(status)).name}{again}")
                if again:
                    self._add(worker)

    def end(self, pids: Iterable[int]) -> None:
        """End workers, and wait for it."""
        for pid in pids:
            del self.workers[pid]
            os.kill(pid, signal.SIGKILL)  # it holds nothing that it would have to bring to an end
            os.waitpid(pid, 0)

    def _add(self, worker: _Worker) -> None:
        self.workers[self._begin(worker.name, worker.endpoint)] = worker


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
