"""Sessions of the desk: a signed cookie says who has signed in, since when and when they were last seen.

The server keeps nothing but which sessions were ended, where no restart forgets it. A session has a random id that is
never used again after a sign-in; the token of a form is made from it and the server's secret, so that nobody else's page
can know it. With the password, or its place in the users file, what was signed in with it ends.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from itsdangerous import BadSignature, URLSafeSerializer

from quality.users import User
from quality.web.settings import StewardSettings

Clock = Callable[[], float]
"""Seconds since the epoch."""


BROWSER_S = 365 * 86_400
"""So long a browser is known after somebody has signed in."""


@dataclass(frozen=True)
class Session:
    """Somebody's visit; `name` is empty before a sign-in. Moments in seconds since the epoch."""

    id: str
    name: str
    proof: str
    since: float
    seen: float


class EndedSessions(Protocol):
    """Remembers the sessions that were ended until they would have ended by themselves. Any thread may ask it."""

    def end(self, session: Session, until: float, now: float) -> None:
        """The session of a user is over; nobody asks about it after `until`. Moments in seconds since the epoch."""

    def is_ended(self, session: Session) -> bool: ...


class EndedForNow:
    """Those of one process: for a desk that keeps nothing."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def end(self, session: Session, until: float, now: float) -> None:
        self._until = {id: last for id, last in self._until.items() if last > now} | {session.id: until}

    def is_ended(self, session: Session) -> bool:
        return session.id in self._until


class Sessions:
    """Makes and reads cookies and the tokens of forms with the desk's secret."""

    def __init__(
        self, secret: bytes, clock: Clock, idle_s: float, longest_s: float, ended: EndedSessions | None = None
    ) -> None:
        self._secret, self._clock, self._idle_s, self._longest_s = secret, clock, idle_s, longest_s
        self._signer = URLSafeSerializer(secret, salt="session", signer_kwargs={"digest_method": hashlib.sha256})
        self._browsers = URLSafeSerializer(secret, salt="browser", signer_kwargs={"digest_method": hashlib.sha256})
        self._ended = ended or EndedForNow()

    def new(self, user: User | None = None) -> Session:
        """A visit that begins now, as nobody or as a user; its id is new."""
        now = self._clock()
        return Session(
            secrets.token_urlsafe(24), user.name if user else "", self._proof_of(user) if user else "", now, now
        )

    def cookie(self, session: Session) -> str:
        return str(self._signer.dumps([session.id, session.name, session.proof, session.since, session.seen]))

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie that was made here, goes on and was not ended."""
        try:
            session = Session(*self._signer.loads(cookie))
        except (BadSignature, TypeError):
            return None
        now = self._clock()
        fresh = session.seen <= now < min(session.seen + self._idle_s, session.since + self._longest_s)
        return session if fresh and not (session.name and self._ended.is_ended(session)) else None

    def seen(self, session: Session) -> Session:
        """The same session, seen now."""
        return replace(session, seen=self._clock())

    def is_of(self, session: Session, user: User) -> bool:
        """Whether the user still is who signed in: with the same password, or known by the same provider's subject."""
        return hmac.compare_digest(session.proof, self._proof_of(user))

    def end(self, session: Session) -> None:
        """From now on its cookie is nobody's, as that of a session without a user is anyway."""
        if session.name:
            self._ended.end(session, session.since + self._longest_s, self._clock())

    def browser_cookie(self, name: str) -> str:
        """For a browser in which somebody has just signed in: it says so, and is a right to nothing."""
        return str(self._browsers.dumps([secrets.token_urlsafe(24), name, self._clock()]))

    def browser(self, cookie: str, name: str) -> str | None:
        """The id of a browser in which that name has signed in; None where it has not, or long ago."""
        try:
            id, known, since = self._browsers.loads(cookie)
        except (BadSignature, TypeError, ValueError):
            return None
        is_theirs = known == name and since <= self._clock() < since + BROWSER_S
        return str(id) if is_theirs else None

    def token(self, session: Session) -> str:
        """What every form of this session carries."""
        return self.seal("form", session.id)

    def is_token(self, session: Session, token: str) -> bool:
        return self.is_seal(token, "form", session.id)

    def seal(self, *words: str) -> str:
        """32 hexadecimal digits that only this desk can make of these words."""
        text = "\0".join(words).encode("utf-8", "replace")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]

    def is_seal(self, given: str, *words: str) -> bool:
        """Whether this desk has sealed these words so."""
        return hmac.compare_digest(self.seal(*words).encode(), given.encode("utf-8", "replace"))

    def _proof_of(self, user: User) -> str:
        return self.seal("proof", user.name, user.password or "", user.oidc or "")


def cookie_name(settings: StewardSettings) -> str:
    """With https a name that no other host and no insecure page can set."""
    return "__Host-wellspring" if settings.is_https else "wellspring"


def browser_cookie_name(settings: StewardSettings) -> str:
    """With https a name that no insecure page can set."""
    return "__Secure-wellspring-browser" if settings.is_https else "wellspring-browser"
