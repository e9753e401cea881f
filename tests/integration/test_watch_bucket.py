"""A bucket that is watched, on a real S3 server: as a folder is, and with a lease instead of a lock."""

import json
import threading
import time
from pathlib import Path

import pytest

from connectors.objects import Objects
from connectors.watch_bucket import Bucket
from connectors.watch_place import Changed, PlaceRefused
from infra.local_kafka import Address
from pipelines.cli import execute
from tests.apple_exports import export_zip, plain, xml
from tests.canaries import subject
from tests.lab_messages import PID, message, obr, obx, spm
from tests.s3_server import S3Server
from tests.watched import NOW, Inbox, Killed, Memory, killer
from tests.worlds import make_world, wait_for

URL = "s3://uploads/acme"
APPLE = {"format": "apple-health", "subject": subject("ann")}
EXPORT = export_zip(xml(*plain(30)))
RESULTS = "".join(message(PID.format(n=n), obr(n), obx(str(n)), spm(f"KIT{n}"), number=n) for n in (1, 2)).encode()


class InboxBehind(Inbox):
    """The folder behind the bucket's prefix, into which people put objects."""

    def write(self, name: str, content: bytes) -> None:
        Objects(URL).put(name, content)


@pytest.fixture
def inbox(s3: S3Server) -> Inbox:
    return InboxBehind(s3.bucket / "acme")


def test_a_file_that_was_laid_behind_the_server_is_taken_too(inbox: Inbox) -> None:
    (inbox.root / "export.zip").write_bytes(EXPORT)
    inbox.write("export.zip.manifest.json", json.dumps({**APPLE, "partner": "acme"}).encode())
    memory = Memory()
    one_round(inbox, memory)
    assert inbox.names() == [] and memory.distinct() == 1


def one_round(inbox: Inbox, memory: Memory, lease_s: float = 0.2, **more: object) -> None:
    place = Bucket(URL, lease_s)
    with place.hold():
        inbox.watcher(memory.outlet, NOW, place=place, **more).round()  # type: ignore[arg-type]


def test_objects_are_published_and_go_where_they_belong(inbox: Inbox) -> None:
    inbox.drop("export.zip", EXPORT, **APPLE)
    inbox.drop("cut.zip", EXPORT[:-700], **APPLE)
    inbox.drop("results.hl7", RESULTS, format="hl7v2")
    inbox.drop("unknown", b"1")
    memory = Memory()
    one_round(inbox, memory)
    assert inbox.names() == ["unknown"]
    assert inbox.names("done") == ["export.zip", "export.zip.manifest.json", "results.hl7", "results.hl7.manifest.json"]
    assert inbox.names("failed") == ["cut.zip", "cut.zip.manifest.json"]
    assert sorted(receipt["outcome"] for receipt in inbox.receipts()) == ["done", "done", "failed"]
    assert memory.distinct() == 3 and inbox.decisions() == []


@pytest.mark.parametrize(
    ("step", "count"), [("published", 1), ("decided", 2), ("receipt", 1), ("moved", 1), ("moved", 4), ("forgotten", 1)]
)
def test_dying_at_any_step_is_harmless(step: str, count: int, inbox: Inbox) -> None:
    dropped = [inbox.drop("export.zip", EXPORT, **APPLE), inbox.drop("results.hl7", RESULTS, format="hl7v2")]
    memory = Memory()
    with pytest.raises(Killed):
        one_round(inbox, memory, on_step=killer(step, count))
    one_round(inbox, memory)
    assert inbox.names() == [] and inbox.decisions() == []
    assert inbox.names("done") == sorted([*dropped, *(f"{name}.manifest.json" for name in dropped)])
    assert len(inbox.receipts()) == 2 and memory.distinct() == 3


def test_dying_between_a_copy_and_its_deletion_is_harmless(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.drop("export.zip", EXPORT, **APPLE)
    memory, place = Memory(), Bucket(URL, 0.2)

    def dies(key: str) -> None:
        raise Killed

    with place.hold():
        monkeypatch.setattr(place._objects, "delete", dies)
        with pytest.raises(Killed):
            inbox.watcher(memory.outlet, NOW, place=place).round()
    assert inbox.names("done") == ["export.zip"] and "export.zip" in inbox.names()
    one_round(inbox, memory)
    assert inbox.names() == [] and inbox.names("done") == ["export.zip", "export.zip.manifest.json"]
    assert len(inbox.receipts()) == 1 and memory.distinct() == 1


def test_an_object_that_was_replaced_is_another(inbox: Inbox) -> None:
    inbox.drop("a", b"1")
    place = Bucket(URL)
    (item,) = place.items()
    assert place.is_still(item) and place.open(item).read() == b"1"
    place.put("a", b"2")
    assert not place.is_still(item)
    with pytest.raises(Changed):
        place.open(item)
    place.move("a", item.stamp, "done/a")
    assert inbox.names() == ["a"] and inbox.names("done") == []


# -- who watches


def test_one_watcher_at_a_time_and_the_next_after_it_has_ended(inbox: Inbox) -> None:
    with (
        Bucket(URL, 1.5).hold(),
        pytest.raises(PlaceRefused, match="another watcher is at work"),
        Bucket(URL, 1.5).hold(),
    ):
        pass
    began = time.monotonic()
    with Bucket(URL, 60).hold():  # it has ended, and said so
        assert time.monotonic() - began < 30


def test_of_two_who_come_at_once_one_is_refused(inbox: Inbox) -> None:
    together, came, refused = threading.Barrier(4), [], []

    def come() -> None:
        place = Bucket(URL, 3)
        together.wait()
        try:
            with place.hold():
                came.append(place)
                time.sleep(1)
        except PlaceRefused as refusal:
            refused.append(str(refusal))

    comers = [threading.Thread(target=come) for _ in range(4)]
    for comer in comers:
        comer.start()
    for comer in comers:
        comer.join()
    assert (len(came), len(refused)) == (1, 3)


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A watcher that renews its lease no more."""
    place = Bucket(URL, 0.5)
    monkeypatch.setattr(place._lease, "_renew", lambda ended: None)
    return place


def test_who_was_taken_for_dead_decides_nothing_any_more(inbox: Inbox, paused: Bucket) -> None:
    inbox.drop("export.zip", EXPORT, **APPLE)

    def overtaken(step: str) -> None:
        if step == "published":
            with Bucket(URL, 0.5).hold():
                pass

    with pytest.raises(PlaceRefused, match="another watcher has taken over"), paused.hold():
        inbox.watcher(Memory().outlet, NOW, place=paused, on_step=overtaken).round()
    assert inbox.names("done") == [] and inbox.receipts() == [] and inbox.decisions() == []


@pytest.mark.parametrize("at", ["published", "decided"])
def test_two_at_the_same_file_bring_it_to_one_end(at: str, inbox: Inbox, paused: Bucket) -> None:
    inbox.drop("export.zip", EXPORT, **APPLE)
    memory = Memory()

    def overtaken(step: str) -> None:
        if step == at:
            one_round(inbox, memory, 0.5)

    with paused.hold():
        inbox.watcher(memory.outlet, NOW, place=paused, on_step=overtaken).round()
    assert inbox.names() == [] and inbox.names("done") == ["export.zip", "export.zip.manifest.json"]
    assert len(inbox.receipts()) == 1 and inbox.decisions() == [] and memory.distinct() == 1


# -- as a command


def test_the_command_watches_a_bucket_until_it_is_told_to_end(
    inbox: Inbox, broker: Address, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, partner={"contracts": ["app-export"]})
    inbox.drop("export.zip", EXPORT, **{**APPLE, "partner": None})
    words = ["watch", URL, "--partner", world.partner, "--json"]
    assert execute([*words, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["published"] == 30
    assert len(inbox.names()) == 2 and inbox.names("done") == []
    with world.following(*words) as command:
        wait_for(lambda: command.output.endswith("\n"))
        (said,) = map(json.loads, command.output.splitlines())
        assert (said["outcome"], said["published"], command.end()) == ("done", 30, 0)
    assert inbox.names("done") == ["export.zip", "export.zip.manifest.json"]


def test_a_bucket_that_cannot_be_reached_is_told(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    config = tmp_path / "wellspring.yaml"
    config.write_text("{}")
    (tmp_path / "partners.yaml").write_text("partners: []")
    assert execute(["watch", URL, "--once", "--config", str(config)]) == 1
    assert "the server cannot be reached (AWS_ENDPOINT_URL)" in capsys.readouterr().err
    assert execute(["watch", URL, "--dry-run"]) == 1
