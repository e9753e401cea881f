"""Showing the figures: `/metrics` and `/healthz` over HTTP, to whoever reaches the address; nothing else, no log."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from socketserver import TCPServer

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from pipelines.metrics import Metrics

IDLE_S = 10.0
"""Whoever sends nothing for so long is cut off."""
POLL_S = 0.1
"""So soon it notices that it is to end."""
_PLAIN = "text/plain; charset=utf-8"


@contextmanager
def serving(host: str, port: int, metrics: Metrics) -> Iterator[int]:
    """Answer from threads until the block ends; the port, also where any was asked for. OSError where none can be had."""
    with _server(host, port, metrics) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), name="metrics", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _server(host: str, port: int, metrics: Metrics) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = AF_INET6 if ":" in host else AF_INET

        def server_bind(self) -> None:
            """Without asking a name service for the machine's own name."""
            TCPServer.server_bind(self)
            self.server_name, self.server_port = host, self.server_address[1]

        def handle_error(self, *_: object) -> None:
            """Somebody who hangs up in the middle is none of the operator's business."""

    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE_S
        server_version, sys_version = "wellspring", ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] == "/metrics":
                self._answer(200, CONTENT_TYPE_PLAIN_0_0_4, metrics.page())
            elif self.path == "/healthz":
                well = metrics.is_well
                self._answer(200 if well else 503, _PLAIN, b"ok\n" if well else b"the driver does not come round\n")
            else:
                self._answer(404, _PLAIN, b"there is /metrics, and /healthz\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are not logged."""

    return Server((host, port), Handler)
