"""Stewards' decisions: each is a request, and becomes one entry that carries it out and has its row.

The first of two wins, since the driver does one after the other and looks anew at what is there.
"""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from pipelines.decided import Decision
from pipelines.driver import Driver
from pipelines.entries import RequestRefused
from pipelines.proposals import approve, decide_alone, decline, propose, sign_off
from pipelines.requests import Asked, Change
from pipelines.take_back import take_back

DECISIONS: dict[str, Callable[[Driver, Decision], Change | None]] = {
    "release": decide_alone,
    "discard": decide_alone,
    "recall": take_back,
    "propose": propose,
    "approve": approve,
    "decline": decline,
    "sign-off": sign_off,
}
"""What can be decided."""


def is_decision(kind: str, selected: Mapping[str, JsonValue]) -> bool:
    """Whether somebody decides this; a recall of what was entered in error nobody does."""
    return kind in DECISIONS and (kind != "recall" or "by" in selected)


def decide(driver: Driver, asked: Asked) -> Change | None:
    """The entry that carries out what the request decides; RequestRefused, with words for who decided, where that cannot be."""
    decision = Decision.asked(asked)
    if decision.study not in driver.studies:
        raise RequestRefused("it names a study that is not registered")
    driver.consent_now()
    return DECISIONS[decision.kind](driver, decision)
