"""A source of credentials that renew themselves, as a container has one, for the SDK in any process of a test.

Each has an end so near to when the SDK renews that it does every few seconds; at the server they are good for longer, as
they are in earnest, but not for as long as a test.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.s3_tokens import TokenServer
from tests.serving import serving

RENEWED_S, GOOD_S = 3.0, 20.0
_SDK_RENEWS = timedelta(minutes=15)
"""So long before their end, unless somebody else is at it; ten minutes before, everybody waits."""


class _Handler(BaseHTTPRequestHandler):
    server: "Source"

    def do_GET(self) -> None:
        body = self.server.next(self.path.strip("/"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Source(ThreadingHTTPServer):
    """Lends by `/NAME`, in the words of a container's endpoint and in those of a `credential_process`.

    `given` is how often to each name.
    """

    daemon_threads = True

    def __init__(self, server: TokenServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._server, self._turn = server, threading.Lock()
        self.given = dict[str, int]()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def next(self, name: str) -> bytes:
        with self._turn:
            self.given[name] = self.given.get(name, 0) + 1
            lent = self._server.lend(f"{name}-renewed-{self.given[name]}", GOOD_S)
        end = datetime.now(UTC) + _SDK_RENEWS + timedelta(seconds=RENEWED_S)
        keys = {"AccessKeyId": lent.key, "SecretAccessKey": lent.secret, "Token": lent.token}
        return json.dumps(
            {"Version": 1, **keys, "SessionToken": lent.token, "Expiration": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        ).encode()


@contextmanager
def credentials_source(server: TokenServer) -> Iterator[Source]:
    """Of that server, while the block lasts."""
    with serving(Source(server)) as source:
        yield source
