"""The third act on its stage: files of a phone and of a laboratory are published, and the pipeline runs after each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from connectors.apple_health import FORMAT as APPLE_HEALTH
from connectors.hl7v2 import HL7V2
from connectors.receipt import Receipt
from pipelines.demo.doors import Doors
from pipelines.demo.ground import Ground
from pipelines.demo.kit import Kit
from pipelines.demo.laboratory import ResultFile
from pipelines.demo.narrator import Narrator, counted
from pipelines.demo.people import NORTH_LAB, PHONES
from pipelines.demo.phone import Export
from pipelines.demo.publish import publish_consents, publish_kit_events, publish_source
from pipelines.demo.running import run_out
from pipelines.driver import Driver
from schemas.lab_mapping import load_lab_mapping

Receipts = Mapping[str, Receipt]
"""By the name of a file, what was published of it."""

TITLE = "Act 3, through other doors: what a phone knows of two weeks, and the whole way of a kit"


def play_doors(doors: Doors, ground: Ground, driver: Driver, narrator: Narrator) -> Receipts:
    """Both scenes, one after the other."""
    narrator.title(TITLE)
    stage = _Stage(ground, driver, narrator)
    stage.tell(doors.consent_lines(), "published a person's consent, and whose phone it is")
    for export in doors.exports:
        stage.connect_phone(export, doors.phone.subject)
    stage.send_kit(doors.kit)
    return stage.receipts


class _Stage:
    """Where the scenes play; `receipts` are those so far."""

    def __init__(self, ground: Ground, driver: Driver, narrator: Narrator) -> None:
        self._ground, self._driver, self._narrator = ground, driver, narrator
        self._settings = driver.settings
        self._told: list[str] = []
        self.receipts: dict[str, Receipt] = {}

    def tell(self, lines: Sequence[str], done: str) -> None:
        """The consent authority says more."""
        self._told += lines
        self._ground.consents(2).write_text("".join(f"{line}\n" for line in self._told), encoding="utf-8")
        with self._narrator.step("publishing consents", lambda: done):
            publish_consents(self._settings, lines)

    def connect_phone(self, export: Export, subject: str) -> None:
        """An export, as its phone gives it, and what comes of it."""
        path = self._saved(export.file, export.content())
        with self._narrator.step(f"reading {path.name}", lambda: self._received(path.name)):
            done = publish_source(self._settings, APPLE_HEALTH, path, PHONES, subject)
            self.receipts[path.name] = done.receipt
        run_out(self._driver, self._narrator)

    def send_kit(self, kit: Kit) -> None:
        """The kit's way: a result comes before anybody has said whose the kit is, and the rest afterwards."""
        with self._narrator.step("publishing the kit's events", lambda: f"published {len(kit.posted)} events of a kit"):
            self._happen(kit.posted)
        self._report(kit.early)
        self.tell(kit.activation, "the kit is activated: published whose it is")
        run_out(self._driver, self._narrator)
        self._happen(kit.resulted)
        self._report(kit.final)
        self._report(kit.wrong)

    def _happen(self, events: Sequence[str]) -> None:
        """The laboratory, which sends the kits too, tells what has happened to one."""
        with self._ground.kit_events.open("a", encoding="utf-8") as file:
            file.writelines(f"{event}\n" for event in events)
        publish_kit_events(self._settings, NORTH_LAB, events)

    def _report(self, file: ResultFile) -> None:
        path = self._saved(file.file, file.content().encode())
        mapping = load_lab_mapping(self._ground.laboratory)
        with self._narrator.step(f"reading {path.name}", lambda: self._received(path.name)):
            done = publish_source(self._settings, HL7V2, path, NORTH_LAB, mapping=mapping)
            self.receipts[path.name] = done.receipt
        run_out(self._driver, self._narrator)

    def _saved(self, name: str, content: bytes) -> Path:
        path = self._ground.export(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def _received(self, name: str) -> str:
        """A file's receipt in a line."""
        receipt = self.receipts[name]
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(receipt.problems.items()))
        beside = ", ".join(one.what for one in receipt.beside)
        read = counted(receipt.records, "record")
        said = f"{name}: {read} = {receipt.published:,} published + {receipt.problems.total()} not"
        return said + (f" ({reasons})" if reasons else "") + (f"; beside them, not read: {beside}" if beside else "")
