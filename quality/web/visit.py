"""What a page is made from: the desk, who asks, what they sent; and how a page becomes a response."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, RedirectResponse, Response

from quality.chosen import Chosen, names_somebody
from quality.desk import LakeDesk, Seen, Stratum, StudyFacts
from quality.in_force import said_version
from quality.shown import templates
from quality.suppression import said
from quality.users import Action, User
from quality.web.sessions import Session, Sessions
from quality.web.settings import StewardSettings

STRATUM = ("check", "family", "metric", "partner", "device_model", "firmware", "day")
"""The fields of a stratum as addresses and forms have them; besides them `row`, once for each row."""

Fields = Mapping[str, list[str]]
TestAlerts = Callable[[str], Sequence[tuple[str, str]]]
"""Tells those who hear of a study that this is a test: each one's name, and why it was not told, empty where it was."""


class Fault(Exception):
    """A request that is not followed: the status, and words for whoever sees it. Nothing of the request is in it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True)
class Visit:
    """One request of somebody: `place` are the parts of the path, `asked` of the query, `form` what was sent.

    `test_alerts` gives a user what they may test alerts with; None where nobody is alerted.
    """

    desk: LakeDesk
    settings: StewardSettings
    sessions: Sessions
    session: Session
    user: User | None
    now: datetime
    place: Mapping[str, str]
    asked: Fields = field(default_factory=dict)
    form: Fields = field(default_factory=dict)
    test_alerts: Callable[[str], TestAlerts] | None = None

    @property
    def by(self) -> str:
        assert self.user is not None, "the route asks for a user"
        return self.user.name

    @cached_property
    def study(self) -> StudyFacts:
        """The study of the path, which the user is known to have a role in."""
        return self.desk.studies()[self.place["study"]]

    @property
    def elsewhere(self) -> "Visit":
        """The same visit, of no study: for a page that tells nothing of one."""
        return replace(self, place={})

    def may(self, action: Action) -> bool:
        return self.user is not None and self.user.may(action, self.place.get("study", ""))

    def one(self, name: str, fields: Fields | None = None) -> str:
        """A field of the form or the query, empty where it is not there."""
        return (self.form if fields is None else fields).get(name, [""])[0].strip()

    def reason(self) -> str:
        """Why something is decided; Fault where nobody says."""
        words = self.one("reason")
        if not 1 <= len(words) <= 1000:
            raise Fault(422, "Give a reason of at most 1,000 characters.")
        if names_somebody(words):  # neither the audit nor the ledger shall have it
            raise Fault(422, "The reason names a participant: say why without a pseudonym.")
        return words

    def day(self, fields: Fields | None = None) -> date | None:
        """The day of a field, None where there is none; Fault where it is no day."""
        text = self.one("day", self.asked if fields is None else fields)
        try:
            return _known_day(date.fromisoformat(text)) if text else None
        except ValueError:
            raise Fault(422, "A day is written as 2026-01-31.") from None

    def note(self, what: str, about: Mapping[str, Any]) -> None:
        """Write down who did or saw this, before it happens."""
        self.desk.audit(Seen(self.now, self.by, self.place["study"], what, about))

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """The page, with what every page needs."""
        given = {"visit": self, "token": self.sessions.token(self.session), **values}
        if "study" in self.place:
            given = {"study": self.study, "few": said(self.study.smallest_cell), **given}
        return HTMLResponse(PAGES.get_template(template).render(given), status)

    def asked_for(self, request: str) -> Response:
        """On to the page that says what becomes of a request."""
        seal = self.sessions.seal("request", self.place["study"], request)
        return RedirectResponse(f"/studies/{self.place['study']}/requests/{request}-{seal}", 303)


def stratum_of(fields: Fields) -> Stratum:
    """The stratum that an address or a form names; Fault where it names none or one that cannot be."""
    given: dict[str, Any] = {name: fields[name][0] for name in STRATUM if fields.get(name, [""])[0]}
    if rows := fields.get("row"):
        given["rows"] = tuple(rows)
    try:
        chosen = Chosen.model_validate(given)
        if chosen.day:
            _known_day(chosen.day)
        return chosen.stratum
    except ValueError:  # pydantic's own words would show what was sent
        raise Fault(
            422, "These are no rows that can be chosen: name a check, metric, partner, device or day."
        ) from None


def _known_day(day: date) -> date:
    """A day of which there may be readings; ValueError for any other, with which nobody could reckon."""
    if not 1900 <= day.year < 3000:
        raise ValueError
    return day


def fields_of(stratum: Stratum) -> list[tuple[str, str]]:
    """A stratum as the fields of a form or an address."""
    said = {name: value for name, value in stratum.as_json().items() if name != "rows"}
    return [*((name, str(value)) for name, value in said.items()), *(("row", row) for row in stratum.rows)]


def _address(path: str, *pairs: tuple[str, str], **fields: Any) -> str:
    """An address with those of the fields that have a value; `pairs` may name one several times, as rows."""
    given = [*pairs, *((name, str(value)) for name, value in fields.items() if value is not None)]
    return f"{path}?{urlencode(given)}" if given else path


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


PAGES = templates()
PAGES.filters |= {"moment": _moment, "version": said_version, "fields": fields_of, "zip_with": zip}
PAGES.globals |= {"address": _address, "dict": dict, "STRATUM": STRATUM}
