"""A server that gives credentials with an end, before a real one that knows none: it checks a request's signature and
token, answers as Amazon's does where the token has expired, and hands everything else on, signed anew.

    with token_server(s3) as server:
        server.lend("lake-1")
        server.expires("lake-1", when=lambda method, path: method == "PUT")  # with the first request that fits
"""

import hashlib
import hmac
import http.client
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.s3_server import S3Server
from tests.serving import serving

_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>{}</Message>{}</Error>'
_EXPIRED = (400, "ExpiredToken", "The provided token has expired.")
_UNKNOWN = (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
_FORGED = (
    403,
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided.",
)

_TOKEN = "x-amz-security-token"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+?), ?SignedHeaders=(\S+?), ?Signature=(\S+)")
When = Callable[[str, str], bool]


class Lent(NamedTuple):
    """Credentials with an end."""

    key: str
    secret: str
    token: str

    def environment(self, prefix: str = "") -> dict[str, str]:
        """By what a client has them; with a prefix, the vault's."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        return {f"{prefix}{name}": value for name, value in zip(names, self, strict=True)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # else each answer waits for an acknowledgement of its first half
    server: "TokenServer"
    _real: http.client.HTTPConnection | None = None

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if refusal := self.server.refusal(self.command, self.path, headers):
            status, code, message = refusal
            said = _ERROR.format(code, message, f"<Token-0>{headers.get(_TOKEN, '')}</Token-0>")
            return self._answer(status, [("Content-Type", "application/xml")], said.encode())
        try:
            answer = self._ask(self.server.signed_anew(self.command, self.path, headers), body)
            self._answer(answer.status, answer.getheaders(), answer.read())
        except (OSError, http.client.HTTPException):  # the real one is away, and so is this
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _hand_on

    def handle_expect_100(self) -> bool:
        """At once: a client waits a second for it before it sends a body without."""
        done = super().handle_expect_100()
        self.wfile.flush()
        return done

    def _ask(self, headers: Mapping[str, str], body: bytes) -> http.client.HTTPResponse:
        if self._real is None:
            self._real = http.client.HTTPConnection(self.server.real, timeout=30)
        self._real.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if name not in _HOP_BY_HOP:
                self._real.putheader(name, value)
        self._real.endheaders(body)
        return self._real.getresponse()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {*_HOP_BY_HOP, "content-length"}:
                self.send_header(name, value)
        told = {name.lower(): value for name, value in headers}.get("content-length", "0")
        self.send_header("Content-Length", told if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def finish(self) -> None:
        if self._real is not None:
            self._real.close()
        super().finish()

    def log_message(self, *_: Any) -> None:
        pass


class TokenServer(ThreadingHTTPServer):
    """`refused` has the method and path of each request that came with a token that had expired."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, real: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.real = urlsplit(real.endpoint).netloc
        self._own = (real.environment["AWS_ACCESS_KEY_ID"], real.environment["AWS_SECRET_ACCESS_KEY"])
        self.refused = list[tuple[str, str]]()
        self.lent = dict[str, Lent]()
        self._until = dict[str, float]()
        self._expiring: tuple[str, When] | None = None
        self._turn = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def lend(self, name: str, seconds: float = float("inf")) -> Lent:
        """Credentials for so long."""
        lent = Lent(f"ASIA-{name}", f"secret-{name}", f"token-{name}")
        with self._turn:
            self.lent[lent.token] = lent
            self._until[lent.token] = time.monotonic() + seconds
        return lent

    def expires(self, lent: Lent, when: When = lambda method, path: True) -> None:
        """They are good until the first request with them for which `when` holds, of its method and path."""
        with self._turn:
            self._expiring = lent.token, when

    def refusal(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[int, str, str] | None:
        """Why the request is not handed on: a status, a code and a message."""
        lent = self.lent.get(headers.get(_TOKEN, ""))
        signed = _SIGNED.match(headers.get("authorization", ""))
        if lent is None or signed is None or signed[1] != lent.key:
            return _UNKNOWN
        if _signature(method, target, headers, lent.secret, signed[2], signed[3]) != signed[4]:
            return _FORGED
        with self._turn:
            if self._expiring and lent.token == self._expiring[0] and self._expiring[1](method, urlsplit(target).path):
                self._until[lent.token], self._expiring = 0.0, None
            if time.monotonic() < self._until[lent.token]:
                return None
            self.refused.append((method, urlsplit(target).path))
        return _EXPIRED

    def signed_anew(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers for the real server, which takes no token from the one user that it has."""
        signed = _SIGNED.match(headers["authorization"])
        assert signed is not None
        kept = {name: value for name, value in headers.items() if name != _TOKEN}
        names = ";".join(name for name in signed[3].split(";") if name != _TOKEN)
        key, secret = self._own
        signature = _signature(method, target, kept, secret, signed[2], names)
        credential = f"Credential={key}/{signed[2]}, SignedHeaders={names}, Signature={signature}"
        return {**kept, "authorization": f"AWS4-HMAC-SHA256 {credential}"}


def _signature(method: str, target: str, headers: Mapping[str, str], secret: str, scope: str, signed: str) -> str:
    """Signature Version 4 over these of the headers."""
    path, _, query = target.partition("?")
    asked = "&".join(sorted(part if "=" in part else f"{part}=" for part in query.split("&") if part))
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed.split(";")]
    request = "\n".join([method, path, asked, *lines, "", signed, headers["x-amz-content-sha256"]])
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    said = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    return hmac.digest(key, said.encode(), "sha256").hex()


@contextmanager
def token_server(s3: S3Server) -> Iterator[TokenServer]:
    """Before that server, while the block lasts."""
    with serving(TokenServer(s3)) as server:
        yield server
