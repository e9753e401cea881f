"""Small servers that speak enough of S3 to be asked, and do not hold what they promise: for the check that refuses them.

`ignores` takes no notice of `If-None-Match`; `unlocked` looks first and writes a moment later, as one after the other
would never tell; `loses` lets one win, and then keeps another's content; `sound` does as it should.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.serving import serving

VERSIONING = b"<VersioningConfiguration/>"
_ERROR = "<Error><Code>{}</Code></Error>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "LaxServer"

    def do_PUT(self) -> None:
        name, body = self._name, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        writer = self.headers.get("x-amz-meta-writer", "")
        self._answer(*self.server.put(name, body, writer, self.headers.get("If-None-Match") == "*"))

    def do_GET(self) -> None:
        if "versioning" in urlsplit(self.path).query:
            return self._answer(200, VERSIONING)
        found, wanted = self.server.held.get(self._name), self.headers.get("Range")
        if found is None:
            return self._answer(404, _ERROR.format("NoSuchKey").encode())
        if wanted is None:
            return self._answer(200, *found)
        return self._part(found[0], *wanted.removeprefix("bytes=").split("-"))

    def _part(self, content: bytes, first: str, last: str) -> None:
        """The bytes of a range, or the last so many."""
        if not content:
            return self._answer(416, _ERROR.format("InvalidRange").encode())
        start = int(first) if first else max(0, len(content) - int(last))
        part = content[start : int(last) + 1 if first else None]
        return self._answer(206, part, at=f"bytes {start}-{start + len(part) - 1}/{len(content)}")

    def do_HEAD(self) -> None:
        found = self.server.held.get(self._name)
        is_bucket = self._name.count("/") == 1
        self._answer(200 if found or is_bucket else 404, b"", found[1] if found else "")

    def do_DELETE(self) -> None:
        self.server.held.pop(self._name, None)
        self._answer(204, b"")

    @property
    def _name(self) -> str:
        return urlsplit(self.path).path

    def _answer(self, status: int, body: bytes, writer: str = "", at: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if at:
            self.send_header("Content-Range", at)
        if writer:
            self.send_header("x-amz-meta-writer", writer)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class LaxServer(ThreadingHTTPServer):
    """Holds objects in memory, as well as its fault lets it."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault, self.held = fault, dict[str, tuple[bytes, str]]()
        self._lock = threading.Lock()

    def put(self, name: str, body: bytes, writer: str, is_new: bool) -> tuple[int, bytes]:
        if self.fault == "unlocked":
            return self._put(name, body, writer, is_new)
        with self._lock:
            return self._put(name, body, writer, is_new and self.fault != "ignores")

    def _put(self, name: str, body: bytes, writer: str, is_new: bool) -> tuple[int, bytes]:
        if is_new and name in self.held:
            if self.fault == "loses":
                self.held[name] = (body, self.held[name][1])
            return 412, _ERROR.format("PreconditionFailed").encode()
        if self.fault == "unlocked":
            time.sleep(0.02)
        self.held[name] = (body, writer)
        return 200, b""


@contextmanager
def lax_server(fault: str) -> Iterator[dict[str, str]]:
    """The environment by which its clients find it, while the block lasts."""
    with serving(LaxServer(fault)) as server:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_REGION": "us-east-1",
        }
