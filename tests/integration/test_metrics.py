"""The figures of a driver that follows, as a process over a real broker: what came in is in them, and it ends quietly."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml
from prometheus_client.parser import text_string_to_metric_families

from infra.local_kafka import Address
from tests.canaries import subject
from tests.worlds import make_world

T = TypeVar("T")
PEOPLE = ("ann", "bob", "cat")


def test_a_driver_that_follows_shows_its_figures(broker: Address, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, studies=("sleep",))
    (world.folder / "studies.yaml").write_text("studies: [{id: sleep, smallest_cell: 2}]\n", encoding="utf-8")
    said = yaml.safe_load(world.config.read_text(encoding="utf-8"))
    world.config.write_text(json.dumps({**said, "metrics": {"port": 0}, "quality": {"every_s": 0}}), encoding="utf-8")
    for person in PEOPLE:
        world.consent(world.link(person), world.grant(person, "sleep"))
    world.publish(*(world.reading(person, range(10)) for person in PEOPLE))
    with world.following("run", "--follow") as command:
        port = soon(lambda: re.search(r"figures are on 127\.0\.0\.1 port (\d+)", command.errors))[1]

        def figures() -> dict[str, float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                page = answer.read().decode()
            assert not [person for person in PEOPLE if subject(person) in page]
            families = text_string_to_metric_families(page)
            return {f"{one.name}{sorted(one.labels.values())}": one.value for f in families for one in f.samples}

        judged = "wellspring_entries_total['judge']"
        found = soon(lambda: now if (now := figures()).get(judged) else None)
        assert found["wellspring_study_readings_total['landed', 'sleep']"] == 30
        assert found["wellspring_cycle_seconds_count[]"] >= 1 and found["wellspring_last_entry[]"] >= 3
        assert found[f"wellspring_lag_records['{world.topic}']"] == 0
        assert found[f"wellspring_consent_lag_records['{world.settings.consent_topic}']"] == 0
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
