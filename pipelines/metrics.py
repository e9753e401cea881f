"""The driver's figures for Prometheus: their names, and the values that they have now.

The list is the truth: the values, and the operators' page (`python -m pipelines.metrics --write`), follow it. No label
names a device or a person. Readings and rows are counted in whole steps of a study's smallest cell, so that two scrapes
never differ by fewer; where fewer people stand behind a number, there is none.
"""

import sys
import threading
import time
from collections import Counter as Sums
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import prometheus_client as prometheus

from schemas.generated_page import Listing, table

PAGE = Path(__file__).parents[1] / "infra" / "README.md"
STUCK_S = 900.0
"""A driver whose loop has not come round for so long is not well."""


class Metric(NamedTuple):
    """One figure."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str


METRICS = (
    Metric("wellspring_lag_records", "gauge", ("topic",), "Records of a topic that no plan has read yet."),
    Metric(
        "wellspring_consent_lag_records", "gauge", ("topic",), "Consent events and links that are not taken in yet."
    ),
    Metric(
        "wellspring_consent_alarms",
        "gauge",
        (),
        "Records of the authority, or partitions of kits' events, of which something was not understood.",
    ),
    Metric(
        "wellspring_read_through_timestamp_seconds",
        "gauge",
        (),
        "All readings that had come in by then have been read, seconds since 1970; 0 before the first cycle.",
    ),
    Metric("wellspring_cycle_seconds", "histogram", (), "Seconds that the driver's cycles took."),
    Metric(
        "wellspring_cycles_missed_total",
        "counter",
        (),
        "Cycles that could not be done since Kafka was not to be reached.",
    ),
    Metric("wellspring_entries_total", "counter", ("kind",), "Ledger entries since the driver's start, by kind."),
    Metric("wellspring_last_entry", "gauge", (), "Number of the ledger's newest entry."),
    Metric("wellspring_last_entry_timestamp_seconds", "gauge", (), "When it was appended, seconds since 1970."),
    Metric(
        "wellspring_readings_total",
        "counter",
        ("outcome",),
        "Readings since the driver's start that were decoded, rejected, held, claimed or skipped, in whole steps of "
        "the largest smallest cell.",
    ),
    Metric(
        "wellspring_study_readings_total",
        "counter",
        ("study", "outcome"),
        "Readings since the driver's start that a study considered, by what came of them, in whole steps of its smallest "
        "cell.",
    ),
    Metric(
        "wellspring_holds_open",
        "gauge",
        ("reason",),
        "Readings that are held, by what they wait for, in whole steps of the largest smallest cell.",
    ),
    Metric(
        "wellspring_holds_expiring",
        "gauge",
        ("reason",),
        "Those of them that expire within 24 hours, in the same steps.",
    ),
    Metric(
        "wellspring_holds_next_expiry_timestamp_seconds",
        "gauge",
        (),
        "When the next hold expires, seconds since 1970; 0 where none does.",
    ),
    Metric(
        "wellspring_check_state",
        "gauge",
        ("study", "check", "severity"),
        "How a check stands: 0 well, 1 warning, 2 alarm; none where it is withheld or has not been judged in 14 days.",
    ),
    Metric(
        "wellspring_quarantine_rows",
        "gauge",
        ("study",),
        "Rows that wait in quarantine, in steps of what half of the smallest cell may have; none where they are of few people.",
    ),
    Metric("wellspring_requests_waiting", "gauge", (), "Requests that the driver has still to do."),
    Metric("wellspring_days_left", "gauge", ("study",), "Days that have changed and are not judged yet."),
    Metric("wellspring_job_seconds_total", "counter", ("study",), "Seconds that the quality job has judged."),
    Metric("wellspring_job_failures_total", "counter", ("study",), "How often the quality job has failed."),
    Metric(
        "wellspring_alerts_total",
        "counter",
        ("receiver", "result"),
        "Messages to a receiver of alerts, by whether it has taken them: `told`, `failed`.",
    ),
    Metric("wellspring_alerts_waiting", "gauge", ("receiver",), "Changes that a receiver is still to be told of."),
    Metric(
        "wellspring_disk_free_bytes",
        "gauge",
        ("place",),
        "Bytes free on the disks of lake and vault, where these are folders.",
    ),
    Metric("wellspring_disk_size_bytes", "gauge", ("place",), "Of so many."),
    Metric("wellspring_memory_bytes", "gauge", (), "Memory that the driver's process holds."),
)
_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The values. One thread sets them, others may read `page`."""

    def __init__(self) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = prometheus.CollectorRegistry()
        self._of = {metric.name: self._made(metric) for metric in METRICS}
        self._sums: Sums[tuple[str, tuple[str, ...]]] = Sums()
        self._shown: Sums[tuple[str, tuple[str, ...]]] = Sums()
        self._turn = threading.Lock()
        self.alive()

    def _made(self, metric: Metric) -> Any:
        if metric.kind == "histogram":
            return prometheus.Histogram(
                metric.name, metric.meaning, metric.labels, registry=self.registry, buckets=_BUCKETS
            )
        kind = prometheus.Gauge if metric.kind == "gauge" else prometheus.Counter
        return kind(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def set(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """The values of a gauge by its labels, in place of all that it had."""
        with self._turn:
            gauge = self._of[name]
            if not gauge._labelnames:
                gauge.set(values.get((), 0.0))
                return
            gauge.clear()
            for labels, value in values.items():
                gauge.labels(*labels).set(value)

    def reach(self, name: str, labels: tuple[str, ...], total: float) -> None:
        """A counter's total since its own beginning: it goes up to it, never down."""
        place = (name, labels)
        counter = self._of[name].labels(*labels) if labels else self._of[name]
        counter.inc(max(0, total - self._shown[place]))
        self._shown[place] = max(total, self._shown[place])  # type: ignore[assignment]

    def add(self, name: str, labels: tuple[str, ...], by: int, step: int = 1) -> None:
        """Count further ones; the counter shows whole steps."""
        place = (name, labels)
        self._sums[place] += by
        self.reach(name, labels, self._sums[place] // step * step)

    def observe(self, name: str, seconds: float) -> None:
        """One more value of a histogram."""
        self._of[name].observe(seconds)

    def alive(self) -> None:
        """The driver's loop has come round."""
        self._alive_s = time.monotonic()

    @property
    def is_well(self) -> bool:
        """Whether it has, of late."""
        return time.monotonic() - self._alive_s < STUCK_S

    def page(self) -> bytes:
        """The figures as Prometheus reads them, text format 0.0.4."""
        with self._turn:
            return bytes(prometheus.generate_latest(self.registry))


def listing() -> str:
    """The figures in Markdown."""
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.meaning) for one in METRICS
    ]
    return table(("figure", "kind", "labels", "meaning"), rows) + "\n"


LIST = Listing("metrics", "pipelines.metrics", listing)

if __name__ == "__main__":
    sys.exit(LIST.main(["--page", str(PAGE), *sys.argv[1:]]))
