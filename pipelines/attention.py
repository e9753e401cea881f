"""What wants attention in how everything stands, the worst first, and what to do about each: rules over `status`."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pipelines.settings import Settings

SLOW = 20
"""Records that wait longer than so many times the freshness, and longer than a minute, are late."""
DAY_S = 86_400.0
LEAST_FREE, SCARCE = 0.02, 0.10  # of a disk
LASTS_LEAST, LASTS = 1.0, 7.0  # days

Json = Mapping[str, Any]


class Urgency(StrEnum):
    """`now`: something is lost or stands still until somebody acts; `soon`: it will, or somebody waits."""

    NOW = "now"
    SOON = "soon"


class Problem(NamedTuple):
    """What is wrong with which part, and what to do next."""

    urgency: Urgency
    about: str
    what: str
    next: str


def problems(found: Json, settings: Settings) -> list[Problem]:
    """Those in what `pipelines.status.status` has told, the urgent ones first."""
    seen = [problem for rule in _RULES for problem in rule(found, settings)]
    return sorted(seen, key=lambda one: one.urgency != Urgency.NOW)


def _own_error(found: Json, part: str) -> str | None:
    """Why the part is not known; None where it is, or where a registry is to blame, of which is told once."""
    error: str | None = found[part].get("error")
    return None if error is None or error in found["registries"].get("error", "") else error


# -- the stream


def _registries(found: Json, settings: Settings) -> Iterator[Problem]:
    if "error" in found["registries"]:
        todo = "mend it at the place named, or the setting that leads there; a driver does not start without it"
        yield Problem(Urgency.NOW, "registries", found["registries"]["error"], todo)


def _driver(found: Json, settings: Settings) -> Iterator[Problem]:
    driver, waits = found["driver"], found["kafka"].get("records", 0)
    state = driver.get("state")
    if state is not None and any("error" in found[part] for part in ("ledger", "consent")):
        return  # what is wrong with the lake or the vault comes first
    if state == "silent":
        heard = spell(driver["heard_s"])
        what = f"the driver was last heard of {heard} ago: it was killed, or its machine is cut off"
        yield Problem(Urgency.NOW, "driver", what, "start it again: wellspring run --follow; nothing is lost by it")
    elif state == "none" and waits:
        what = f"no driver is at work, and {waits} records wait"
        yield Problem(Urgency.NOW, "driver", what, "start one: wellspring run --follow")
    elif state == "none":
        yield Problem(Urgency.SOON, "driver", "no driver is at work", "start one: wellspring run --follow")


def _late(found: Json, settings: Settings) -> Iterator[Problem]:
    kafka = found["kafka"]
    late_s = max(60.0, SLOW * settings.limits.freshness_s)
    for what, since in (
        ("records", kafka.get("oldest_unread")),
        ("consent events", kafka.get("oldest_consent_unread")),
    ):
        if found["driver"].get("state") == "alive" and since and (waited := _seconds(since, found["at"])) > late_s:
            words = f"{what} have waited for {spell(waited)} although a driver is at work"
            todo = "wellspring ledger list --last 10: does it get on? A backlog takes a while; else look at its log"
            yield Problem(Urgency.SOON, "kafka", words, todo)
    if kafka.get("kept_until") and (left := _seconds(found["at"], kafka["kept_until"])) < DAY_S:
        words = f"Kafka deletes records that were not read, from {spell(max(0.0, left))} from now on"
        yield Problem(Urgency.NOW, "kafka", words, "let a driver read them, or lengthen retention.ms of their topics")


def _kafka(found: Json, settings: Settings) -> Iterator[Problem]:
    kafka = found["kafka"]
    if error := _own_error(found, "kafka"):
        todo = (
            "wellspring kafka status, wellspring topics list; the table of errors says more. Nothing is lost meanwhile"
        )
        yield Problem(Urgency.NOW, "kafka", error, todo)
    if "refused" in kafka:
        yield Problem(Urgency.NOW, "kafka", kafka["refused"], "say so to the studies; then as it says")


def _ledger(found: Json, settings: Settings) -> Iterator[Problem]:
    if "error" in found["ledger"]:
        todo = "start no driver: restore lake and vault from one backup"
        yield Problem(Urgency.NOW, "ledger", found["ledger"]["error"], todo)


# -- people


def _consent(found: Json, settings: Settings) -> Iterator[Problem]:
    consent = found["consent"]
    if error := _own_error(found, "consent"):
        yield Problem(Urgency.NOW, "vault", error, "start no driver; the table of errors says more")
    if "error" in consent:
        return
    for reason, n in consent["expiring"].items():
        if n:
            todo = "publish the links, activations and grants that they wait for: wellspring consent status"
            yield Problem(Urgency.SOON, "holds", f"{n} readings that are held ({reason}) expire within a day", todo)
    for name, words in _CONSENT.items():
        if consent[name]:
            yield Problem(Urgency.SOON, "consent", f"{consent[name]} {words}", "wellspring consent status says which")


_CONSENT = {
    "lagging": "chains have a gap or an event that was not understood: nothing of them lands",
    "alarms": "records of the authority or of kits were not understood",
    "owed": "removals are owed",
}


# -- quality


def _quality(found: Json, settings: Settings) -> Iterator[Problem]:
    failure = found["quality"].get("last_failure")
    if failure and sum(found["quality"]["days_left"].values()):
        what = f"the job of {failure['study']} failed last at {failure['at']} ({failure['error']}), and days are left"
        yield Problem(Urgency.SOON, "quality", what, "it is tried again every 10 minutes; stays it, look at the log")
    for study, waits in _each(found["quarantine"]):
        if waits["is_late"]:
            what = f"rows of {study} wait in quarantine for more than {settings.alerts.waiting_days:g} days"
            yield Problem(Urgency.SOON, "quarantine", what, f"decide them: wellspring quarantine list --study {study}")
    standing: dict[str, list[str]] = {}
    for one in found["alerts"].get("standing", ()):
        standing.setdefault(one["study"], []).append(f"{one['about']} ({one['state']})")
    for study, those in standing.items():
        what = f"{study} does not stand well: {', '.join(those)}"
        yield Problem(Urgency.SOON, "quality", what, "the stewards' desk has a page on each")


def _alerts(found: Json, settings: Settings) -> Iterator[Problem]:
    for receiver in found["alerts"].get("receivers", ()):
        if receiver["waiting"] and receiver["last_failure"]:
            what = f"{receiver['name']} does not take alerts, {receiver['waiting']} wait: {receiver['last_failure']}"
            yield Problem(Urgency.SOON, "alerts", what, "mend it, then: wellspring alerts test")


def _requests(found: Json, settings: Settings) -> Iterator[Problem]:
    requests = found["requests"]
    if requests.get("refused"):
        what = f"{requests['refused']} requests were refused in the last 7 days"
        yield Problem(Urgency.SOON, "requests", what, "wellspring requests list says why")
    oldest, is_alive = requests.get("oldest"), found["driver"].get("state") == "alive"
    if is_alive and oldest and (waited := _seconds(oldest, found["at"])) > 3600:
        what = f"a request has waited for {spell(waited)} although a driver is at work"
        yield Problem(Urgency.SOON, "requests", what, "wellspring requests list, wellspring ledger list --last 10")


# -- disks, and what could not be looked at


def _disks(found: Json, settings: Settings) -> Iterator[Problem]:
    for place, disk in found["disks"].items():
        part, lasts = disk["free"] / disk["size"], disk["lasts_days"]
        urgency = Urgency.NOW if part < LEAST_FREE or (lasts or LASTS) < LASTS_LEAST else Urgency.SOON
        if part < SCARCE or (lasts is not None and lasts < LASTS):
            until = "" if lasts is None else f", for {spell(lasts * DAY_S)} at the present rate"
            what = f"{part:.0%} of the disk of the {place} are free{until}"
            yield Problem(
                urgency,
                "disk",
                what,
                "make room, or a larger disk; a driver that finds it full stops, and loses nothing",
            )


def _unasked(found: Json, settings: Settings) -> Iterator[Problem]:
    for part in ("quality", "quarantine", "alerts", "requests"):
        if error := _own_error(found, part):
            yield Problem(Urgency.SOON, part, error, "the table of errors says more")


_RULES: tuple[Callable[[Json, Settings], Iterator[Problem]], ...] = (
    *(_registries, _ledger, _consent, _kafka, _driver, _late),
    *(_disks, _quality, _alerts, _requests, _unasked),
)


def _each(part: Json) -> Iterator[tuple[str, Json]]:
    return iter(() if "error" in part else part.items())


def _seconds(first: str, then: str) -> float:
    return (datetime.fromisoformat(then) - datetime.fromisoformat(first)) / timedelta(seconds=1)


def spell(seconds: float) -> str:
    """So long, in the unit that fits."""
    for unit, size in (("days", DAY_S), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
