"""A watched folder: whole files only, each once, however often the watcher dies; broken ones stop nobody."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import formats as registered
from connectors.formats import Format, format_named
from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.receipt import Receipt
from connectors.source_file import StorageFailed
from connectors.watch_files import AWAY, TOO_SHORT, UNKNOWN, UNSETTLED, Rules
from connectors.watch_folder import Folder
from connectors.watch_manifest import NamePattern
from connectors.watch_place import Item
from schemas.lab_mapping import parse
from tests.apple_exports import export_zip, faults, plain, record, xml
from tests.canaries import MARK, subject
from tests.lab_messages import PID, message, obr, obx, spm
from tests.watched import Inbox, Killed, Memory, killer

ANN = subject("ann")
APPLE = {"format": "apple-health", "subject": ANN}
EXPORT = xml(*plain(30))
RESULTS = "".join(message(PID.format(n=n), obr(n), obx(str(n)), spm(f"KIT{n}"), number=n) for n in (1, 2)).encode()


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


@pytest.fixture
def memory() -> Memory:
    return Memory()


def sums_hold(receipt: dict[str, Any]) -> bool:
    return bool(
        receipt["records"] == receipt["published"] + sum(receipt["problems"].values())
        and receipt["published"] == sum(receipt["by_type"].values())
    )


# -- which files


def test_a_whole_file_is_published_and_goes_to_done_with_its_manifest_and_a_receipt(
    inbox: Inbox, memory: Memory
) -> None:
    inbox.drop("export.zip", export_zip(xml(*plain(30), faults()["no end"].element)), **APPLE)
    found = inbox.round(memory.outlet)
    assert (found.outcomes, found.waiting, found.trouble) == ({"done": 1}, {}, "")
    assert inbox.names() == [] and inbox.names("done") == ["export.zip", "export.zip.manifest.json"]
    (receipt,) = inbox.receipts()
    assert inbox.names("receipts") == [f"{receipt['file']}.json"]
    assert (receipt["records"], receipt["published"], receipt["problems"]) == (31, 30, {"R_FIELD": 1})
    assert sums_hold(receipt)
    assert {key for key, _ in memory.topics["acme.app-export"]} == {ANN.encode()}


@pytest.mark.parametrize("name", [".export.zip", "export.zip.part", "export.zip.TMP", "~export.zip", "export.filepart"])
def test_a_file_that_is_hidden_or_on_its_way_is_left_alone(name: str, inbox: Inbox, memory: Memory) -> None:
    inbox.drop(name, EXPORT, **APPLE)
    found = inbox.round(memory.outlet)
    assert not found.outcomes and name in inbox.names() and not memory.topics


def test_a_file_without_a_manifest_waits_for_it(inbox: Inbox, memory: Memory) -> None:
    name = inbox.drop("export.xml", EXPORT)
    assert inbox.round(memory.outlet).waiting == {name: UNKNOWN}
    inbox.drop(name, EXPORT, **APPLE)
    assert inbox.round(memory.outlet).outcomes == {"done": 1}


class Growing(Folder):
    """A folder whose files have an age that the test says."""

    ages: dict[str, float] = {}

    def items(self) -> list[Item]:
        return [item._replace(age_s=self.ages.get(item.name, 99.0)) for item in super().items()]


def test_a_file_or_manifest_that_was_just_written_to_is_left_alone(inbox: Inbox, memory: Memory) -> None:
    name, place = inbox.drop("export.xml", EXPORT, **APPLE), Growing(inbox.root)
    with place.hold():
        watcher = inbox.watcher(memory.outlet, Rules(settle_s=5), place=place)
        for young in (name, f"{name}.manifest.json"):
            place.ages = {young: 4.9}
            assert watcher.round().waiting == {name: UNSETTLED}
        place.ages = {name: 5.0}
        assert watcher.round().outcomes == {"done": 1}


def test_a_file_shorter_than_its_manifest_says_waits_for_its_rest(inbox: Inbox, memory: Memory) -> None:
    name = inbox.drop("export.xml", EXPORT[:500], **APPLE, size=len(EXPORT))
    with (place := Folder(inbox.root)).hold():
        watcher = inbox.watcher(memory.outlet, place=place)
        assert watcher.round().waiting == {name: TOO_SHORT}
        assert not memory.topics
        with open(inbox.root / name, "ab") as more:
            more.write(EXPORT[500:])
        assert watcher.round().outcomes == {"done": 1}


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"size": len(EXPORT) - 1}, "size: the file is larger than its manifest says"),
        ({"sha256": "0" * 64}, "sha256: the file is not the one that its manifest was written for"),
        ({"subject": None}, "subject: must say whose file it is"),
        ({"format": f"{MARK}-format"}, "format: must be one of apple-health, hl7v2"),
        ({"partner": "nobody"}, "partner: no partner of that name is registered"),
        ({"laboratory": "north"}, "laboratory: there is no mapping file of a laboratory of that name"),
        ({"subjekt": MARK}, "its manifest: subjekt: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_not_what_its_manifest_says_fails_with_the_reason(
    manifest: dict[str, Any], why: str, inbox: Inbox, memory: Memory
) -> None:
    name = inbox.drop("export.xml", EXPORT, **{**APPLE, **manifest})
    assert inbox.round(memory.outlet).outcomes == {"failed": 1}
    (receipt,) = inbox.receipts()
    assert (receipt["outcome"], receipt["why"], receipt["records"], receipt["partner"]) == ("failed", why, 0, None)
    assert inbox.names("failed") == [name, f"{name}.manifest.json"] and not memory.distinct()


def test_two_manifests_are_one_too_many(inbox: Inbox, memory: Memory) -> None:
    name = inbox.drop("export.xml", EXPORT, **APPLE)
    inbox.drop(f"{name}.manifest.yaml", b"{}")
    assert inbox.round(memory.outlet).outcomes == {"failed": 1}
    assert inbox.names() == [] and len(inbox.names("failed")) == 3


def test_a_name_says_whose_a_file_is(inbox: Inbox, memory: Memory) -> None:
    inbox.drop("acme_p-17_apple-health_march.xml", EXPORT)
    stray = inbox.drop("readme.txt", b"")
    names = NamePattern("{partner}_{subject}_{format}_*", ["apple-health"])
    found = inbox.round(memory.outlet, Rules(0, names))
    assert found.outcomes == {"done": 1} and found.waiting == {stray: UNKNOWN}
    assert {key for key, _ in memory.topics["acme.app-export"]} == {b"p-17"}


def test_a_name_that_is_no_text_is_a_name(inbox: Inbox, memory: Memory) -> None:
    name = os.fsdecode(b"acme_\xff_apple-health_x")
    inbox.drop(name, EXPORT, **APPLE)
    other = inbox.drop(name + "y", EXPORT)
    names = NamePattern("{partner}_{subject}_{format}_*", ["apple-health"])
    found = inbox.round(memory.outlet, Rules(0, names))
    assert found.outcomes == {"done": 1} and found.waiting == {other: UNKNOWN}
    assert name in inbox.names("done")


def test_files_go_in_the_order_in_which_they_came(inbox: Inbox, memory: Memory) -> None:
    place = Growing(inbox.root)
    for name in ("b", "c", "a"):
        inbox.drop(name, EXPORT, **APPLE)
        os.chmod(inbox.root / name, 0o600)
    with place.hold():
        inbox.watcher(memory.outlet, place=place).round()
    assert [result.name for result in inbox.results] == ["b", "c", "a"]


# -- what becomes of them


def test_answers_for_each_message_are_in_the_receipt(inbox: Inbox, memory: Memory) -> None:
    faulty = message(PID.format(n=3), obr(3), obx(f11="I"), spm("KIT3"), number=3).encode()
    inbox.drop("results.hl7", RESULTS + faulty, format="hl7v2")
    inbox.round(memory.outlet)
    (receipt,) = inbox.receipts()
    assert receipt["answers"] == {"counts": {"AA": 2, "AE": 1}, "AE": [3], "AR": []}
    assert (receipt["records"], receipt["problems"], sums_hold(receipt)) == (3, {"R_STATUS": 1}, True)
    assert len(memory.topics["acme.lab-result"]) == 2


def test_a_laboratory_is_read_by_its_mapping_file(inbox: Inbox, memory: Memory) -> None:
    inbox.drop("results.hl7", RESULTS, format="hl7v2", laboratory="north")
    mapping = parse("laboratory: x\nsubject: [{kind: person, field: PID-3, identifier_type: none}]\n")
    inbox.round(memory.outlet, laboratories={"north": mapping})
    assert inbox.receipts()[0]["problems"] == {"R_SUBJECT": 2}


@pytest.mark.parametrize("content", [EXPORT[:-100], export_zip(xml(*plain(3000)))[:-9000]])
def test_a_file_cut_short_is_published_as_far_as_it_goes_and_fails(
    content: bytes, inbox: Inbox, memory: Memory
) -> None:
    inbox.drop("export", content, **APPLE)
    assert inbox.round(memory.outlet).outcomes == {"failed": 1}
    (receipt,) = inbox.receipts()
    assert receipt["partial"] and receipt["published"] and sums_hold(receipt)
    assert receipt["why"].startswith("only read as far as ") and "cut short" in receipt["why"]


class Defective:
    """A format whose connector has a defect that shows in the middle of a file."""

    def __init__(self, source: Format) -> None:
        self.source = source

    def __call__(self, stream: Any, name: str) -> Any:
        yield from self.source.read(stream, name)
        raise KeyError(f"{MARK} is what the file holds")


def test_what_is_wrong_with_a_file_keeps_nobody_from_the_next(
    inbox: Inbox, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    apple = format_named("apple-health")
    assert apple
    defective = replace(apple, name="defective", read=Defective(apple))
    monkeypatch.setitem(registered._registered, "defective", defective)
    inbox.drop("1", b"%PDF-1.7", **APPLE)
    inbox.drop("2", EXPORT, **{**APPLE, "format": "defective"})
    inbox.drop("3", b"", **APPLE)
    inbox.drop("4", EXPORT, **APPLE)
    assert inbox.round(memory.outlet).outcomes == {"failed": 3, "done": 1}
    whys = [result.why for result in inbox.results]
    assert whys[0] == "this is no Apple Health export: it seems to be a PDF"
    assert "a defect of the connector, KeyError at test_watch.py:" in whys[1] and MARK not in whys[1]
    assert inbox.results[1].published.receipt.published == 30
    assert "it seems to be empty" in whys[2]


def test_a_file_of_the_same_name_or_content_as_one_before_takes_nothing_of_it(inbox: Inbox, memory: Memory) -> None:
    for content in (EXPORT, EXPORT, xml(record()), EXPORT):
        inbox.drop("export.xml", content, **APPLE)
        with (place := Folder(inbox.root)).hold():
            inbox.watcher(memory.outlet, place=place).round()
    tag, other = (result.tag for result in inbox.results[1:3])
    names = [
        f"{start}export.xml{end}"
        for start in ("", f"{tag}-", f"{tag}-2-", f"{other}-")
        for end in ("", ".manifest.json")
    ]
    assert inbox.names("done") == sorted(names)
    assert inbox.names("receipts") == sorted([f"{tag}.json", f"{tag}-2.json", f"{tag}-3.json", f"{other}.json"])


# -- dying and coming back


@pytest.mark.parametrize(
    ("step", "count"),
    [
        ("published", 1),
        ("published", 2),
        ("decided", 1),
        ("receipt", 2),
        ("moved", 1),
        ("moved", 2),
        ("moved", 3),
        ("forgotten", 1),
    ],
)
def test_dying_at_any_step_is_harmless(step: str, count: int, inbox: Inbox, memory: Memory) -> None:
    dropped = [inbox.drop("export.xml", EXPORT, **APPLE), inbox.drop("results.hl7", RESULTS, format="hl7v2")]
    dropped.append(inbox.drop("broken.xml", EXPORT[:-50], **APPLE))
    with pytest.raises(Killed):
        inbox.round(memory.outlet, on_step=killer(step, count))
    inbox.round(memory.outlet)
    assert inbox.names() == [] and inbox.decisions() == []
    assert sorted([*inbox.names("done"), *inbox.names("failed")]) == sorted(
        [*dropped, *(f"{name}.manifest.json" for name in dropped)]
    )
    assert inbox.names("failed")[0] == "broken.xml"
    assert len(inbox.receipts()) == 3 and all(map(sums_hold, inbox.receipts()))
    assert memory.distinct() == 4


def test_a_new_file_of_the_name_is_not_taken_for_the_one_that_was_done(inbox: Inbox, memory: Memory) -> None:
    inbox.drop("export.xml", EXPORT, **APPLE)
    with pytest.raises(Killed):
        inbox.round(memory.outlet, on_step=killer("moved", 2))
    inbox.drop("export.xml", xml(record()), **APPLE)
    inbox.round(memory.outlet)
    assert len(inbox.names("done")) == 4 and len(inbox.receipts()) == 2 and memory.distinct() == 2


def test_a_file_that_changes_while_it_is_read_stays(inbox: Inbox, memory: Memory) -> None:
    name = inbox.drop("export.xml", EXPORT, **APPLE)

    def changing(step: str) -> None:
        if step == "published":
            with open(inbox.root / name, "ab") as more:
                more.write(b"<!-- more -->")

    with (place := Folder(inbox.root)).hold():
        assert inbox.watcher(memory.outlet, place=place, on_step=changing).round().waiting == {name: UNSETTLED}
        assert name in inbox.names() and not inbox.receipts()
        assert inbox.watcher(memory.outlet, place=place).round().outcomes == {"done": 1}


def test_a_file_that_kills_its_watcher_again_and_again_goes_behind_the_others(inbox: Inbox, memory: Memory) -> None:
    inbox.drop("1-fatal", EXPORT, **APPLE)
    inbox.drop("2-fine", EXPORT, **APPLE)

    for _ in range(3):
        with pytest.raises(Killed):
            inbox.round(memory.outlet, on_step=killer("published"))
    with pytest.raises(Killed):
        inbox.round(memory.outlet, on_step=killer("published", 2))
    assert inbox.names("done") == ["2-fine", "2-fine.manifest.json"]


def test_told_to_stop_it_ends_in_the_middle_of_a_file_which_stays(
    inbox: Inbox, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.apple_health_xml.BATCH_ROWS", 100)
    inbox.drop("1", xml(*plain(3000)), **APPLE)
    inbox.drop("2", EXPORT, **APPLE)
    stop = threading.Event()
    parts: list[int] = []

    def stopping(_: Any) -> Any:
        def tell(receipt: Receipt) -> None:
            parts.append(receipt.published)
            stop.set()

        return tell

    with (place := Folder(inbox.root)).hold():
        watcher = inbox.watcher(memory.outlet, place=place, progress=stopping, stop=stop)
        watcher.run(lambda found: None)
    assert len(parts) == 1 and len(inbox.names()) == 4 and not inbox.receipts()


# -- a broker that is away


@pytest.mark.parametrize("where", ["closed", "failure"])
def test_a_file_that_the_broker_s_absence_interrupted_stays_and_is_tried_again_ever_later(
    where: str, inbox: Inbox, memory: Memory
) -> None:
    name, now = inbox.drop("export.xml", EXPORT, **APPLE), [0.0]
    inbox.drop("other.xml", EXPORT, **APPLE)
    with (place := Folder(inbox.root)).hold():
        watcher = inbox.watcher(memory.outlet, place=place, clock=lambda: now[0])
        setattr(memory, where, KafkaUnreachable("nothing listens there"))
        found = watcher.round()
        assert (found.trouble, found.is_cut, dict(found.outcomes)) == ("nothing listens there", True, {})
        assert set(found.waiting.values()) == {AWAY} and name in inbox.names() and not inbox.receipts()
        setattr(memory, where, None)
        assert watcher.round().outcomes == {"done": 1}  # the other one
        now[0] = 1.0
        setattr(memory, where, KafkaUnreachable("nothing listens there"))
        watcher.round()
        setattr(memory, where, None)
        now[0] = 2.9
        assert watcher.round().waiting == {name: AWAY}
        now[0] = 3.0
        assert watcher.round().outcomes == {"done": 1}


@pytest.mark.parametrize("fate", ["failed", "in_flight"])
def test_what_the_broker_did_not_confirm_is_not_done(fate: str, inbox: Inbox, memory: Memory) -> None:
    name = inbox.drop("export.xml", EXPORT, **APPLE)
    setattr(memory, fate, 1)
    found = inbox.round(memory.outlet)
    assert found.waiting == {name: AWAY} and found.is_cut and inbox.receipts() == []


def test_a_partner_s_topic_that_is_not_there_keeps_no_other_partner_s_files(inbox: Inbox) -> None:
    class Half(Memory):
        def send(self, key: bytes, value: bytes) -> None:
            if key == b"refused":
                raise KafkaRefused("there is no such topic")
            super().send(key, value)

    name = inbox.drop("1", EXPORT, format="apple-health", subject="refused")
    inbox.drop("2", EXPORT, **APPLE)
    found = inbox.round(Half().outlet)
    assert (found.outcomes, found.waiting, found.trouble) == ({"done": 1}, {name: AWAY}, "there is no such topic")


class Failing(Folder):
    """A folder on a disk that fails."""

    at = ""

    def open(self, item: Item) -> Any:
        if item.name == self.at:
            raise StorageFailed("the watched folder: Input/output error")
        return super().open(item)


def test_a_disk_that_fails_fails_no_file_and_stops_nobody_for_long(inbox: Inbox, memory: Memory) -> None:
    inbox.drop("1", EXPORT, **APPLE)
    inbox.drop("2", EXPORT, **APPLE)
    place = Failing(inbox.root)
    place.at = "1"
    with place.hold():
        watcher = inbox.watcher(memory.outlet, place=place, clock=lambda: 0.0)
        assert watcher.round().is_cut
        assert watcher.round().outcomes == {"done": 1}
        assert "1" in inbox.names()


def test_rounds_that_are_cut_come_after_growing_pauses(inbox: Inbox, memory: Memory) -> None:
    class Waits(threading.Event):
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.seconds.append(timeout or 0.0)
            memory.closed = None if len(self.seconds) >= 8 else memory.closed
            if len(self.seconds) == 9:
                self.set()
            return self.is_set()

    now = [0.0]

    def clock() -> float:
        now[0] += 100
        return now[0]

    inbox.drop("export.xml", EXPORT, **APPLE)
    memory.closed, stop = KafkaUnreachable("nothing listens there"), Waits()
    with (place := Folder(inbox.root)).hold():
        inbox.watcher(memory.outlet, place=place, stop=stop, clock=clock).run(lambda found: None)
    assert stop.seconds == [1, 2, 4, 8, 16, 32, 60, 60, 1]
    assert inbox.names("done") == ["export.xml", "export.xml.manifest.json"]


# -- who may know


def test_nobody_is_named_in_a_receipt(inbox: Inbox, memory: Memory) -> None:
    inbox.drop(f"{MARK}-export.zip", export_zip(EXPORT), **APPLE)
    inbox.drop(f"{MARK}-cut.zip", export_zip(EXPORT)[:-900], **APPLE)
    inbox.drop(f"{MARK}-results.hl7", RESULTS, format="hl7v2")
    inbox.drop(f"{MARK}-unknown", RESULTS, format=MARK)
    inbox.round(memory.outlet)
    assert len(inbox.results) == 4
    assert all(MARK not in json.dumps(receipt) for receipt in inbox.receipts())
    assert all(MARK not in json.dumps(result.as_json()) for result in inbox.results)


def test_a_dry_run_writes_and_moves_nothing(inbox: Inbox) -> None:
    inbox.drop("export.xml", EXPORT, **APPLE)
    assert inbox.watcher(None).round().outcomes == {"done": 1}
    assert inbox.results[0].published.receipt.published == 30
    assert sorted(os.listdir(inbox.root)) == ["export.xml", "export.xml.manifest.json"]
