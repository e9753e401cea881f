"""One message to one receiver: signed JSON to a webhook, or a mail. It takes or fails within a bounded time.

A webhook's message is signed so that its receiver knows that it is ours and new: HMAC-SHA256 with their shared secret
over `<timestamp>.<body>`, where the timestamp is that of the header, seconds since 1970. No text of a failure repeats an
address, a secret, or what a server said.
"""

import hashlib
import hmac
import json
import logging
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from quality.alert_settings import LEAST_SECRET, Mailbox, Receiver, Webhook
from quality.alerts import Change, as_json, headline, line, link
from quality.job.times import instant

TIMEOUT_S = 10.0
"""For each step of a delivery: to connect, to send, to wait for the answer."""
CONNECTS = 2
"""How often connecting to a webhook is tried again at once."""
SIGNATURE, TIMESTAMP, MESSAGE = "Wellspring-Signature", "Wellspring-Timestamp", "Wellspring-Message"


class NotDelivered(Exception):
    """The receiver has not taken a message; the text says why, and nothing else."""


def deliver(receiver: Receiver, changes: Sequence[Change], desk: str, now_us: int) -> None:
    """Tell a receiver of some changes in one message. NotDelivered where it does not take it."""
    try:
        if isinstance(receiver, Webhook):
            _post(receiver, changes, desk, now_us)
        else:
            _mail(receiver, changes, desk, now_us)
    except NotDelivered:
        raise
    except Exception as error:  # whatever a library makes of what a server does: the stream goes on
        raise NotDelivered(_words(error)) from None


def message_id(changes: Sequence[Change]) -> str:
    """The same for the same changes, however often they are told."""
    return hashlib.sha256("\n".join(change.id for change in changes).encode()).hexdigest()[:32]


# -- webhook


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """What the header carries: `v1=` and the HMAC-SHA256 of `<timestamp>.<body>` in hexadecimal digits."""
    return "v1=" + hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def body_of(changes: Sequence[Change], desk: str) -> bytes:
    """The message as UTF-8 JSON; its alerts are in the order in which they happened."""
    said = {"id": message_id(changes), "alerts": [as_json(change, desk) for change in changes]}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _post(receiver: Webhook, changes: Sequence[Change], desk: str, now_us: int) -> None:
    import httpx2

    for name in ("httpx2", "httpcore2"):  # they would log the address, which may be a secret
        logging.getLogger(name).setLevel(logging.WARNING)
    body, seconds = body_of(changes, desk), now_us // 1_000_000
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "wellspring",
        MESSAGE: message_id(changes),
        TIMESTAMP: str(seconds),
        SIGNATURE: signature(_secret(receiver.secret, receiver.secret_file), seconds, body),
    }
    way = httpx2.HTTPTransport(verify=_trusted(receiver.ca_file), retries=CONNECTS)
    with (
        httpx2.Client(transport=way, timeout=TIMEOUT_S, follow_redirects=False) as client,
        client.stream("POST", receiver.url.get_secret_value(), content=body, headers=headers) as answer,
    ):
        if not answer.is_success:  # its text is not read: it may be long, or show what was sent
            raise NotDelivered(f"it answers with status {answer.status_code}")


def _secret(given: SecretStr | None, file: Path | None) -> bytes:
    if given is not None:
        return given.get_secret_value().encode()
    try:
        found = file.read_bytes().strip() if file else b""
    except OSError:
        raise NotDelivered("the file of its secret cannot be read") from None
    if len(found) < LEAST_SECRET:
        raise NotDelivered(f"the secret in its file is shorter than {LEAST_SECRET} characters")
    return found


# -- mail


def mail_of(receiver: Mailbox, changes: Sequence[Change], desk: str, now_us: int) -> EmailMessage:
    """The mail that tells of some changes."""
    mail = EmailMessage()
    mail["Subject"] = headline(changes)
    mail["From"] = receiver.sender
    mail["To"] = ", ".join(receiver.to)
    mail["Date"] = format_datetime(instant(now_us))
    mail["Message-ID"] = f"<{message_id(changes)}@{receiver.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n\n".join(f"{line(change)}\n{link(change.now, desk)}" for change in changes) + "\n")
    return mail


def _mail(receiver: Mailbox, changes: Sequence[Change], desk: str, now_us: int) -> None:
    mail, context = mail_of(receiver, changes, desk, now_us), _trusted(receiver.ca_file)
    with _server(receiver, context) as server:
        if receiver.tls == "starttls":
            server.starttls(context=context)
        if receiver.username is not None:
            server.login(receiver.username, _password(receiver))
        server.send_message(mail)


def _server(receiver: Mailbox, context: ssl.SSLContext) -> smtplib.SMTP:
    if receiver.tls == "tls":
        return smtplib.SMTP_SSL(receiver.host, receiver.port, timeout=TIMEOUT_S, context=context)
    return smtplib.SMTP(receiver.host, receiver.port, timeout=TIMEOUT_S)


def _password(receiver: Mailbox) -> str:
    if receiver.password is not None:
        return receiver.password.get_secret_value()
    try:
        return receiver.password_file.read_text(encoding="utf-8").strip() if receiver.password_file else ""
    except (OSError, UnicodeDecodeError):
        raise NotDelivered("the file of its password cannot be read") from None


def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError):
        raise NotDelivered("its ca_file cannot be read") from None


# -- failures in words

_KINDS: Mapping[type[Exception], str] = {
    smtplib.SMTPAuthenticationError: "it refuses the user name or the password",
    smtplib.SMTPNotSupportedError: "it does not offer TLS or a login",
    smtplib.SMTPServerDisconnected: "it closes the connection",
    smtplib.SMTPResponseException: "it refuses the message",
    smtplib.SMTPRecipientsRefused: "it refuses the recipients",
    smtplib.SMTPException: "it does not take the message",
    ssl.SSLCertVerificationError: "its certificate is not trusted",
    ssl.SSLError: "TLS does not come about",
    TimeoutError: "no answer in time",
    OSError: "it cannot be reached",
}


def _words(error: Exception) -> str:
    """What went wrong, by the kind of the error or of that behind it, never by its text."""
    cause: Any = error
    while cause is not None:
        for kind, words in _KINDS.items():
            if isinstance(cause, kind):
                return words
        if "Timeout" in type(cause).__name__:
            return "no answer in time"
        cause = cause.__cause__ or cause.__context__
    return f"it could not be told ({type(error).__name__})"
