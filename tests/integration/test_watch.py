"""A watched folder on a real broker: killed at random, without a broker for a while, and told to end."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from infra.local_kafka import Address
from tests.apple_exports import plain, xml
from tests.canaries import MARK, subject
from tests.integration.conftest import StartBroker
from tests.watch_kills import BROKEN, EXPORTS, MESSAGES, PEOPLE, RECORDS, RESULTS, SETTLE_S
from tests.watched import Inbox
from tests.worlds import ROOT, make_world, on_topic, wait_for

LONG_AGO = 1_262_304_000_000_000  # 2010-01-01T00:00:00Z
APPLE = {"format": "apple-health", "subject": subject("ann")}


@pytest.mark.timeout(300)
def test_fifty_kills_lose_nothing_and_double_nothing(broker: Address, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, partner={"contracts": ["app-export", "lab-result"]})
    grants = [world.grant(p, "sleep", metrics=("steps_interval",), effective_at=LONG_AGO) for p in PEOPLE]
    world.consent(*map(world.link, PEOPLE), *grants)
    inbox = Inbox(tmp_path / "drop" / "inbox")
    words = [sys.executable, "-m", "tests.watch_kills", str(world.config), world.partner, str(inbox.root)]
    done = subprocess.run([*words, "--kills", "50"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    dropped = json.loads(done.stdout)
    time.sleep(SETTLE_S)
    last = world.execute("watch", str(inbox.root), "--once", "--settle", str(SETTLE_S))
    assert last.returncode in (0, 1), last.stderr

    assert len(dropped) == EXPORTS + RESULTS + BROKEN
    assert inbox.names() == [] and inbox.decisions() == []
    ended = [*inbox.names("done"), *inbox.names("failed")]
    assert sorted(ended) == sorted([*dropped, *(f"{name}.manifest.json" for name in dropped)])
    assert Counter(name.split("-")[1] for name in inbox.names("failed")) == {"broken": 2 * BROKEN}
    receipts = inbox.receipts()
    assert Counter(one["outcome"] for one in receipts) == {"done": EXPORTS + RESULTS, "failed": BROKEN}
    assert all(one["records"] == one["published"] + sum(one["problems"].values()) for one in receipts)
    assert sum(one["published"] for one in receipts) == EXPORTS * RECORDS + RESULTS * MESSAGES
    said = (inbox.root.parent / "output").read_text() + last.stderr + json.dumps(receipts)
    assert MARK not in said

    world.work()
    values = Counter((row["start"], row["value"]) for row in world.rows("sleep", "start, value"))
    assert len(values) == EXPORTS * RECORDS and set(values.values()) == {1}
    results, exports = ({value for _, value in on_topic(world, name)} for name in ("lab-result", "app-export"))
    assert (len(results), len(exports)) == (RESULTS * MESSAGES, EXPORTS)
    world.assert_sound()


def test_while_the_broker_is_away_files_wait_and_nothing_fails(own_broker: StartBroker, tmp_path: Path) -> None:
    kafka, address = own_broker()
    world = make_world(tmp_path / "world", address.bootstrap, partner={"contracts": ["app-export"]})
    inbox = Inbox(tmp_path / "inbox")
    kafka.kill()
    inbox.drop("export.xml", xml(*plain(30)), **APPLE, partner=world.partner)
    with world.following("watch", str(inbox.root), "--settle", "0", "--json") as watcher:
        wait_for(lambda: "nothing listens there; what is left is tried again" in watcher.errors)
        assert watcher.output == "" and "export.xml" in inbox.names() and inbox.names("failed") == []
        kafka.up()
        wait_for(lambda: watcher.output.endswith("\n"), 120)
        assert json.loads(watcher.output)["published"] == 30
        assert watcher.end() == 0
    assert inbox.names("done") == ["export.xml", "export.xml.manifest.json"]


def test_two_watchers_do_not_work_at_one_folder(broker: Address, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, partner={"contracts": ["app-export"]})
    inbox = Inbox(tmp_path / "inbox")
    with world.following("watch", str(inbox.root)) as first:
        wait_for(lambda: (inbox.root / ".wellspring" / "lock").exists())
        second = world.execute("watch", str(inbox.root), "--once")
        assert (second.returncode, second.stderr) == (1, "wellspring: another watcher is at work on this folder\n")
        first.process.kill()
        first.process.wait()
        assert world.execute("watch", str(inbox.root), "--once").returncode == 0
