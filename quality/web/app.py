"""The stewards' desk as an application: who may come in, what may go out, and which route answers.

Every route goes through `_Door.answer`: the host's name, the session, the right to what the route does, and the token of
a form are looked at before its function runs, in a thread of its own.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as HttpRoute
from starlette.staticfiles import StaticFiles

from connectors.source_file import StorageFailed
from quality.desk import LakeDesk
from quality.users import User, Users, UsersError
from quality.web.alerts import Trials
from quality.web.attempts import Attempts
from quality.web.headers import Headers
from quality.web.oidc import Provider
from quality.web.routes import ROUTES, Route
from quality.web.sessions import Clock, EndedSessions, Session, Sessions, cookie_name
from quality.web.settings import StewardSettings
from quality.web.sign_in import SignIn
from quality.web.visit import Fault, Fields, TestAlerts, Visit

LARGEST_FORM = 64 * 1024
_log = logging.getLogger(__name__)


def desk_app(
    desk: LakeDesk,
    users: Callable[[], Users],
    settings: StewardSettings,
    secret: bytes,
    clock: Clock = time,
    test_alerts: TestAlerts | None = None,
    ended: EndedSessions | None = None,
) -> Headers:
    """The application. `users` gives those that there are now; `secret` signs sessions; `clock` gives UTC seconds.

    `test_alerts` tells a study's receivers of alerts that this is a test; None where there are none.
    `ended` remembers who has signed out; without it a restart forgets them.
    """
    sessions = Sessions(secret, clock, settings.idle_minutes * 60, settings.session_hours * 3600, ended)
    door = _Door(desk, users, settings, sessions, clock, Trials(test_alerts, clock) if test_alerts else None)
    entrance = SignIn(door.known, Attempts(clock), Provider.of(settings))
    routes = [HttpRoute(route.path, _endpoint(door, route), methods=[route.method]) for route in ROUTES]
    app = Starlette(
        routes=[
            *routes,
            HttpRoute("/sign-in", door.making_a_session(entrance.with_password), methods=["POST"]),
            HttpRoute("/sign-in/provider", door.making_a_session(entrance.to_provider), methods=["GET"]),
            HttpRoute("/sign-in/back", door.making_a_session(entrance.from_provider), methods=["GET"]),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ]
    )
    return Headers(app, settings)


class _Door:
    """Lets in whoever may come in."""

    def __init__(
        self,
        desk: LakeDesk,
        users: Callable[[], Users],
        settings: StewardSettings,
        sessions: Sessions,
        clock: Clock,
        trials: Trials | None,
    ) -> None:
        self._desk, self._users, self._settings, self._sessions, self._clock = desk, users, settings, sessions, clock
        self._cookie, self._trials = cookie_name(settings), trials

    async def answer(self, request: Request, route: Route) -> Response:
        session, user = self._who(request)
        if user is None and route.access != "anybody":
            return _to_sign_in(request)
        visit = self._visit(request, session, user)
        try:
            self._check_right(route, visit)
            if route.method == "POST":
                visit = self._visit(request, session, user, await self._form(request, session))
            response = await run_in_threadpool(route.answer, visit)
        except Fault as fault:
            response = fault_page(visit, fault)
        except Exception as error:
            response = fault_page(visit, _unforeseen(error))
        asked_by_page = "hx-request" in request.headers  # which asks by itself, also where nobody sits before it
        return self._with_cookie(response, session if asked_by_page else self._sessions.seen(session))

    def making_a_session(self, entrance: Callable[..., Any]) -> Callable[[Request], Any]:
        """A route that signs somebody in: it says who comes in, and the response takes their new session along."""

        async def endpoint(request: Request) -> Response:
            session, _ = self._who(request)
            visit = self._visit(request, session, None)
            user: User | None = None
            try:
                if request.method == "POST":
                    visit = self._visit(request, session, None, await self._form(request, session))
                response, user = await entrance(request, visit)
            except Fault as fault:
                response = fault_page(visit, fault)
            except Exception as error:
                response = fault_page(visit, _unforeseen(error))
            if user is not None:
                self._sessions.end(session)
                session = self._sessions.new(user)
            return self._with_cookie(response, session)

        return endpoint

    def _who(self, request: Request) -> tuple[Session, User | None]:
        """The request's session, a new one where it has none that counts, and whose it is."""
        session = self._sessions.read(request.cookies.get(self._cookie, ""))
        if session is None:
            return self._sessions.new(), None
        user = self.known().get(session.name) if session.name else None
        if session.name and (user is None or not self._sessions.is_of(session, user)):
            return self._sessions.new(), None
        return session, user

    def known(self) -> Users:
        """Who there is; nobody while the users file cannot be used."""
        try:
            return self._users()
        except UsersError as error:
            _log.error("nobody can sign in: %s", error)
            return Users([])

    def _visit(self, request: Request, session: Session, user: User | None, form: Fields | None = None) -> Visit:
        now = datetime.fromtimestamp(self._clock(), UTC)
        asked = parse_qs(request.url.query)
        place: Mapping[str, str] = request.path_params
        given = (self._desk, self._settings, self._sessions, session, user, now, place, asked, form or {})
        return Visit(*given, test_alerts=self._trials)

    def _check_right(self, route: Route, visit: Visit) -> None:
        if route.access in ("anybody", "user"):
            return
        study = visit.place["study"]
        known = visit.user is not None and visit.user.may("view", study) and study in self._desk.studies()
        if not known:
            raise Fault(404, "There is no such page, or it is not yours.")
        if not visit.may(route.access):  # type: ignore[arg-type]
            raise Fault(403, "Your role in this study does not allow this.")

    async def _form(self, request: Request, session: Session) -> Fields:
        """What was sent, with this session's token; Fault where it is too large, no form, or from elsewhere."""
        if request.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
            raise Fault(415, "This is not a form of the desk.")
        if not self._is_from_here(request):
            raise Fault(403, "This form does not come from the desk.")
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST_FORM:
                raise Fault(413, "This form is too large.")
        form = parse_qs(body.decode("utf-8", "replace"))
        if not self._sessions.is_token(session, form.get("token", [""])[0]):
            raise Fault(403, "This form is too old, or does not come from the desk: open its page again.")
        return form

    def _is_from_here(self, request: Request) -> bool:
        """Whether the browser says nothing else: it gives no origin to pages that send no referrer, as ours."""
        origin = request.headers.get("origin", "null")
        known = origin == "null" or (urlsplit(origin).hostname or "") in self._settings.hosts
        return known and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"

    def _with_cookie(self, response: Response, session: Session) -> Response:
        said = response.headers.getlist("set-cookie")
        if not any(one.startswith(f"{self._cookie}=") for one in said):
            response.set_cookie(
                self._cookie,
                self._sessions.cookie(session),
                httponly=True,
                samesite="strict",
                secure=self._settings.is_https,
            )
        return response


def fault_page(visit: Visit, fault: Fault) -> Response:
    """What is not followed, in words, and nothing of the study."""
    return Visit.page(visit.elsewhere, "fault.html", status=fault.status, fault=fault)


def _unforeseen(error: Exception) -> Fault:
    """What is said of a failure: its kind in the log; whatever it says may hold what must not be seen or logged.

    What a storage says is for operators: which place, whose credentials, what to do.
    """
    words = f": {error}" if isinstance(error, StorageFailed) else ""
    _log.error("a page failed by %s%s", type(error).__name__, words)
    return Fault(500, "Something went wrong here. Nothing was changed by this page.")


def _to_sign_in(request: Request) -> Response:
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    return RedirectResponse("/sign-in", 303)


def _endpoint(door: _Door, route: Route) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await door.answer(request, route)

    return endpoint
