"""Serving the desk: one process, its own socket, no log of who asked for which address."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for browsers; OSError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def serve(app: Any, listener: socket.socket, behind_proxy: bool) -> None:
    """Answer until a signal says to stop, and then what has been asked. Who asked is the proxy's word where there is one."""
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        lifespan="off",
        server_header=False,
        proxy_headers=behind_proxy,
        timeout_graceful_shutdown=5,
    )
    with _ending_quietly():
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """The server stops at a signal and then raises it once more, for whoever was there before: that is us."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _Ended:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Ended(BaseException):
    """A signal has ended the server, as it should."""


def _end(*_: Any) -> None:
    raise _Ended
