"""Requests: what others ask of the one driver, as small objects beside the ledger.

Nobody but the driver changes a lake. Whoever wants it changed leaves a request, which is created once under a number
and a random id, and the driver makes ledger entries of it. What is done is removed; the ledger says what became of it.
What is refused is marked with the reason, kept for a week, and then removed too.

Nothing in a request is about one person: a selection names records, entries or cases, and whoever adds a kind sees to
that.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints, ValidationError

from connectors.source_file import StorageFailed
from pipelines.entries import LakeError, rfc3339
from pipelines.holds import Changes
from pipelines.ledger import Ledger
from pipelines.plan import Plan
from pipelines.progress import Progress
from pipelines.store import Store, Taken

FOLDER = "_control/requests/"
REFUSED_KEPT_US = timedelta(days=7) // timedelta(microseconds=1)
_NAME = re.compile(rf"^{FOLDER}(\d{{12}})-([0-9a-f]{{32}})\.json$")


class NotYet(Exception):
    """The request takes more turns than one: it waits as it is, and is gone on with once the stream has had its turn."""


class Request(BaseModel):
    """What is asked: a kind and, in its terms, of what. Moments are RFC 3339 in UTC; `refused` says why it is not done."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,39}$")]
    selection: dict[str, JsonValue]
    asked_at: str
    refused: str = ""
    refused_at: str = ""


class Asked(NamedTuple):
    """A request where it lies, by its number and id; `request` is None where its content cannot be read."""

    n: int
    id: str
    request: Request | None

    @property
    def key(self) -> str:
        return f"{FOLDER}{self.n:012d}-{self.id}.json"

    @property
    def mark(self) -> dict[str, JsonValue]:
        """How a ledger entry names, as part of its cause, the request that it answers."""
        return {"n": self.n, "id": self.id}

    @property
    def waits(self) -> bool:
        """Whether it is still to be done or refused."""
        return self.request is None or not self.request.refused


class Change(NamedTuple):
    """The next entry that a request becomes, and what of the request is left after it: a selection, or None.

    `plan` says what is read, what goes and what comes; `holds` which of them it closes; `cause` why, for the ledger.
    """

    plan: Plan
    holds: Changes
    cause: Mapping[str, Any]
    rest: dict[str, JsonValue] | None


def selection_of(study: str, by: str, reason: str, about: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What somebody asks of a study, and why."""
    return {"study": study, "by": by, "reason": reason, "about": dict(about)}


def ask(ledger: Ledger, kind: str, selection: Mapping[str, JsonValue], at_us: int) -> Asked:
    """Leave a request; it is there for good when this returns. LakeError where no driver has ever run on the lake.

    Its number is higher than that of any request that waits or was done, though two left at one moment may share one.
    """
    store, head = ledger.store, ledger.head()
    if head is None:
        raise LakeError("this lake has no ledger yet: nothing can be asked before a driver has run")
    answered = Progress.of(head).request
    numbers = [answered.n if answered else 0, *(asked.n for asked in everything(store))]
    request = Request(kind=kind, selection=dict(selection), asked_at=rfc3339(at_us))
    asked, data = Asked(max(numbers) + 1, uuid.uuid4().hex, request), request.model_dump_json().encode()
    try:
        store.put_new(asked.key, data)
    except (Taken, OSError, StorageFailed):  # nobody else has this id: what lies there is ours
        if store.get(asked.key) != data:
            raise
        store.sync(asked.key)
    return asked


def everything(store: Store) -> list[Asked]:
    """All requests in the order of their numbers: those that wait, and those that were refused of late."""
    found = (at(store, key) for key in store.list(FOLDER))
    return sorted(asked for asked in found if asked is not None)


def at(store: Store, key: str) -> Asked | None:
    """The request under the key; None where there is none (any more), or where the name is not a request's."""
    name, data = _NAME.match(key), store.get(key)
    if name is None or data is None:
        return None
    try:
        request = Request.model_validate_json(data)
    except ValidationError:
        request = None
    return Asked(int(name[1]), name[2], request)


def refuse(store: Store, asked: Asked, why: str, at_us: int) -> None:
    """Mark it as one that is not done, for whoever waits for it. What could not be read is not kept."""
    request = asked.request or Request(kind="unreadable", selection={}, asked_at="")
    marked = request.model_copy(update={"refused": why, "refused_at": rfc3339(at_us)})
    store.put(asked.key, marked.model_dump_json().encode())


def remove(store: Store, asked: Asked) -> None:
    """Take it away: it has been done."""
    store.delete(asked.key)


def forget_refused(store: Store, among: Iterable[Asked], now_us: int) -> None:
    """Take away what was refused more than a week ago."""
    kept_since = rfc3339(now_us - REFUSED_KEPT_US)
    for asked in among:
        if asked.request and asked.request.refused and asked.request.refused_at < kept_since:
            store.delete(asked.key)
