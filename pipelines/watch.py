"""A request as whoever left it sees it: which entries it has become, and whether it is done or refused."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from pipelines.entries import Entry, now_us
from pipelines.ledger import Ledger
from pipelines.progress import Progress
from pipelines.requests import ask, at, everything
from pipelines.store import Store


class Watch:
    """Leaves a request when it is made, and then looks what becomes of it. LakeError as `ask`."""

    def __init__(self, store: Store, kind: str, selection: Mapping[str, JsonValue]) -> None:
        self._store, self._ledger = store, Ledger(store)
        head = self._ledger.head()  # before it is asked: its entries are later
        self._next = head.n + 1 if head else 1
        self._entries = 0
        self._left: Mapping[str, JsonValue] | None = selection
        self.asked = ask(self._ledger, kind, selection, now_us())
        self.is_over = False
        self.refused = ""

    def look(self) -> list[Entry]:
        """The entries that it has become since the last look; then `is_over` and `refused`, why, say how it stands."""
        found = at(self._store, self.asked.key)  # before the ledger: what is gone has all of its entries by then
        entries = list(self._news())
        self._entries += len(entries)
        if found is None:
            self.is_over = True
            self.refused = "" if self._left is None else "it was taken away before it was done"
        elif found.request and found.request.refused:
            self.is_over, self.refused = True, found.request.refused
        return entries

    def state(self) -> str:
        """How it stands, in words."""
        if self._entries:
            return f"request {self.asked.n} is at work: {self._entries} of its entries are there"
        before = sum(other.waits and other < self.asked for other in everything(self._store))
        return f"request {self.asked.n} waits for the driver" + (f", with {before} before it" if before else "")

    def _news(self) -> Iterator[Entry]:
        for entry in self._ledger.entries(self._next):
            self._next = entry.n + 1
            if entry.cause.get("request") == self.asked.mark:
                answered = Progress.of(entry).request
                self._left = answered.rest if answered else None
                yield entry
