"""wellspring-worker --pool PORT: a pool from which a runner on this machine has its workers (`workers: external`).

Beam's own pool starts an interpreter for each worker of each job, and two seconds of imports in it. Here one process
imports everything, once, and every worker is a fork of it. It holds no connection and no thread, so that a fork is safe;
the runner is talked to by another process, its parent. Either ends with the other.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

_LOOK_S = 0.2


def serve(port: int) -> NoReturn:
    """Give out workers until SIGTERM or SIGINT."""
    ours, theirs = socket.socketpair()
    nursery = os.fork()
    if nursery == 0:
        ours.close()
        _leave(_nurse, theirs)
    theirs.close()
    from pipelines.worker_service import listen

    words = ours.makefile("w", encoding="utf-8")
    with listen(port, lambda **word: print(json.dumps(word), file=words, flush=True)):
        print(f"workers can be had on port {port}", file=sys.stderr, flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    words.close()
    ours.close()
    os.waitpid(nursery, 0)
    os._exit(0)


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
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    import pipelines.stages  # noqa: F401  what the stages of a run need
    from pipelines import worker

    workers: dict[int, str] = {}
    for word in _words(line, workers):
        if "start" in word:
            child = os.fork()
            if child == 0:
                line.close()
                _leave(worker.work, word["start"], word["endpoint"])
            workers[child] = word["start"]
        else:
            _end([pid for pid, name in workers.items() if name == word["stop"]])
    _end(workers)


def _words(line: socket.socket, workers: dict[int, str]) -> Iterator[dict[str, str]]:
    """What the parent says, until it is gone; in between, whoever has ended is let go."""
    words = line.makefile("r", encoding="utf-8", buffering=1)
    while True:
        if select.select([line], [], [], _LOOK_S)[0]:
            said = words.readline()
            if not said:
                return
            yield json.loads(said)
        for pid in list(workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _say_how(workers.pop(pid), status)


def _say_how(name: str, status: int) -> None:
    """A worker's end is said where it was not asked for."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGTERM:
        how = signal.Signals(os.WTERMSIG(status)).name
        print(f"worker {name} was ended by {how}", file=sys.stderr, flush=True)


def _end(workers: Iterable[int]) -> None:
    for pid in list(workers):
        os.kill(pid, signal.SIGTERM)
