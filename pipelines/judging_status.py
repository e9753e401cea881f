"""How far the quality job has come, for an operator: by the ledger's last entry, and by what the driver left of failures."""

import json
from typing import Any

from pipelines.entries import rfc3339
from pipelines.ledger import Ledger
from pipelines.progress import Progress
from pipelines.store import Store

STATE = "_control/judging.json"
SUITES = "_control/suites.json"


def note_failure(store: Store, failures: int, study: str, error: str, at_us: int) -> None:
    """Leave word of a failure, and of how many this driver has had; `error` is its kind, never its text."""
    state = {"failures": failures, "study": study, "error": error, "at": rfc3339(at_us)}
    store.put(STATE, json.dumps(state).encode())


def note_suites(store: Store, began_us: int, failures: int, failed: str) -> None:
    """Leave word of when suites were last sent out, how often they failed since the driver began, and of which study last."""
    state = {"began": rfc3339(began_us), "began_us": began_us, "failures": failures, "failed": failed}
    store.put(SUITES, json.dumps(state).encode())


def suites_began_us(store: Store) -> int | None:
    """When suites were last sent out, microseconds (UTC); None where it is not known."""
    state = store.get(SUITES)
    return int(json.loads(state)["began_us"]) if state else None


def status(store: Store) -> dict[str, Any]:
    """Entries and days that wait, and what went wrong last: counts and days, nothing about a person."""
    head, state, suites = Ledger(store).head(), store.get(STATE), store.get(SUITES)
    judged = Progress.of(head).judged
    left = {study: len(days) for study, days in judged.left.items()} if judged else {}
    oldest = min((days[0] for days in judged.left.values()), default=None) if judged else None
    return {
        "judged_through": judged.through if judged else 0,
        "entries_since": (head.n if head else 0) - (judged.through if judged else 0),
        "days_left": left,
        "oldest_day_left": oldest.isoformat() if oldest else None,
        "last_failure": json.loads(state) if state else None,
        "suites": json.loads(suites) if suites else None,
    }
