"""The stewards' list of checks in `quality/README.md`, made from the catalogue: `python -m quality.checks_page --write`."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from quality.checks import Action, Check, Where, checks
from schemas.generated_page import Listing, table

PAGE = Path(__file__).with_name("README.md")

WHERE = {
    Where.NORMALISE: "before any study, where readings are brought into the catalogue's terms",
    Where.CONSENT: "where consent is asked",
    Where.MESSAGE: "before the commit, a message or file at a time, against what is usual",
    Where.GATE: "at the gate, every row",
    Where.LANDING: "at the landing, against what is there",
    Where.COMMIT: "before the commit, the run as a whole",
    Where.JOB: "after the commit, where days have changed",
}
FOLLOWS = {
    Action.REJECT: "rejected",
    Action.HOLD: "held",
    Action.WITHHOLD: "withheld",
    Action.QUARANTINE: "quarantined",
    Action.FLAG: "flagged",
    Action.DROP: "dropped as duplicate",
    Action.REPORT: "reported",
}


def listing(of: Mapping[str, Check]) -> str:
    """The catalogue in Markdown: what each check says and what follows, what it is about, its bits, what sleeps and why."""
    found = list(of.values())
    asleep = [check for check in found if not check.is_active]
    in_suites = sum(check.gx for check in found)
    parts = [
        f"{len(found)} checks, of which {len(found) - len(asleep)} are active; {in_suites} are judged by Great Expectations too.",
        table(
            ("check", "what it asks", "what fails", "warns, alarms above", "severity", "what follows"), map(_row, found)
        ),
        "### What each is about, and where it runs",
        table(
            ("check", "dimension", "one answer is about", "asked of", "where", "suite", "source"), map(_about, found)
        ),
        "### Bits",
        table(("check", "bit", "value in `flags`", "what follows"), _bits(found)),
        "### Dormant",
        "Nothing tells yet what these need to know. They count as not applicable.",
        table(
            ("check", "what it asks", "what is missing"), ((check.id, check.title, check.missing) for check in asleep)
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _row(check: Check) -> tuple[str, ...]:
    state = "" if check.is_active else " (dormant)"
    return check.id, check.title + state, rule(check), _thresholds(check), check.severity, FOLLOWS[check.action]


def rule(check: Check) -> str:
    """The rule with its numbers in place of their names: those by metric in a list behind."""
    text, told = check.rule, []
    for name, value in check.parameters.items():
        if isinstance(value, dict):
            told.append(f"`{name}`: {', '.join(f'{metric} {number:g}' for metric, number in value.items())}")
        else:
            text = text.replace(f"`{name}`", _number(name, value))
    return "; ".join((text, *told))


def _number(name: str, value: float | tuple[float, ...]) -> str:
    """A number, or several, with the unit that its name ends with, or has before `_per_`."""
    if isinstance(value, tuple):
        return ", ".join(f"{number:g}" for number in value)
    name, _, per = name.partition("_per_")
    if name.endswith("share"):
        return f"{100 * value:g} %"
    one, many = _UNITS.get(name.rsplit("_", 1)[-1], ("", ""))
    return " ".join(part for part in (f"{value:g}", one if value == 1 else many, per and f"per {per}") if part)


_UNITS = {
    **dict.fromkeys(("s", "seconds"), ("second", "seconds")),
    **dict.fromkeys(("min", "minutes"), ("minute", "minutes")),
    **dict.fromkeys(("h", "hours"), ("hour", "hours")),
    "days": ("day", "days"),
    "g": ("g", "g"),
    "percent": ("%", "%"),
}


def _thresholds(check: Check) -> str:
    warning, alarm = check.thresholds.warning, check.thresholds.alarm
    return f"{100 * warning:g} %, " + ("never" if alarm is None else f"{100 * alarm:g} %")


def _about(check: Check) -> tuple[str, ...]:
    asked = ", ".join(f"`{name}`" for name in check.metrics or check.families) or "all"
    needs = f"; needs {', '.join(f'`{need}`' for need in check.needs)}" if check.needs else ""
    counted = f" (`{'`, `'.join(check.reasons)}`)" if check.reasons else ""
    return (
        check.id,
        f"{check.dimension.replace('-', ', ')}; {check.context}",
        check.scope,
        asked + needs,
        WHERE[check.where] + counted,
        "yes" if check.gx else f"no: {check.no_gx}",
        check.source,
    )


def _bits(found: Iterable[Check]) -> Iterator[tuple[str, ...]]:
    """Every bit that is given, in order."""
    given = [(check.bit, check.id, check.action) for check in found if check.bit is not None]
    given += [(check.mild_bit, f"{check.id}, mild", Action.FLAG) for check in found if check.mild_bit is not None]
    for bit, check, action in sorted(given):
        yield check, str(bit), str(1 << bit), FOLLOWS[action]


CHECKS = Listing("checks", "quality.checks_page", lambda: listing(checks()))

if __name__ == "__main__":
    sys.exit(CHECKS.main(["--page", str(PAGE), *sys.argv[1:]]))
