"""What was decided about a file, carried out so that dying at any moment is harmless.

A decision is one small file in the hidden part of the place: the receipt, and what goes where. Writing it is the moment
at which the file is done with; until then it is published again, afterwards never. Whatever follows can be done twice:
the receipt is written, the file goes, its manifest goes, the decision is forgotten. Whoever comes next finishes first.
"""

import json
import uuid
from collections.abc import Callable
from itertools import count
from typing import Any, Literal

from connectors.watch_files import Dropped
from connectors.watch_place import HIDDEN, Place

Outcome = Literal["done", "failed"]
Step = Callable[[str], None]

_DECISIONS = f"{HIDDEN}/decision-"


class Moves:
    """Carries out decisions in a place that is held; everything raises StorageFailed. `on_step` hears of each step."""

    def __init__(self, place: Place, on_step: Step = lambda _: None) -> None:
        self._place, self._step = place, on_step

    def decide(self, dropped: Dropped, outcome: Outcome, tag: str, receipt: dict[str, Any]) -> None:
        """The file has this outcome: say so in a receipt named by the tag, and move it and what is beside it.

        PlaceRefused where another watcher has taken over; nothing has happened then.
        """
        items = [dropped.item, *dropped.manifests]
        prefix = self._free_prefix(outcome, [item.name for item in items], tag)
        moves = [[item.name, item.stamp, f"{outcome}/{prefix}{item.name}"] for item in items]
        decision = {"receipt": [self._free_receipt(tag), receipt], "moves": moves}
        name = f"{_DECISIONS}{uuid.uuid4().hex}"
        self._place.assert_held()
        self._place.put(name, _json(decision))
        self._step("decided")
        self._carry_out(name, decision)

    def finish(self) -> None:
        """Carry out what was decided and not finished."""
        for name in list(self._place.below(HIDDEN)):
            if name.startswith(_DECISIONS) and (decision := self._place.get(name)):
                self._carry_out(name, json.loads(decision))

    def _carry_out(self, name: str, decision: dict[str, Any]) -> None:
        receipt, content = decision["receipt"]
        self._place.put(receipt, _json(content))
        self._step("receipt")
        for move in decision["moves"]:
            self._place.move(*move)
            self._step("moved")
        self._place.delete(name)
        self._step("forgotten")

    def _free_prefix(self, part: str, names: list[str], tag: str) -> str:
        """What makes the names new where they go: mostly nothing."""
        for number in count():
            prefix = "" if number == 0 else f"{tag}-" if number == 1 else f"{tag}-{number}-"
            if not any(self._place.exists(f"{part}/{prefix}{name}") for name in names):
                return prefix
        raise AssertionError

    def _free_receipt(self, tag: str) -> str:
        for number in count(1):
            name = f"receipts/{tag}.json" if number == 1 else f"receipts/{tag}-{number}.json"
            if not self._place.exists(name):
                return name
        raise AssertionError


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode()  # in ASCII, since a file's name need not be a text
