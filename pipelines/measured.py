"""How a driver takes its figures: from Kafka's ends, the ledger, the holds, the conditions of the studies, the machine."""

from collections.abc import Iterable, Mapping
from typing import Any

import psutil

from pipelines import figures
from pipelines.alert_book import Told
from pipelines.consent.follow import kit_topics
from pipelines.driver import Driver
from pipelines.entries import Entry
from pipelines.judging import Judging
from pipelines.judging_status import days_left
from pipelines.metrics import Metrics
from pipelines.outcomes import FIRST_JUDGED
from pipelines.plan import partition_key
from pipelines.requests import everything
from quality.alerts import Condition, Level

_STATES = {level: float(place) for place, level in enumerate(Level)}


def largest_cell(driver: Driver) -> int:
    """The largest smallest cell of all studies: in such steps is counted what is of no single study."""
    return max((study.smallest_cell for study in driver.studies.values()), default=1)


def measure_lag(metrics: Metrics, driver: Driver) -> None:
    """How many records wait in Kafka, of readings and of consent; what of consent was not understood; what was asked for."""
    metrics.set("wellspring_lag_records", _labelled(figures.by_topic(driver.unread())))
    settings = driver.settings
    deciding = [settings.consent_topic, settings.link_topic, *kit_topics(driver.partners.values())]
    behind = figures.not_taken_in(driver.register.positions(), driver.reader.end_offsets(deciding))
    by_key = {partition_key(*at): n for at, n in behind.items()}
    metrics.set("wellspring_consent_lag_records", _labelled(figures.by_topic(by_key)))
    metrics.set("wellspring_consent_alarms", {(): len(driver.register.alarms())})
    metrics.set("wellspring_requests_waiting", {(): sum(one.waits for one in everything(driver.store))})


def _labelled(numbers: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): n for name, n in numbers.items()}


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
        for outcome, n in figures.study_outcomes(sums).items():
            metrics.add("wellspring_study_readings_total", (study, outcome), n, step)


def measure_head(metrics: Metrics, driver: Driver) -> None:
    """The newest entry, and what is held."""
    head, step = driver.ledger.head(), largest_cell(driver)
    metrics.set("wellspring_last_entry", {(): head.n if head else 0})
    metrics.set("wellspring_last_entry_timestamp_seconds", {(): head.at_us / 1_000_000 if head else 0})
    held, near = driver.holds.open_readings(), driver.holds.expiring(driver.clock() + figures.NEAR_US)
    metrics.set("wellspring_holds_open", _labelled(figures.rounded(held, step)))
    metrics.set("wellspring_holds_expiring", _labelled(figures.rounded(dict.fromkeys(held, 0) | near, step)))
    expiry = driver.holds.next_expiry()
    metrics.set("wellspring_holds_next_expiry_timestamp_seconds", {(): expiry / 1_000_000 if expiry else 0})


def measure_machine(metrics: Metrics, driver: Driver) -> None:
    """What disks and memory say."""
    found = dict(figures.disks(driver.settings.places))
    metrics.set("wellspring_disk_free_bytes", _labelled({place: disk.free for place, disk in found.items()}))
    metrics.set("wellspring_disk_size_bytes", _labelled({place: disk.size for place, disk in found.items()}))
    metrics.set("wellspring_memory_bytes", {(): psutil.Process().memory_info().rss})


def measure_conditions(metrics: Metrics, found: Iterable[Condition], rows: Mapping[str, int | None]) -> None:
    """How the checks of all studies stand, and how many rows wait in each (None where it is not told)."""
    metrics.set(
        "wellspring_check_state", {(one.study, one.about, str(one.severity)): _STATES[one.level] for one in found}
    )
    metrics.set("wellspring_quarantine_rows", {(study,): n for study, n in rows.items() if n is not None})


def measure_job(metrics: Metrics, driver: Driver, judging: Judging) -> None:
    """What of the quality job is left, what it has cost, and how often it has failed: of every study, from the beginning."""
    left = dict.fromkeys(driver.studies, 0) | days_left(driver.ledger.head())
    metrics.set("wellspring_days_left", _labelled(left))
    for study in driver.studies:
        metrics.reach("wellspring_job_seconds_total", (study,), judging.took_s.get(study, 0.0))
        metrics.reach("wellspring_job_failures_total", (study,), judging.failed.get(study, 0))


def measure_alerts(metrics: Metrics, receivers: Iterable[Told]) -> None:
    """How it went with those who are alerted."""
    receivers = list(receivers)
    for one in receivers:
        metrics.reach("wellspring_alerts_total", (one.name, "told"), one.told)
        metrics.reach("wellspring_alerts_total", (one.name, "failed"), one.failed)
    metrics.set("wellspring_alerts_waiting", {(one.name,): one.waiting for one in receivers})
