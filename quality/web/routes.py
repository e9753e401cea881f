"""The desk's routes: each with what its visitor must be allowed to do. There is no page beside this table."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from starlette.responses import Response

from quality.users import Action
from quality.web import alerts, decide, exports, pages, rows, sign_in, strata
from quality.web.visit import Visit

Access = Literal["anybody", "user"] | Action
"""Who may: anybody at all, any user who has signed in, or a user who may do this to the study of the path."""


class Route(NamedTuple):
    method: Literal["GET", "POST"]
    path: str
    access: Access
    answer: Callable[[Visit], Response]


_STUDY = "/studies/{study}"

ROUTES = (
    Route("GET", "/sign-in", "anybody", sign_in.form),
    Route("POST", "/sign-out", "user", sign_in.sign_out),
    Route("GET", "/", "user", pages.studies),
    Route("GET", _STUDY, "view", pages.study),
    Route("GET", f"{_STUDY}/coverage", "view", pages.coverage),
    Route("GET", f"{_STUDY}/checks/{{check}}", "view", strata.check),
    Route("GET", f"{_STUDY}/waiting", "view", strata.waiting),
    Route("GET", f"{_STUDY}/rows", "rows", rows.rows),
    Route("GET", f"{_STUDY}/participants", "rows", rows.participants),
    Route("POST", f"{_STUDY}/decision/preview", "decide", decide.preview),
    Route("POST", f"{_STUDY}/decision", "decide", decide.decide),
    Route("GET", f"{_STUDY}/proposals", "view", decide.proposals),
    Route("GET", f"{_STUDY}/proposals/{{proposal}}", "rows", decide.proposal),
    Route("POST", f"{_STUDY}/proposals/{{proposal}}/approve", "approve", decide.approve),
    Route("POST", f"{_STUDY}/proposals/{{proposal}}/decline", "propose", decide.decline),
    Route("POST", f"{_STUDY}/checks/{{check}}/threshold", "propose", decide.threshold),
    Route("POST", f"{_STUDY}/sign-off", "sign-off", decide.sign_off),
    Route("GET", f"{_STUDY}/decisions", "view", decide.decisions),
    Route("GET", f"{_STUDY}/audit", "rows", rows.audit),
    Route("POST", f"{_STUDY}/alerts/test", "decide", alerts.try_out),
    Route("GET", f"{_STUDY}/requests/{{request}}", "view", decide.request),
    Route("GET", f"{_STUDY}/requests/{{request}}/state", "view", decide.request_state),
    Route("GET", f"{_STUDY}/export/{{name}}", "export", exports.export),
)
"""Signing in itself (`POST /sign-in`, and with an identity provider) is in `app.py`: it makes the session."""
