"""A watched folder for tests, and a broker that only remembers; both may fail at a moment that a test chooses."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.file_publishing import Outlet
from connectors.watch import Outlets, Result, Round, Watcher
from connectors.watch_files import Rules
from connectors.watch_folder import Folder
from connectors.watch_manifest import FileFault
from connectors.watch_moves import Step
from connectors.watch_place import Place

NOW = Rules(settle_s=0)


class Killed(BaseException):
    """As if the process had ended here."""


@dataclass
class Memory:
    """Where messages go: by topic, in their order. `failure` is raised where the next message is sent."""

    topics: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    partners: tuple[str, ...] = ("acme",)
    closed: Exception | None = None
    failure: Exception | None = None
    failed: int = 0
    in_flight: int = 0
    refusals: list[str] = field(default_factory=list)

    @contextmanager
    def outlet(self, partner: str, contract: str) -> Iterator[Outlet]:
        if partner not in self.partners:
            raise FileFault("partner: no partner of that name is registered")
        if self.closed:
            raise self.closed
        self._topic = self.topics.setdefault(f"{partner}.{contract}", [])
        yield Outlet(self)

    def send(self, key: bytes, value: bytes) -> None:
        if self.failure:
            raise self.failure
        self._topic.append((key, value))

    def flush(self) -> "Memory":
        return self

    def distinct(self) -> int:
        return len({message for topic in self.topics.values() for message in topic})


class Inbox:
    """A folder with what people drop into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.results: list[Result] = []

    def drop(self, name: str, content: bytes, **manifest: Any) -> str:
        """A file and, where anything is said of it, its manifest; its name."""
        self.write(name, content)
        if manifest:
            said = {"partner": "acme", **manifest}
            kept = {key: value for key, value in said.items() if value is not None}
            self.write(f"{name}.manifest.json", json.dumps(kept).encode())
        return name

    def write(self, name: str, content: bytes) -> None:
        (self.root / name).write_bytes(content)

    def watcher(
        self,
        outlets: Outlets | None,
        rules: Rules = NOW,
        *,
        place: Place | None = None,
        on_step: Step = lambda _: None,
        **more: Any,
    ) -> Watcher:
        return Watcher(place or Folder(self.root), rules, outlets, self.results.append, on_step=on_step, **more)

    def round(self, outlets: Outlets, rules: Rules = NOW, **more: Any) -> Round:
        """One look of a watcher that begins with it and ends."""
        with (place := Folder(self.root)).hold():
            return self.watcher(outlets, rules, place=place, **more).round()

    def names(self, part: str = "") -> list[str]:
        """The files in a part of the folder, in order."""
        folder = self.root / part
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file()) if folder.is_dir() else []

    def receipts(self) -> list[dict[str, Any]]:
        return [json.loads((self.root / "receipts" / name).read_bytes()) for name in self.names("receipts")]

    def decisions(self) -> list[str]:
        return [name for name in self.names(".wellspring") if name.startswith("decision-")]


def killer(at: str, count: int = 1) -> Callable[[str], None]:
    """Dies at the step of that name, when it has come so often."""
    met: Counter[str] = Counter()

    def step(name: str) -> None:
        met[name] += 1
        if name == at and met[name] == count:
            raise Killed

    return step
