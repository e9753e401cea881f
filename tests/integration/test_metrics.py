"""The figures of a driver that follows, as a process over a real broker: what came in is in them, and so is everything that
dashboard and alert rules ask for; and it ends quietly."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from prometheus_client.parser import text_string_to_metric_families

from infra.local_kafka import Address
from tests.canaries import subject
from tests.promql import selectors
from tests.test_dashboards import EXPRESSIONS, labels_of
from tests.worlds import make_world

T = TypeVar("T")
PEOPLE = ("ann", "bob", "cat")
NOBODY = {
    "name": "ops",
    "kind": "webhook",
    "url": "http://127.0.0.1:1/",
    "secret": "of sixteen and more",
    "at_least": "info",
}


def test_a_driver_that_follows_shows_its_figures(broker: Address, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, studies=("sleep",))
    (world.folder / "studies.yaml").write_text("studies: [{id: sleep, smallest_cell: 2}]\n", encoding="utf-8")
    said = yaml.safe_load(world.config.read_text(encoding="utf-8"))
    more = {"metrics": {"port": 0}, "quality": {"every_s": 0}, "alerts": {"receivers": [NOBODY]}}
    world.config.write_text(json.dumps({**said, **more}), encoding="utf-8")
    for person in PEOPLE:
        world.consent(world.link(person), world.grant(person, "sleep"))
    world.publish(*(world.reading(person, range(10)) for person in PEOPLE), world.reading("dan", range(100, 103)))
    with world.following("run", "--follow") as command:
        port = soon(lambda: re.search(r"figures are on 127\.0\.0\.1 port (\d+)", command.errors))[1]

        def samples() -> list[Any]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                page = answer.read().decode()
            assert not [person for person in (*PEOPLE, "dan") if subject(person) in page]
            return [one for family in text_string_to_metric_families(page) for one in family.samples]

        def figures() -> dict[str, float]:
            return {f"{one.name}{sorted(one.labels.values())}": one.value for one in samples()}

        def lacking() -> set[str]:
            """What dashboard and rules ask for and the driver does not show with these labels."""
            shown = {(one.name, frozenset(one.labels)) for one in samples()}
            asked = {series.name for one in EXPRESSIONS for series in selectors(one.text)}
            return {name for name in asked if (name, frozenset(labels_of(name))) not in shown}

        judged = "wellspring_entries_total['judge']"
        found = soon(lambda: now if (now := figures()).get(judged) else None)
        assert found["wellspring_study_readings_total['landed', 'sleep']"] == 30
        assert found["wellspring_cycle_seconds_count[]"] >= 1 and found["wellspring_last_entry[]"] >= 3
        assert found[f"wellspring_lag_records['{world.topic}']"] == 0
        assert found[f"wellspring_consent_lag_records['{world.settings.consent_topic}']"] == 0
        assert found["wellspring_memory_bytes[]"] > 50_000_000 and found["wellspring_disk_free_bytes['vault']"] > 0
        assert time.time() - found["wellspring_read_through_timestamp_seconds[]"] < 3600
        soon(lambda: True if not lacking() else None)
        stands = json.loads(world.execute("status", "--json").stdout)
        assert stands["consent"]["held"] == {"H_NO_CONSENT": 3}  # an operator's own figure; the page's is in steps of 2
        now = figures()
        assert (
            now["wellspring_holds_open['H_NO_CONSENT']"] == 2 and now["wellspring_holds_expiring['H_NO_CONSENT']"] == 0
        )
        assert stands["kafka"]["records"] == now[f"wellspring_lag_records['{world.topic}']"] == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert answer.read() == b"ok\n"
        assert command.end() == 0 and "Traceback" not in command.errors


def soon(ask: Callable[[], T | None], seconds: float = 120) -> T:
    """The first answer that is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (found := ask()) is not None:
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")
