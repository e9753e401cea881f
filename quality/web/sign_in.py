"""Signing in, by password or by an identity provider, and signing out."""

import asyncio
from collections.abc import Callable
from math import ceil

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from quality.users import User, Users
from quality.web.attempts import Attempts
from quality.web.oidc import Provider
from quality.web.sessions import BROWSER_S, browser_cookie_name, cookie_name
from quality.web.visit import Fault, Visit

AT_ONCE = 2
"""So many passwords are compared at one moment: each takes a processor and 64 MB."""


def form(visit: Visit) -> Response:
    """The page to sign in on."""
    return RedirectResponse("/", 303) if visit.user else _form(visit, 200, "")


def sign_out(visit: Visit) -> Response:
    """The session ends, here and in the browser."""
    visit.sessions.end(visit.session)
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(
        cookie_name(visit.settings), httponly=True, samesite="strict", secure=visit.settings.is_https
    )
    return response


class SignIn:
    """Who comes in: each way gives the response and, where somebody came in, the user."""

    def __init__(self, users: Callable[[], Users], attempts: Attempts, provider: Provider | None) -> None:
        self._users, self._attempts, self._provider = users, attempts, provider
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def with_password(self, request: Request, visit: Visit) -> tuple[Response, User | None]:
        """Name and password; too many wrong ones have to wait."""
        name, password = visit.one("name").lower(), visit.form.get("password", [""])[0]
        address = request.client.host if request.client else ""
        browser = visit.sessions.browser(request.cookies.get(browser_cookie_name(visit.settings), ""), name)
        wait = self._attempts.begin(name, address, browser)
        if wait > 0:
            words = f"Too many wrong passwords. Try again in {ceil(wait)} s."
            return _form(visit, 429, words, {"Retry-After": str(ceil(wait))}), None
        async with self._turns:
            user = await run_in_threadpool(self._users().sign_in, name, password)
        if user is None:
            return _form(visit, 403, "Name and password do not fit together."), None
        self._attempts.right(name, address, browser)
        return _known_from_now_on(RedirectResponse("/", 303), visit, name), user

    async def to_provider(self, request: Request, visit: Visit) -> tuple[Response, User | None]:
        """On to the identity provider's page."""
        return await self._known_provider().send(request, visit), None

    async def from_provider(self, request: Request, visit: Visit) -> tuple[Response, User | None]:
        """Back from there. The page goes on by itself: only then does the browser send the session's cookie along."""
        user = self._users().of_subject(await self._known_provider().subject(request, visit))
        if user is None:
            raise Fault(403, "The identity provider knows you, but you are no user of this desk.")
        return visit.page("signed_in.html"), user

    def _known_provider(self) -> Provider:
        if self._provider is None:
            raise Fault(404, "There is no such page, or it is not yours.")
        return self._provider


def _known_from_now_on(response: Response, visit: Visit, name: str) -> Response:
    """The browser remembers that its user has signed in here with a password: who guesses theirs does not keep it out."""
    response.set_cookie(
        browser_cookie_name(visit.settings),
        visit.sessions.browser_cookie(name),
        max_age=BROWSER_S,
        path="/sign-in",
        httponly=True,
        samesite="strict",
        secure=visit.settings.is_https,
    )
    return response


def _form(visit: Visit, status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    response = visit.page("sign_in.html", status=status, words=words, by_provider=bool(visit.settings.oidc_issuer))
    response.headers.update(headers or {})
    return response
