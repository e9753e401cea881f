"""What the demo shows of quality: what checks found, what waits, what was decided, and how to sign in at the desk."""

from collections.abc import Mapping
from typing import Any

from pipelines.demo.inspection import Inspection
from pipelines.demo.narrator import Narrator
from pipelines.demo.stewards import ABOUT
from pipelines.demo.tables import table
from quality.checks import checks

MOST = 6
"""Checks of a study that are shown."""
_HIDDEN = "too few people to say"


def show_quality(inspection: Inspection, narrator: Narrator) -> None:
    """All of it, for people."""
    for study, found in inspection.found.items():
        narrator.title(f"What the checks found on the last day of {study}")
        if found:
            narrator.console.print(table([_row(one) for one in found[:MOST]]))
        narrator.say(_left(len(found)))
    narrator.title("What waits in quarantine, by the check that held it back")
    narrator.console.print(
        table(
            [
                {
                    "study": study,
                    "check": name,
                    "what": checks()[name].title,
                    "rows": _HIDDEN if n is None else f"{n:,}",
                }
                for study, waiting in inspection.waiting.items()
                for name, n in waiting
            ]
        )
    )
    _decided(inspection.decision, narrator)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "check": one["check"],
        "what": one["title"],
        "state": one["state"],
        "failed": _HIDDEN if one["failed"] is None else f"{one['failed']:,}",
        "of": "" if one["judged"] is None else f"{one['judged']:,}",
    }


def _left(count: int) -> str:
    if not count:
        return "no check is above its threshold, of as many people as may be told of"
    return f"and {count - MOST} more: the report has all of them" if count > MOST else "the report has all checks"


def _decided(decision: Any, narrator: Narrator) -> None:
    narrator.title("What two people decided")
    row = {"proposed by": decision["second"], "approved by": decision["by"], "check": decision["check"]}
    narrator.console.print(table([{**row, "rows": decision["rows"], "ledger entry": decision["entry"]}]))


def show_sign_in(inspection: Inspection, narrator: Narrator) -> None:
    """Each user's password: it is said once, here, and lies nowhere."""
    narrator.title("Sign in at the stewards' desk (these passwords were made now, and are not said again)")
    for name, password in inspection.passwords.items():
        narrator.console.print(f"  {name:<6} {password}  {ABOUT[name]}", soft_wrap=True, highlight=False, markup=False)
    narrator.say("  `wellspring steward` says where the desk is; on the command line the password is asked for.")


def as_json(inspection: Inspection) -> dict[str, Any]:
    """For machines; the passwords are not in it."""
    return {
        "found": {
            study: {one["check"]: {name: one[name] for name in ("state", "failed", "judged")} for one in found}
            for study, found in inspection.found.items()
        },
        "waiting": {study: dict(waiting) for study, waiting in inspection.waiting.items()},
        "decision": {
            name: inspection.decision[name] for name in ("decision", "by", "second", "check", "rows", "entry")
        },
        "users": sorted(inspection.passwords),
        "reports": [str(path) for path in inspection.reports],
    }
