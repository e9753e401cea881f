"""What is decided at the desk: release and discard, proposals and the second person's word, thresholds, days.

Nothing happens here: each decision is written down, left as a request for the driver, and its page says what came of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from quality import counts
from quality.chosen import MOST_ROWS, effect
from quality.desk import Stratum
from quality.in_force import Proposal
from quality.web.strata import check_of
from quality.web.visit import STRATUM, Fault, Visit, stratum_of

DECISIONS = ("release", "discard")
NEWEST = 500
_COUNT, _FINGERPRINT = re.compile(r"[0-9]{1,12}"), re.compile(r"[0-9a-f]{32}")
_NOT_NOTED = ("rows", "fingerprint")
"""What the audit, which others read too, does not say of a decision: which rows it is about."""


@dataclass(frozen=True)
class Decided:
    """A row of the decisions, with what it is about taken apart."""

    id: str
    kind: str
    at: datetime
    by: str
    second: str | None
    check: str | None
    reason: str
    rows: int
    about: Mapping[str, Any]

    @property
    def stratum(self) -> Stratum:
        """The rows that it is about; empty where it is not about rows."""
        return stratum_of({name: [str(self.about[name])] for name in STRATUM if name in self.about} | self._rows)

    @property
    def _rows(self) -> dict[str, list[str]]:
        return {"row": self.about["rows"]} if self.about.get("rows") else {}


def preview(visit: Visit) -> Response:
    """What a decision would change, before it is made."""
    decision, stratum = _decision(visit), stratum_of(visit.form)
    visit.note("preview", {"decision": decision, **_without_rows(stratum)})
    found = effect(visit.desk, visit.study.id, stratum)
    return visit.page("preview.html", decision=decision, stratum=stratum, effect=found, most=MOST_ROWS)


def decide(visit: Visit) -> Response:
    """Release or discard what was shown; what failed a critical check is proposed, for a second person."""
    decision, stratum, reason = _decision(visit), stratum_of(visit.form), visit.reason()
    about = {**stratum.as_json(), **_seen(visit)}
    if effect(visit.desk, visit.study.id, stratum).needs_two:
        return _ask(visit, "propose", {"decision": decision, **about}, reason)
    return _ask(visit, decision, about, reason)


def proposals(visit: Visit) -> Response:
    """What waits for a second person's word."""
    return visit.page("proposals.html", found=_open(visit))


def proposal(visit: Visit) -> Response:
    """One proposal: what it is about, and what it would change now."""
    found = _proposal(visit)
    changes = None
    if "decision" in found.about:
        visit.note("preview", {"proposal": found.id})
        changes = effect(visit.desk, visit.study.id, found.stratum)
    return visit.page("proposal.html", found=found, effect=changes)


def approve(visit: Visit) -> Response:
    """The second person's yes."""
    found, reason = _proposal(visit), visit.reason()
    if found.by == visit.by:
        raise Fault(403, "Who proposes does not approve: it takes another person.")
    return _ask(visit, "approve", {"proposal": found.id}, reason)


def decline(visit: Visit) -> Response:
    """The second person's no, or the first one's second thoughts."""
    found, reason = _proposal(visit), visit.reason()
    if found.by != visit.by and not visit.may("approve"):
        raise Fault(403, "Your role in this study does not allow this.")
    return _ask(visit, "decline", {"proposal": found.id}, reason)


def threshold(visit: Visit) -> Response:
    """Other thresholds for a check are proposed."""
    known, reason = check_of(visit), visit.reason()
    said = {"check": known.id, "warning": _share(visit, "warning"), "alarm": _share(visit, "alarm")}
    try:
        Proposal.model_validate(said)
    except ValidationError:
        raise Fault(422, "Thresholds are shares in per cent, and the alarm is not below the warning.") from None
    return _ask(visit, "propose", {"threshold": said}, reason)


def sign_off(visit: Visit) -> Response:
    """A day is seen and found good."""
    day = visit.day(visit.form)
    if day is None or day > visit.now.date():
        raise Fault(422, "Say which day, not later than today.")
    return _ask(visit, "sign-off", {"day": day.isoformat()}, visit.reason())


def decisions(visit: Visit) -> Response:
    """What was decided, the newest first."""
    return visit.page("decisions.html", found=decided(visit, limit=NEWEST))


def request(visit: Visit) -> Response:
    """What becomes of a request: the page, which looks again by itself until there is an answer."""
    return _request(visit, "request.html")


def request_state(visit: Visit) -> Response:
    """The part of that page which changes."""
    return _request(visit, "request_state.html")


def decided(visit: Visit, *kinds: str, limit: int = 10_000) -> list[Decided]:
    """Decisions of these kinds, or all."""
    return [
        Decided(
            row["decision"],
            row["kind"],
            row["start"],
            row["by"],
            row["second"],
            row["check"],
            row["reason"],
            row["rows"],
            json.loads(row["about"]),
        )
        for row in counts.decisions(visit.desk, visit.study.id, kinds, limit).to_pylist()
    ]


def _ask(visit: Visit, kind: str, about: Mapping[str, Any], reason: str) -> Response:
    visit.note(kind, {**{name: value for name, value in about.items() if name not in _NOT_NOTED}, "reason": reason})
    return visit.asked_for(visit.desk.request(kind, visit.study.id, about, visit.by, reason))


def _request(visit: Visit, template: str) -> Response:
    id, _, seal = visit.place["request"].partition("-")
    if not visit.sessions.is_seal(seal, "request", visit.study.id, id):
        raise Fault(404, "There is no such page, or it is not yours.")
    return visit.page(template, answer=visit.desk.answer(id), sealed=visit.place["request"])


def _open(visit: Visit) -> list[Decided]:
    found = decided(visit, "propose", "approve", "decline")
    settled = {one.about.get("proposal") for one in found if one.kind != "propose"}
    return [one for one in found if one.kind == "propose" and one.id not in settled]


def _proposal(visit: Visit) -> Decided:
    found = next((one for one in _open(visit) if one.id == visit.place["proposal"]), None)
    if found is None:
        raise Fault(404, "There is no such proposal, or it is settled already.")
    return found


def _decision(visit: Visit) -> str:
    decision = visit.one("decision")
    if decision not in DECISIONS:
        raise Fault(422, "Choose to release or to discard.")
    return decision


def _seen(visit: Visit) -> dict[str, Any]:
    """How many rows somebody was shown, and which."""
    rows, fingerprint = visit.one("expected"), visit.one("fingerprint")
    if not _COUNT.fullmatch(rows) or not _FINGERPRINT.fullmatch(fingerprint):
        raise Fault(422, "Look first at what it would change.")
    return {"expected": int(rows), "fingerprint": fingerprint}


def _share(visit: Visit, name: str) -> float | None:
    """Per cent as a share; None where the field is empty."""
    text = visit.one(name).replace(",", ".")
    try:
        return round(float(text) / 100, 9) if text else None
    except ValueError:
        raise Fault(422, "Thresholds are shares in per cent, and the alarm is not below the warning.") from None


def _without_rows(stratum: Stratum) -> dict[str, Any]:
    said = stratum.as_json()
    return {**said, "rows": len(stratum.rows)} if stratum.rows else said
