"""The desk in a test: its users, a client for each, and a password whose hash costs next to nothing."""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import httpx2
import pytest
from argon2 import PasswordHasher

from quality import users as users_module
from quality.desk import LakeDesk
from quality.users import Role, User, Users
from quality.web.app import desk_app
from quality.web.settings import StewardSettings
from quality.web.visit import TestAlerts
from tests.steward_world import NOW

PASSWORD = "correct horse battery"
ROLES: dict[str, dict[str, Role]] = {
    "vic": {"sleep": Role.VIEWER},
    "ada": {"sleep": Role.STEWARD},
    "bob": {"sleep": Role.STEWARD},
    "cyd": {"sleep": Role.APPROVER},
    "eve": {"cycle": Role.APPROVER},
    "nia": {},
}
_CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
_HASH = _CHEAP.hash(PASSWORD)
TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Clock:
    """Seconds since the epoch, as a test turns them."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hash costs next to nothing, also the one that is compared where nobody has the name."""
    monkeypatch.setattr(users_module, "HASHER", _CHEAP)
    users_module._nobody.cache_clear()


def users() -> Users:
    return Users([User(name=name, password=_HASH, studies=studies) for name, studies in ROLES.items()])


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """In which every application of a process answers: to start one takes longer than most answers."""
    return asyncio.new_event_loop()


class InProcess(httpx2.BaseTransport):
    """An application as what a client talks to. What the application does not catch is raised.

    Starlette's own client has a thread answer, and asks it eight times for each request, which costs more than the page.
    """

    def __init__(self, app: Any) -> None:
        self._transport = httpx2.ASGITransport(app)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return _loop().run_until_complete(self._answer(request))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._transport.handle_async_request(request)
        content = b"".join([part async for part in response.stream])  # type: ignore[union-attr]
        return httpx2.Response(response.status_code, headers=response.headers, stream=httpx2.ByteStream(content))


class Browser:
    """One visitor: follows no redirect by itself, and sends forms with the token of the page it has seen last."""

    def __init__(self, app: Any, origin: str = "http://127.0.0.1:8600") -> None:
        self.client = httpx2.Client(transport=InProcess(app), base_url=origin, trust_env=False)
        self.token = ""

    def get(self, path: str, **headers: str) -> Any:
        response = self.client.get(path, headers=headers)
        if found := TOKEN.search(response.text):
            self.token = found[1]
        return response

    def post(self, path: str, fields: Mapping[str, Any] | None = None, **headers: str) -> Any:
        return self.client.post(path, data={"token": self.token, **(fields or {})}, headers=headers)

    def sign_in(self, name: str, password: str = PASSWORD) -> Any:
        self.get("/sign-in")
        return self.post("/sign-in", {"name": name, "password": password})


def as_(app: Any, name: str) -> Browser:
    """A visitor who has signed in, and has seen a page."""
    browser = Browser(app)
    assert browser.sign_in(name).status_code == 303
    assert browser.get("/studies/nowhere").status_code == 404  # the page that asks the lake nothing
    return browser


def app_over(
    desk: LakeDesk, clock: Callable[[], float] | None = None, test_alerts: TestAlerts | None = None, **settings: Any
) -> Any:
    """The application over a desk, with the users above."""
    known = users()
    secret = b"secret of the tests"
    return desk_app(desk, lambda: known, StewardSettings(**settings), secret, clock or Clock(), test_alerts)
