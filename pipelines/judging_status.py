"""How far the quality job has come, for an operator: by the ledger's last entry, and by what the driver left of failures."""

import json
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.entries import Entry, rfc3339
from pipelines.ledger import Ledger
from pipelines.progress import Progress
from pipelines.store import Store

STATE = "_control/judging.json"
SUITES = "_control/suites.json"


def note_failure(store: Store, failures: int, study: str, error: str, at_us: int) -> None:
    """Leave word of a failure, and of how many this driver has had; `error` is its kind, never its text."""
    state = {"failures": failures, "study": study, "error": error, "at": rfc3339(at_us)}
    store.put(STATE, json.dumps(state).encode())


class StudySuites(BaseModel):
    """How far suites have come with a study: moments in microseconds (UTC).

    `began_us` is when the process that last ended well was sent out, or when the study was first known (`done_us` None).
    `failed_us` are the failures since then, of one day at most. Suites have looked at the rows of laboratories and
    questionnaires that entries `through` this one brought, but for those of the days that are `left`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    began_us: int
    done_us: int | None = None
    failed_us: tuple[int, ...] = ()
    through: int = 0
    left: tuple[date, ...] = ()


class Suites(BaseModel):
    """Of all studies by name, and how often suites have failed since the driver began, and of which study last."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    studies: dict[str, StudySuites] = {}
    failures: int = 0
    failed: str = ""


def note_suites(store: Store, suites: Suites) -> None:
    store.put(SUITES, suites.model_dump_json().encode())


def suites_known(store: Store) -> Suites:
    """What was noted last; nothing where nothing was."""
    state = store.get(SUITES)
    return Suites.model_validate_json(state) if state else Suites()


def days_left(head: Entry | None) -> dict[str, int]:
    """How many days of each study have changed and are not judged yet, by the ledger's newest entry."""
    judged = Progress.of(head).judged
    return {study: len(days) for study, days in judged.left.items()} if judged else {}


def status(store: Store) -> dict[str, Any]:
    """Entries and days that wait, and what went wrong last: counts and days, nothing about a person."""
    head, state = Ledger(store).head(), store.get(STATE)
    judged, left = Progress.of(head).judged, days_left(head)
    oldest = min((days[0] for days in judged.left.values()), default=None) if judged else None
    return {
        "judged_through": judged.through if judged else 0,
        "entries_since": (head.n if head else 0) - (judged.through if judged else 0),
        "days_left": left,
        "oldest_day_left": oldest.isoformat() if oldest else None,
        "last_failure": json.loads(state) if state else None,
        "suites": _told(suites_known(store)),
    }


def _told(suites: Suites) -> dict[str, Any]:
    return {
        "failures": suites.failures,
        "failed": suites.failed or None,
        "studies": {
            study: {
                "began": rfc3339(one.began_us) if one.done_us is not None else None,
                "done": rfc3339(one.done_us) if one.done_us is not None else None,
                "failed_today": len(one.failed_us),
                "through": one.through,
                "days_left": len(one.left),
            }
            for study, one in sorted(suites.studies.items())
        },
    }
