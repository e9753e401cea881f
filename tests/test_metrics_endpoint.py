"""The driver's figures: all that are listed and no others, none about few people or about anybody, and how they are served."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines import measured
from pipelines import metrics as metrics_module
from pipelines.commands.common import Refused
from pipelines.commands.run import _shown
from pipelines.lookout import Lookout
from pipelines.metrics import LIST, METRICS, Metrics
from pipelines.metrics_server import serving
from pipelines.settings import MetricsSettings
from quality.checks import checks
from schemas.registry import Partner, Study
from tests.alerted import HOOK, SECRET, START_US, Watched, replaced, world
from tests.documents import OPERATORS
from tests.steward_world import PSEUDONYM, VALUE

ENDS = {"c": 8, "l": 2, "lab.kit-event.v1": 1}
REFUSED = b'{"kind": "replay", "selection": {}, "asked_at": "", "refused": "it is too late", "refused_at": ""}'

ALLOWED = {
    *("topic", "kind", "outcome", "study", "reason", "check", "severity", "receiver", "result"),
    "place",
    "le",  # of a histogram
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def watched(tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr("pipelines.alerting.deliver", lambda *_: None)
    return Watched(tmp_path, metrics=metrics)


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, in the order in which these are listed."""
    order = {metric.name: metric.labels for metric in METRICS}
    return {
        (one.name, *(one.labels[label] for label in order.get(one.name, one.labels))): one.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for one in family.samples
    }


def driver(**more: Any) -> Any:
    studies = {"sleep": Study(id="sleep"), "cycle": Study(id="cycle", smallest_cell=20)}
    return SimpleNamespace(studies=studies, **more)


# -- which there are


def test_the_operators_page_lists_them() -> None:
    page = OPERATORS.read_text(encoding="utf-8")
    assert LIST.in_page(page) == page, "run python -m pipelines.metrics --write"


def test_no_label_could_name_a_device_or_a_person() -> None:
    assert {label for metric in METRICS for label in metric.labels} <= ALLOWED
    assert [metric.name for metric in METRICS if not metric.meaning.endswith(".")] == []


def test_what_is_served_is_what_is_listed(watched: Watched, metrics: Metrics) -> None:
    watched.went = {"sleep": True}
    watched.life()
    metrics.observe("wellspring_cycle_seconds", 0.2)
    metrics.add("wellspring_cycles_missed_total", (), 1)
    measured.measure_lag(metrics, _in_kafka())
    measured.measure_entry(metrics, driver(), _entry(landed=100))
    families = {family.name for family in text_string_to_metric_families(metrics.page().decode())}
    assert families == {metric.name.removesuffix("_total") for metric in METRICS}
    with_samples = {name for name, *_ in samples(metrics)}
    assert {metric.name for metric in METRICS if metric.kind != "histogram"} <= with_samples
    assert {label for one in _labels(metrics) for label in one} <= ALLOWED


def _labels(metrics: Metrics) -> Iterator[dict[str, str]]:
    for family in text_string_to_metric_families(metrics.page().decode()):
        yield from (one.labels for one in family.samples)


# -- what they say


def test_checks_stand_as_on_the_pages_and_rows_wait(watched: Watched, metrics: Metrics) -> None:
    watched.life(turns=1)
    found = samples(metrics)
    assert found["wellspring_check_state", "sleep", "PL-01", str(checks()["PL-01"].severity)] in (1, 2)
    assert found["wellspring_quarantine_rows", "sleep"] == 25 and found["wellspring_quarantine_rows", "cycle"] == 0
    assert (
        found["wellspring_job_seconds_total", "sleep"] == 1.5 and found["wellspring_job_failures_total", "sleep"] == 2
    )
    assert found["wellspring_alerts_total", "ops", "told"] == 1 and found["wellspring_alerts_waiting", "ops"] == 0
    assert found[("wellspring_last_entry",)] == 1 and found["wellspring_holds_open", "R_NO_LINK"] == 40
    assert found["wellspring_holds_expiring", "R_NO_LINK"] == 10
    assert found["wellspring_days_left", "sleep"] == found["wellspring_days_left", "cycle"] == 0


def test_every_study_has_its_counters_from_the_beginning(watched: Watched, metrics: Metrics) -> None:
    watched.life(turns=1)
    assert samples(metrics)["wellspring_job_failures_total", "cycle"] == 0


def test_the_machine_is_looked_at(watched: Watched, metrics: Metrics) -> None:
    watched.life(turns=1)
    found = samples(metrics)
    for place in ("lake", "vault"):
        assert 0 < found["wellspring_disk_free_bytes", place] <= found["wellspring_disk_size_bytes", place]
    assert found[("wellspring_memory_bytes",)] > 10_000_000


def test_what_was_read_through_stays_where_a_plan_left_something(watched: Watched, metrics: Metrics) -> None:
    entries = [SimpleNamespace(cause={}), SimpleNamespace(cause={"left": 3})]
    watching = watched.lookout()
    watching._driver = watched.driver()
    shown = []
    for n, entry in enumerate(entries, start=2):
        ledger = SimpleNamespace(head=lambda n=n: SimpleNamespace(n=n), entries=lambda first, one=entry: [one])
        watching._driver.ledger = ledger
        watched.now_us += 10_000_000
        watching.cycled(2.0)
        shown.append(samples(metrics)[("wellspring_read_through_timestamp_seconds",)] * 1_000_000 - START_US)
    watching.close()
    assert shown == [8_000_000, 8_000_000]


def test_cycles_that_were_missed_are_counted(watched: Watched, metrics: Metrics) -> None:
    watching = watched.lookout()
    watching.missed()
    watching.missed()
    watching.close()
    assert samples(metrics)[("wellspring_cycles_missed_total",)] == 2


def test_they_are_there_where_nobody_is_alerted(tmp_path: Path, metrics: Metrics) -> None:
    Watched(tmp_path, receivers=[], metrics=metrics).life()
    assert ("wellspring_check_state", "sleep", "PL-01", str(checks()["PL-01"].severity)) in samples(metrics)


def test_nothing_is_shown_of_few_people(watched: Watched, metrics: Metrics) -> None:
    watched.lake = world()
    replaced(watched.lake, "check_result", "people", 9)
    replaced(watched.lake, "quarantine", "pseudonym", "ONE")
    watched.life()
    found = samples(metrics)
    assert not [place for place in found if place[0] == "wellspring_check_state"]
    assert ("wellspring_quarantine_rows", "sleep") not in found


def test_no_pseudonym_value_or_secret_is_among_them(watched: Watched, metrics: Metrics) -> None:
    watched.life()
    page = metrics.page().decode()
    assert [text for text in (PSEUDONYM, str(VALUE), SECRET, HOOK["url"]) if text in page] == []


def test_readings_are_counted_in_whole_steps_of_the_smallest_cell(metrics: Metrics) -> None:
    shown = []
    for _ in range(5):
        measured.measure_entry(metrics, driver(), _entry(landed=3))
        shown.append(samples(metrics)["wellspring_study_readings_total", "sleep", "landed"])
    assert shown == [0, 0, 0, 10, 10]
    assert samples(metrics)["wellspring_readings_total", "held"] == 40  # of 55, in steps of 20


def _entry(landed: int) -> Any:
    study = {"withheld": {"R_NOT_MEMBER": 2}, "quarantined": 0, "duplicate": 0, "landed": landed}
    return SimpleNamespace(kind="ingest", counts={"readings": {"held": 11}, "studies": {"sleep": study}})


def test_an_entry_of_another_kind_counts_no_reading_again(metrics: Metrics) -> None:
    entry = _entry(landed=100)
    entry.kind = "replay"
    measured.measure_entry(metrics, driver(), entry)
    found = samples(metrics)
    assert found["wellspring_entries_total", "replay"] == 1
    assert not [place for place in found if place[0] == "wellspring_study_readings_total"]


def test_lag_is_by_topic_of_readings_and_of_consent(metrics: Metrics) -> None:
    measured.measure_lag(metrics, _in_kafka())
    found = samples(metrics)
    assert found["wellspring_lag_records", "acme.sensor-reading.v1"] == 7
    assert found["wellspring_consent_lag_records", "c"] == 3 and found["wellspring_consent_lag_records", "l"] == 0
    assert found["wellspring_consent_lag_records", "lab.kit-event.v1"] == 1
    assert found[("wellspring_consent_alarms",)] == 2 and found[("wellspring_requests_waiting",)] == 1


def _in_kafka() -> Any:
    return driver(
        unread=lambda: {"acme.sensor-reading.v1/0": 3, "acme.sensor-reading.v1/1": 4},
        settings=SimpleNamespace(consent_topic="c", link_topic="l"),
        partners={"lab": Partner(name="lab", contracts=("lab-result", "kit-event"))},
        register=SimpleNamespace(positions=lambda: {("c", 0): 5, ("l", 0): 2}, alarms=lambda: ["one", "two"]),
        reader=SimpleNamespace(end_offsets=lambda topics: {(topic, 0): ENDS[topic] for topic in topics}),
        store=SimpleNamespace(
            list=lambda folder: [f"{folder}{1:012d}-{'0' * 32}.json", f"{folder}{2:012d}-{'1' * 32}.json"],
            get=lambda key: REFUSED if "-0" in key else b"{}",
        ),
    )


def test_a_lag_that_cannot_be_measured_is_said_once_and_the_stream_goes_on(watched: Watched) -> None:
    lookout = Lookout(watched.driver(), cast(Any, SimpleNamespace()), watched.metrics)
    lookout.cycled(0.1)
    lookout.cycled(0.1)
    lookout.close()
    assert watched.said == ["the lag could not be measured (AttributeError); the stream goes on"]


# -- how they are served


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_they_are_served_with_the_sign_of_life_and_nothing_else(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving("127.0.0.1", 0, metrics) as port:
        status, page = get(port, "/metrics")
        assert status == 200 and "# TYPE wellspring_last_entry gauge" in page
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/")[0] == get(port, "/metrics/../../etc/passwd")[0] == 404
        monkeypatch.setattr(metrics_module, "STUCK_S", 0.0)
        assert get(port, "/healthz")[0] == 503
    assert capfd.readouterr() == ("", "")
    with pytest.raises(OSError, match=r"refused|reset"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_off_by_default_and_refused_where_the_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with _shown(None) as none, _shown(MetricsSettings()) as off:
        assert none is None and off is None
    with _shown(MetricsSettings(port=0)) as shown:
        assert isinstance(shown, Metrics)
        port = int(capsys.readouterr().err.split("port ")[1].split(":")[0])
        with pytest.raises(Refused, match="nothing can listen on"), _shown(MetricsSettings(port=port)):
            pass
