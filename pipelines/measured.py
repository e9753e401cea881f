"""What the driver's figures are taken from: Kafka's ends, the ledger, the holds, the conditions of the studies."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.alert_book import Told
from pipelines.driver import Driver
from pipelines.entries import Entry
from pipelines.judging import Judging
from pipelines.metrics import Metrics
from pipelines.outcomes import FIRST_JUDGED, SETTLED
from quality.alerts import Condition, Level
from schemas.reasons import Outcome

_STATES = {level: float(place) for place, level in enumerate(Level)}


def largest_cell(driver: Driver) -> int:
    """The largest smallest cell of all studies: in such steps is counted what is of no single study."""
    return max((study.smallest_cell for study in driver.studies.values()), default=1)


def measure_lag(metrics: Metrics, driver: Driver) -> None:
    """How many records wait in Kafka, of readings and of consent."""
    lag = Counter[tuple[str, ...]]()
    for key, n in driver.unread().items():
        lag[(key.rpartition("/")[0],)] += n
    metrics.set("wellspring_lag_records", lag)
    settings, taken = driver.settings, driver.register.positions()
    behind = Counter[tuple[str, ...]]()
    for at, end in driver.reader.end_offsets([settings.consent_topic, settings.link_topic]).items():
        behind[(at[0],)] += max(0, end - taken.get(at, 0))
    metrics.set("wellspring_consent_lag_records", behind)


def measure_entry(metrics: Metrics, driver: Driver, entry: Entry) -> None:
    """What one more entry of the ledger says."""
    metrics.add("wellspring_entries_total", (str(entry.kind),), 1)
    if entry.kind not in FIRST_JUDGED:
        return
    counts: Any = entry.counts
    for outcome, n in counts.get("readings", {}).items():
        metrics.add("wellspring_readings_total", (outcome,), n, largest_cell(driver))
    for study, sums in counts.get("studies", {}).items():
        step = driver.studies[study].smallest_cell if study in driver.studies else largest_cell(driver)
        found = {str(Outcome.WITHHELD): sum(sums["withheld"].values())} | {str(one): sums[one] for one in SETTLED}
        for outcome, n in found.items():
            metrics.add("wellspring_study_readings_total", (study, outcome), n, step)


def measure_head(metrics: Metrics, driver: Driver) -> None:
    """The newest entry, and what is held."""
    head, step = driver.ledger.head(), largest_cell(driver)
    metrics.set("wellspring_last_entry", {(): head.n if head else 0})
    metrics.set("wellspring_last_entry_timestamp_seconds", {(): head.at_us / 1_000_000 if head else 0})
    held = driver.holds.open_readings()
    metrics.set("wellspring_holds_open", {(reason,): n // step * step for reason, n in held.items()})
    expiry = driver.holds.next_expiry()
    metrics.set("wellspring_holds_next_expiry_timestamp_seconds", {(): expiry / 1_000_000 if expiry else 0})


def measure_conditions(metrics: Metrics, found: Iterable[Condition], rows: Mapping[str, int | None]) -> None:
    """How the checks of all studies stand, and how many rows wait in each (None where it is not told)."""
    metrics.set(
        "wellspring_check_state", {(one.study, one.about, str(one.severity)): _STATES[one.level] for one in found}
    )
    metrics.set("wellspring_quarantine_rows", {(study,): n for study, n in rows.items() if n is not None})


def measure_job(metrics: Metrics, judging: Judging) -> None:
    """What the quality job has cost, and how often it has failed."""
    for study, seconds in judging.took_s.items():
        metrics.reach("wellspring_job_seconds_total", (study,), seconds)
    for study, failures in judging.failed.items():
        metrics.reach("wellspring_job_failures_total", (study,), failures)


def measure_alerts(metrics: Metrics, receivers: Iterable[Told]) -> None:
    """How it went with those who are alerted."""
    receivers = list(receivers)
    for one in receivers:
        metrics.reach("wellspring_alerts_total", (one.name, "told"), one.told)
        metrics.reach("wellspring_alerts_total", (one.name, "failed"), one.failed)
    metrics.set("wellspring_alerts_waiting", {(one.name,): one.waiting for one in receivers})
