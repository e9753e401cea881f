"""Answering requests: the driver makes ledger entries of what others have asked for, one request after the other.

A kind of request is a function from what is (still) asked to the next entry for it; the entry carries what is left.
So the ledger alone says how far a request has come, and a driver that is killed does no part of it twice.
"""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from connectors.ranges import DataDamaged, DataMissing
from pipelines.decisions import DECISIONS, decide, is_decision
from pipelines.driver import Driver
from pipelines.entries import Entry, RequestRefused
from pipelines.judging_by_hand import judge
from pipelines.law import LawBroken
from pipelines.memory import NoMemory
from pipelines.progress import Answered, Progress
from pipelines.recall import recall
from pipelines.replay_chosen import replay_any
from pipelines.requests import Asked, Change, NotYet, everything, forget_refused, refuse, remove

Kind = Callable[[Driver, Mapping[str, JsonValue]], Change | None]

KINDS: dict[str, Kind] = {"judge": judge, "recall": recall, "replay": replay_any}
"""What can be asked for, besides decisions. A kind gives None where nothing is to be done, and raises RequestRefused for
a selection that it cannot follow."""

_REASONS = (
    RequestRefused,
    DataMissing,
    DataDamaged,
    LawBroken,
    NoMemory,
)  # the lake is as it was, and the stream goes on


def answer_next(driver: Driver) -> Entry | None:
    """The next entry for what was asked first, once it is applied; None where nothing waits, or the driver has something
    `unfinished`, with which the next call goes on.

    A request that cannot be done is marked with the reason, which is said too, and does not count as waiting.
    KafkaUnreachable, Fenced: it goes on waiting.
    """
    there = everything(driver.store)
    forget_refused(driver.store, there, driver.clock())
    goes_on = False
    for asked in _in_order(driver, there):
        try:
            if entry := _answer(driver, asked):
                return entry
        except NotYet:
            goes_on = True
    if driver.unfinished is not None and not goes_on:  # nobody asks for it any more
        driver.unfinished.close()
        driver.unfinished = None
    return None


def _in_order(driver: Driver, there: list[Asked]) -> list[Asked]:
    """What waits, by number; what was begun is brought to its end before that."""
    answered = Progress.of(driver.ledger.head()).request
    return sorted(
        (asked for asked in there if asked.waits), key=lambda asked: answered is None or asked.id != answered.id
    )


def _answer(driver: Driver, asked: Asked) -> Entry | None:
    try:
        with driver.at_work():
            return _done(driver, asked)
    except _REASONS as reason:
        refuse(driver.store, asked, str(reason), driver.clock())
        driver.say(f"request {asked.n} is refused: {reason}")
        return None


def _done(driver: Driver, asked: Asked) -> Entry | None:
    """Do what comes next of the request, and remove it after the last of it; None where that was nothing."""
    progress = Progress.of(driver.ledger.head())
    begun = progress.request if progress.request and progress.request.id == asked.id else None
    change = None if begun and begun.rest is None else _change(driver, asked, begun)
    if change is None:
        remove(driver.store, asked)
        return None
    answered = Answered(n=asked.n, id=asked.id, rest=change.rest)
    entry = driver.commit(
        change.plan,
        progress.model_copy(update={"request": answered}),
        change.holds,
        {**change.cause, "request": asked.mark},
    )
    if change.rest is None:
        remove(driver.store, asked)
    return entry


def _change(driver: Driver, asked: Asked, begun: Answered | None) -> Change | None:
    if asked.request is None:
        raise RequestRefused("it cannot be read: ask again")
    if is_decision(asked.request.kind, asked.request.selection):
        return decide(driver, asked)
    kind = KINDS.get(asked.request.kind)
    if kind is None:
        known = ", ".join(sorted({*KINDS, *DECISIONS}))
        raise RequestRefused(f"it is of a kind that this driver does not know; it knows {known}")
    return kind(driver, begun.rest if begun and begun.rest is not None else asked.request.selection)
