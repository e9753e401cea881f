"""A watched place: files are published as they become complete, and go to `done/` or `failed/` with a receipt.

Each is published by its format's connector, once or, where the watcher was killed or the broker was away, again: what
arrives twice counts once further on. Nobody but its own terminal is told a file's name; all others are told the start
of the hash of its content.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from connectors.file_publishing import Outlet, Published, Stopped, Tell, publish_file
from connectors.formats import format_named, formats
from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.receipt import Receipt
from connectors.source_file import SourceFile, StorageFailed
from connectors.watch_files import AWAY, TOO_SHORT, UNSETTLED, Dropped, Rules, judge_whole, manifest_of, sorted_out
from connectors.watch_manifest import FileFault, Manifest
from connectors.watch_moves import Moves, Outcome, Step
from connectors.watch_place import Changed, Place
from connectors.watch_tries import Tries
from schemas.lab_mapping import LabMapping, LabMappingError

TAG_LETTERS = 12
PATIENCE_S = 30.0
"""How long a broker may be silent in the middle of a file, which is then tried again later."""

_MOST_ANSWERS = 1000
_PIECE = 1024 * 1024
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0

Outlets = Callable[[str, str], AbstractContextManager[Outlet]]
"""Where messages of a partner and contract go; raises FileFault for a partner or contract that is not registered, and
KafkaUnreachable or KafkaRefused."""


@dataclass
class Result:
    """What became of a file. `tag` is the start of its content's hash in hexadecimal, `size` is in bytes, `name` is for
    the terminal of whoever watches and nobody else."""

    name: str
    tag: str
    size: int
    outcome: Outcome
    why: str
    published: Published
    partner: str | None = None
    at: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def as_json(self) -> dict[str, Any]:
        """The receipt: which file it was, what became of it, and the sums over its records."""
        said: dict[str, Any] = {"file": self.tag, "bytes": self.size, "at": self.at, "partner": self.partner}
        said |= {"outcome": self.outcome, "why": self.why}
        said |= self.published.receipt.as_json()
        if answers := self.published.answers:
            first = {code: answers.first(code, _MOST_ANSWERS) for code in ("AE", "AR")}
            said["answers"] = {"counts": dict(answers.counts()), **first}
        return said


@dataclass
class Round:
    """What one look at a place came to: how many files were done and failed; by name, what the files that are left
    there wait for; what went wrong, and whether that kept the round from its end."""

    outcomes: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    is_cut: bool = False


class _Pause(NamedTuple):
    """Until when a file is left alone, by the clock, and for how long that is in all."""

    until: float
    seconds: float


class Watcher:
    """Works off a place, round by round. `stop` ends it between two parts of a file, which then stays as it was.

    Without `outlets` nothing is published, written or moved: what would be is only told. `on_result` hears of each
    file, `on_step` of each step; `progress` gives what is told how far a file is. PlaceRefused where the place is lost.
    """

    def __init__(
        self,
        place: Place,
        rules: Rules,
        outlets: Outlets | None,
        on_result: Callable[[Result], None],
        *,
        laboratories: Mapping[str, LabMapping] = MappingProxyType({}),
        progress: Callable[[SourceFile], Tell] | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_step: Step = lambda _: None,
    ) -> None:
        self._place, self._rules, self._outlets, self._on_result = place, rules, outlets, on_result
        self._laboratories, self._progress, self._clock, self._step = laboratories, progress, clock, on_step
        self._stop = stop or threading.Event()
        self._moves, self._tries = Moves(place, on_step), Tries(place)
        self._paused: dict[str, _Pause] = {}

    def run(self, on_round: Callable[[Round], None]) -> None:
        """Round after round until `stop` is set; rounds that are cut come after growing pauses."""
        pause_s = 0.0
        while not self._stop.is_set():
            found = self.round()
            on_round(found)
            pause_s = min(2 * pause_s or _FIRST_PAUSE_S, _LONGEST_PAUSE_S) if found.is_cut else 0.0
            self._stop.wait(pause_s or self._place.poll_s)

    def round(self) -> Round:
        """Look once, and work off what is there. What is wrong with a file, the broker or a disk raises nothing."""
        found = Round()
        try:
            if self._outlets:
                self._place.assert_held()
                self._moves.finish()
            ready, found.waiting = sorted_out(self._place.items(), self._rules)
            for dropped in self._tries.in_order(ready):
                if self._stop.is_set() or found.is_cut:
                    found.waiting.setdefault(dropped.item.name, AWAY)
                else:
                    self._work(dropped, found)
        except StorageFailed as failure:
            found.trouble, found.is_cut = str(failure), True
        except Stopped:
            pass
        return found

    def _work(self, dropped: Dropped, found: Round) -> None:
        """One file; the round is cut where what failed would fail for the others, too."""
        item = dropped.item
        pause = self._paused.get(item.stamp, _Pause(0.0, 0.0))
        found.waiting[item.name] = AWAY
        if pause.seconds and self._clock() < pause.until:
            return
        try:
            said = self._said(dropped)
            if isinstance(said, Manifest) and said.size is not None and item.size < said.size:
                found.waiting[item.name] = TOO_SHORT
                return
            result = self._done_with(dropped, said) if self._outlets else self._read(dropped, said)
        except Changed:
            found.waiting[item.name] = UNSETTLED
        except (KafkaUnreachable, KafkaRefused, StorageFailed) as failure:
            seconds = min(2 * pause.seconds or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            self._paused[item.stamp] = _Pause(self._clock() + seconds, seconds)
            found.trouble, found.is_cut = str(failure), not isinstance(failure, KafkaRefused)
        else:
            self._paused.pop(item.stamp, None)
            del found.waiting[item.name]
            found.outcomes[result.outcome] += 1
            self._on_result(result)

    def _said(self, dropped: Dropped) -> Manifest | FileFault:
        try:
            return manifest_of(self._place, dropped, self._rules)
        except FileFault as fault:
            return fault

    def _done_with(self, dropped: Dropped, said: Manifest | FileFault) -> Result:
        """Publish a file, and bring it to where it belongs; Changed where it is no longer the one that was read."""
        with self._tries.noted(dropped):
            result = self._read(dropped, said)
            self._step("published")
            if not all(self._place.is_still(item) for item in (dropped.item, *dropped.manifests)):
                raise Changed
            self._moves.decide(dropped, result.outcome, result.tag, result.as_json())
        return result

    def _read(self, dropped: Dropped, said: Manifest | FileFault) -> Result:
        """Publish a file, or only count it; Kafka's failures are raised, so that nothing that was not sent is done."""
        item = dropped.item
        with self._place.open(item) as stream:
            sha256 = self._hash(stream)
            result = Result(item.name, sha256[:TAG_LETTERS], item.size, "done", "", Published(Receipt("unknown")))
            try:
                if isinstance(said, FileFault):
                    raise said
                judge_whole(said, item.size, sha256)
                result.published = self._publish(said, stream, item.name)
                result.partner = said.partner
            except (FileFault, LabMappingError) as fault:
                result.outcome, result.why = "failed", str(fault)
        if failure := result.published.failure:
            raise failure
        if not result.published.is_confirmed:
            raise KafkaUnreachable("the broker did not confirm it in time")
        if cut := result.published.receipt.partial:
            read = result.published.receipt.records or result.published.receipt.beside
            result.outcome, result.why = "failed", f"only read as far as {cut.place}: {cut.why}" if read else cut.why
        return result

    def _hash(self, stream: BinaryIO) -> str:
        digest = hashlib.sha256()
        while piece := stream.read(_PIECE):
            digest.update(piece)
            if self._stop.is_set():
                raise Stopped
        stream.seek(0)
        return digest.hexdigest()

    def _publish(self, said: Manifest, stream: SourceFile, name: str) -> Published:
        source = format_named(said.format)
        if source is None:
            raise FileFault(f"format: must be one of {', '.join(formats())}")
        if source.contract == "app-export" and said.subject is None:
            raise FileFault("subject: must say whose file it is")
        mapping = self._mapping(said.laboratory) if said.laboratory else None
        opened = self._outlets(said.partner, source.contract) if self._outlets else nullcontext(Outlet())
        with opened as outlet:
            tell = self._tell(stream)
            return publish_file(source, stream, name, outlet, said.subject or "", mapping, tell, careful=True)

    def _mapping(self, laboratory: str) -> LabMapping:
        mapping = self._laboratories.get(laboratory)
        if mapping is None:
            raise FileFault("laboratory: there is no mapping file of a laboratory of that name")
        return mapping

    def _tell(self, stream: SourceFile) -> Tell:
        shown = self._progress(stream) if self._progress else None

        def tell(receipt: Receipt) -> None:
            if self._stop.is_set():
                raise Stopped
            if shown:
                shown(receipt)

        return tell
