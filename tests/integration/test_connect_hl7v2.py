"""A laboratory's file on a real topic: what the broker confirmed is what the receipt says, and nobody else is in it."""

import json
from collections import Counter
from pathlib import Path

from infra.local_kafka import Address
from schemas.contracts import decode
from schemas.lab_results import lab_report
from tests.canaries import MARK
from tests.lab_messages import file_with_faults
from tests.worlds import make_world, on_topic


def test_what_a_file_holds_is_on_the_topic_by_kit(broker: Address, tmp_path: Path) -> None:
    world = make_world(tmp_path, broker.bootstrap, partner={"contracts": ["lab-result"]})
    content, expected = file_with_faults(1)
    file = tmp_path / "results.hl7"
    file.write_bytes(content)
    done = world.execute("connect", "hl7v2", str(file), "--partner", world.partner, "--json")
    said = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0
    assert (said["problems"], said["by_type"]) == (expected.problems, expected.published)
    reports = [(key, lab_report(decode(value, "lab-result"))) for key, value in on_topic(world, "lab-result")]
    assert Counter(result.code.code for _, report in reports for result in report.results) == expected.published
    assert all(key == report.subject.encode() for key, report in reports)
    assert not any(MARK.encode() in key + value for key, value in on_topic(world, "lab-result"))
