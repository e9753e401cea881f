"""Alerts on their real way: a webhook over TLS whose signature is computed apart, a mail server with STARTTLS and login.

Both receivers run in the test, on loopback; the mail server speaks as much of SMTP as a client needs.
"""

import base64
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines import alert_delivery
from pipelines.alert_delivery import SIGNATURE, TIMESTAMP, NotDelivered, deliver
from pipelines.alerting import send_test, status
from pipelines.judging import Judging
from pipelines.lookout import Lookout
from pipelines.metrics import Metrics
from quality.alert_settings import AlertSettings, Receiver
from quality.alerts import Change, job_condition
from tests.alerted import Watched
from tests.canaries import member, subject
from tests.certificates import Authority
from tests.documents import OPERATORS, blocks
from tests.offline import Offline
from tests.readings import grant, linked, message
from tests.serving import serving

SECRET = "the secret that both sides know"
PASSWORD = "the password of the mailbox"
VALUE = 417.25
DESK = "https://desk.example.org"


def now_us() -> int:
    return time.time_ns() // 1000


def news() -> list[Change]:
    return [Change("0123456789abcdef" * 2, now_us(), None, job_condition("sleep", False))]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The certificate of an authority, and what it signed for this machine."""
    folder = tmp_path_factory.mktemp("tls")
    made = Authority(folder, "ca")
    return made.certificate, made.issue("server")


def tls_of(authority: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[1])
    return context


# -- webhook


@dataclass
class Hook:
    """A receiver that answers with the statuses it is given, then with 204."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    delay_s: float = 0.0
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def hook(authority: tuple[Path, Path]) -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.came.append((dict(self.headers), body))
            time.sleep(made.delay_s)
            self.send_response(made.statuses.pop(0) if made.statuses else 204)
            self.send_header("Location", f"https://127.0.0.1:{made.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = tls_of(authority).wrap_socket(server.socket, server_side=True)
    made.port = server.server_address[1]
    with serving(server):
        yield made


def to_hook(port: int, ca: Path, **more: Any) -> dict[str, Any]:
    url = f"https://127.0.0.1:{port}/a-path-that-is-secret"
    return {"name": "ops", "kind": "webhook", "url": url, "secret": SECRET, "ca_file": str(ca), **more}


def parsed(block: dict[str, Any]) -> Receiver:
    return AlertSettings.model_validate({"receivers": [block]}).receivers[0]


def by_hand(secret: bytes, text: bytes) -> str:
    """HMAC-SHA256 as RFC 2104 says it, without the library that signs."""
    key = secret.ljust(64, b"\0") if len(secret) <= 64 else hashlib.sha256(secret).digest().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + text).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).hexdigest()


def test_a_webhook_gets_signed_json_that_its_receiver_can_verify(authority: tuple[Path, Path]) -> None:
    with hook(authority) as made:
        deliver(parsed(to_hook(made.port, authority[0])), news(), DESK, now_us())
    ((headers, body),) = made.came
    assert headers[SIGNATURE] == "v1=" + by_hand(SECRET.encode(), headers[TIMESTAMP].encode() + b"." + body)
    assert abs(int(headers[TIMESTAMP]) - time.time()) < 60
    (alert,) = json.loads(body)["alerts"]
    assert (alert["study"], alert["about"], alert["state"]) == ("sleep", "job", "alarm")
    (example,) = [block.text for block in blocks(OPERATORS) if block.mark == "alerts-receiver"]
    found: dict[str, Any] = {}
    exec(example, found)
    is_ours = found["is_ours"]
    assert is_ours(SECRET.encode(), headers, body)
    assert not is_ours(SECRET.encode(), headers, body + b" ") and not is_ours(b"another", headers, body)
    old = {**headers, TIMESTAMP: str(int(headers[TIMESTAMP]) - 600)}
    old[SIGNATURE] = "v1=" + by_hand(SECRET.encode(), old[TIMESTAMP].encode() + b"." + body)
    assert not is_ours(SECRET.encode(), old, body)


def test_the_secret_may_lie_in_a_file(authority: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "secret"
    with hook(authority) as made:
        receiver = parsed(to_hook(made.port, authority[0], secret=None, secret_file=str(file)))
        with pytest.raises(NotDelivered, match="the file of its secret cannot be read"):
            deliver(receiver, news(), DESK, now_us())
        file.write_text(f"{SECRET}\n")
        deliver(receiver, news(), DESK, now_us())
    assert len(made.came) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 410, 500])
def test_what_is_not_taken_is_a_failure_and_no_redirect_is_followed(authority: tuple[Path, Path], status: int) -> None:
    with hook(authority) as made:
        made.statuses = [status]
        with pytest.raises(NotDelivered, match=f"^it answers with status {status}$"):
            deliver(parsed(to_hook(made.port, authority[0])), news(), DESK, now_us())
    assert len(made.came) == 1


def test_failures_are_said_in_words_without_address_or_secret(
    authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_delivery, "TIMEOUT_S", 0.5)
    with hook(authority) as made:
        untrusted = {**to_hook(made.port, authority[0]), "ca_file": None}
        assert _why(untrusted) == "its certificate is not trusted"
        made.delay_s = 1.5
        assert _why(to_hook(made.port, authority[0])) == "no answer in time"
        assert _why(to_hook(made.port, authority[1].with_name("none"))) == "its ca_file cannot be read"
    assert _why(to_hook(made.port, authority[0])) == "it cannot be reached"


def _why(block: dict[str, Any]) -> str:
    with pytest.raises(NotDelivered) as raised:
        deliver(parsed(block), news(), DESK, now_us())
    chain = f"{raised.value!r} {raised.value.__cause__!r}"
    assert SECRET not in chain and "secret" not in chain and "127.0.0.1" not in chain
    return str(raised.value)


# -- mail


@dataclass
class Mails:
    """A mail server that wants STARTTLS and a login."""

    port: int = 0
    password: str = PASSWORD
    came: list[bytes] = field(default_factory=list)
    plain: list[bytes] = field(default_factory=list)  # all that was said before TLS


@contextmanager
def mails(authority: tuple[Path, Path]) -> Iterator[Mails]:
    made, listener = Mails(), socket.create_server(("127.0.0.1", 0))
    made.port = listener.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                _speak(made, connection, tls_of(authority))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def _speak(made: Mails, connection: socket.socket, tls: ssl.SSLContext) -> None:
    with ExitStack() as opened:
        _session(made, connection, tls, opened)


def _session(made: Mails, connection: socket.socket, tls: ssl.SSLContext, opened: ExitStack) -> None:
    """One session, as RFC 5321, 3207 and 4954 have it."""
    lines, is_secret, is_known = opened.enter_context(connection.makefile("rb")), False, False
    connection.sendall(b"220 ready\r\n")
    while line := lines.readline():
        if not is_secret:
            made.plain.append(line)
        word = line.split()[0].upper() if line.split() else b""
        if word == b"EHLO":
            connection.sendall(b"250-here\r\n250 AUTH PLAIN\r\n" if is_secret else b"250-here\r\n250 STARTTLS\r\n")
        elif word == b"STARTTLS":
            connection.sendall(b"220 go on\r\n")
            connection = opened.enter_context(tls.wrap_socket(connection, server_side=True))
            lines, is_secret = opened.enter_context(connection.makefile("rb")), True
        elif word == b"AUTH" and is_secret:
            is_known = base64.b64decode(line.split()[2]).split(b"\0")[1:] == [b"wellspring", made.password.encode()]
            connection.sendall(b"235 welcome\r\n" if is_known else f"535 {PASSWORD} is wrong\r\n".encode())
        elif word == b"DATA" and is_known:
            connection.sendall(b"354 go on\r\n")
            made.came.append(b"".join(iter(lines.readline, b".\r\n")))
            connection.sendall(b"250 taken\r\n")
        elif word == b"QUIT":
            connection.sendall(b"221 bye\r\n")
            return
        else:
            connection.sendall(b"250 fine\r\n" if is_known else b"530 log in first\r\n")


def to_mail(port: int, ca: Path, **more: Any) -> dict[str, Any]:
    login = {"username": "wellspring", "password": PASSWORD}
    people = {"sender": "wellspring@example.org", "to": ["ada@example.org", "bob@example.org"]}
    return {
        "name": "team",
        "kind": "smtp",
        "host": "127.0.0.1",
        "port": port,
        "ca_file": str(ca),
        **login,
        **people,
        **more,
    }


def test_a_mail_goes_by_starttls_with_a_login(authority: tuple[Path, Path]) -> None:
    with mails(authority) as made:
        deliver(parsed(to_mail(made.port, authority[0])), news(), DESK, now_us())
    (content,) = made.came
    mail = message_from_bytes(content, policy=default)
    assert mail["Subject"] == "Wellspring: 1 alarm in sleep"
    assert f"{DESK}/studies/sleep" in mail.get_content()
    assert [line.split()[0].upper() for line in made.plain] == [b"EHLO", b"STARTTLS"]


def test_a_wrong_password_is_said_without_what_the_server_says(authority: tuple[Path, Path]) -> None:
    with mails(authority) as made:
        made.password = "another"
        assert _why(to_mail(made.port, authority[0])) == "it refuses the user name or the password"
        assert _why({**to_mail(made.port, authority[0]), "ca_file": None}) == "its certificate is not trusted"
    assert made.came == [] and not [line for line in made.plain if b"AUTH" in line]


# -- all the way


def test_a_driver_tells_both_goes_on_while_one_fails_and_tells_it_later(
    authority: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with hook(authority) as made, mails(authority) as post:
        hooked = to_hook(made.port, authority[0], at_least="info")
        watched = Watched(tmp_path, [hooked, to_mail(post.port, authority[0])], went={"sleep": False})
        made.statuses = [500]
        watched.life()
        assert len(post.came) == 1 and len(made.came) == 1
        watched.now_us += 31_000_000
        watched.life()
        assert len(post.came) == 1 and len(made.came) == 2
        assert json.loads(made.came[0][1]) == json.loads(made.came[1][1])
        assert [one["failed"] for one in status(watched.settings)["receivers"]] == [1, 0]
        assert [one.why for one in send_test(watched.settings, now_us(), "sleep")] == ["", ""]
    said = " ".join([*watched.said, *capfd.readouterr(), json.dumps(status(watched.settings))])
    assert "ops could not be alerted (it answers with status 500)" in said
    assert [text for text in (SECRET, PASSWORD, "a-path-that-is-secret") if text in said] == []
    vault = b"".join(path.read_bytes() for path in (tmp_path / "vault").iterdir())
    assert SECRET.encode() not in vault and PASSWORD.encode() not in vault


def test_a_lake_s_impossible_readings_are_told_of_and_nothing_of_the_people(
    authority: tuple[Path, Path], tmp_path: Path
) -> None:
    lake = Offline(tmp_path / "lake")
    people = [f"person-{number}" for number in range(12)]
    for person in people:
        lake.consent(linked(subject(person), member(person)), grant(member(person)))
    lake.land(*(message(subject(person), [60.0, 61.0, VALUE]) for person in people))
    metrics = Metrics()
    with closing(lake), hook(authority) as made, closing(Judging(lake.driver)) as judging:
        block = {"receivers": [to_hook(made.port, authority[0])]}
        lake.world.settings.alerts = AlertSettings.model_validate(block)
        while judging.turn() or judging.is_busy:
            pass
        with closing(Lookout(lake.driver, judging, metrics)) as lookout:
            lookout.finish()
            lookout.finish()
        pseudonyms = {
            row["pseudonym"] for view in ("observation", "quarantine") for row in lake.world.rows("sleep", view=view)
        }
    ((_, body),) = made.came
    alerts = {one["about"]: one for one in json.loads(body)["alerts"]}
    assert (alerts["PL-00"]["severity"], alerts["PL-00"]["share"]) == ("critical", 0.5), (
        "of a third, in steps of five people's rows"
    )
    page = metrics.page().decode()
    assert 'wellspring_quarantine_rows{study="sleep"} 10.0' in page
    assert 'check="PL-00",severity="critical",study="sleep"' in page
    names = [subject(person) for person in people] + [member(person) for person in people]
    assert len(pseudonyms) == 12 and lake.said == []
    assert [text for text in (*pseudonyms, *names, str(VALUE)) if text in body.decode() or text in page] == []
