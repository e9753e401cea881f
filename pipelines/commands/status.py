"""wellspring status."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from pipelines.attention import Urgency, problems, spell
from pipelines.commands.common import AsJson, Config, console, put, settings_of
from pipelines.entries import now_us

EXAMPLE = "Exit codes: 0 nothing is urgent, 1 something is. Examples: wellspring status; wellspring status --json"
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def status(config: Config = None, as_json: AsJson = False) -> None:
    """How everything stands: driver, records that wait, the last entry, holds, quality, disks; and what to do next."""
    from pipelines.status import status as status_of  # imports the readers of every format

    settings = settings_of(config)
    found = status_of(settings, now_us())
    wrong = problems(found, settings)
    if as_json:
        put({**found, "problems": [one._asdict() for one in wrong]})
    else:
        paper = console()
        for name, line in _lines(found):
            paper.print(f"{name:<12}{line}", markup=False, highlight=False, soft_wrap=True)
        for one in wrong:
            words = f"{'!!' if one.urgency == Urgency.NOW else '! '} {one.about}: {one.what}\n   → {one.next}"
            paper.print(words, markup=False, highlight=False, soft_wrap=True)
        if not wrong:
            paper.print("nothing wants attention", markup=False, highlight=False)
    if any(one.urgency == Urgency.NOW for one in wrong):
        raise typer.Exit(1)


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, tell in (
        ("driver", _driver),
        ("registries", _registries),
        ("ledger", _ledger),
        ("kafka", _kafka),
        ("consent", _consent),
        ("quality", _quality),
        ("quarantine", _quarantine),
        ("alerts", _alerts),
        ("requests", _requests),
    ):
        part = found[name]
        yield name, f"not known: {part['error']}" if "error" in part else tell(part)
    for place, disk in found["disks"].items():
        lasts = "" if disk["lasts_days"] is None else f", for {spell(disk['lasts_days'] * 86_400)} at the present rate"
        yield "disk", f"{place}: {_size(disk['free'])} of {_size(disk['size'])} free{lasts}"


def _driver(driver: Mapping[str, Any]) -> str:
    if driver["state"] == "none":
        return "none at work"
    if driver["state"] == "silent":
        return f"epoch {driver['epoch']}, not heard of for {spell(driver['heard_s'])}"
    memory = f", {_size(driver['memory_bytes'])} of memory" if driver["memory_bytes"] else ""
    return f"at work since {driver['since'][:19]}Z (epoch {driver['epoch']}){memory}"


def _registries(registries: Mapping[str, Any]) -> str:
    return f"{registries['partners']} partners, {registries['studies']} studies"


def _ledger(ledger: Mapping[str, Any]) -> str:
    last, reading = ledger["last"], ledger["last_that_read"]
    if last is None:
        return "no entry yet"
    told = f"entry {last['n']} ({last['kind']}) {spell(last['age_s'])} ago"
    if reading is None:
        return told
    outcomes = ", ".join(f"{n} {outcome}" for outcome, n in reading["outcomes"].items() if n) or "no readings"
    before = (
        "" if reading["n"] == last["n"] else f"; entry {reading['n']} ({reading['kind']}) {spell(reading['age_s'])} ago"
    )
    return f"{told}{before}: {outcomes}"


def _kafka(kafka: Mapping[str, Any]) -> str:
    topics = {topic: sum(of.values()) for topic, of in kafka["unread"].items()}
    behind = {topic: n for topic, n in kafka["consent_unread"].items() if n}
    waits = ", ".join(f"{n} of {topic}" for topic, n in topics.items() if n)
    since = f" (the oldest of {kafka['oldest_unread'][:19]}Z)" if kafka["oldest_unread"] else ""
    consent = "".join(f"; {n} of {topic} are not taken in" for topic, n in behind.items())
    return f"unread: {waits or 'nothing'}{since}{consent}"


def _consent(consent: Mapping[str, Any]) -> str:
    held = ", ".join(f"{n} readings ({reason})" for reason, n in consent["held"].items()) or "nothing"
    near = sum(consent["expiring"].values())
    return f"held: {held}" + (f"; {near} of them expire within a day" if near else "")


def _quality(quality: Mapping[str, Any]) -> str:
    left = ", ".join(f"{days} of {study}" for study, days in quality["days_left"].items()) or "none"
    return f"judged through entry {quality['judged_through']}, {quality['entries_since']} since; days left: {left}"


def _quarantine(waits: Mapping[str, Any]) -> str:
    told = {study: "few" if one["rows"] is None else one["rows"] for study, one in waits.items()}
    return ", ".join(f"{rows} rows of {study}" for study, rows in told.items() if rows) or "no rows wait"


def _alerts(alerts: Mapping[str, Any]) -> str:
    waits = ", ".join(f"{one['waiting']} for {one['name']}" for one in alerts["receivers"] if one["waiting"])
    return f"{len(alerts['standing'])} conditions do not stand well; to be told: {waits or 'nothing'}"


def _requests(requests: Mapping[str, Any]) -> str:
    return f"{requests['waiting']} wait, {requests['refused']} were refused of late"


def _size(count: float) -> str:
    """Bytes in the unit that fits, of 1000 each."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}"
