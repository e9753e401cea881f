"""Serving the desk: one process, its own socket, no log of who asked for which address."""

import signal
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network, ip_network
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


def serve(app: Any, listener: socket.socket, proxies: Sequence[str] = ()) -> None:
    """Answer until a signal says to stop, and then what has been asked. `proxies` may say for whom they ask."""
    with _ending_quietly():
        uvicorn.Server(config_of(app, proxies)).run(sockets=[listener])


def config_of(app: Any, proxies: Sequence[str]) -> uvicorn.Config:
    """How it is served. Who asks is the word of these addresses and networks, and of nobody else."""
    return uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        lifespan="off",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=[*proxies, *_in_ipv6(proxies)],
        timeout_graceful_shutdown=5,
    )


def _in_ipv6(proxies: Iterable[str]) -> Iterator[str]:
    """The same of IPv4, as a socket for both sees them."""
    for network in map(ip_network, proxies):
        if isinstance(network, IPv4Network):
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"


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
