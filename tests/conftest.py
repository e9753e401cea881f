"""A watch over the whole session: no planted secret in a log, an exception, a file's name, the ledger or a rejection."""

import logging
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pytest

from schemas.reasons import Rejected
from tests.canaries import MARK, Listener, leaks_in_folder, text_of

ROOMS = ("schemas", "connectors", "quality", "pipelines", "infra", "wellspring")
listener = Listener()
brokers: set[str] = set()
"""Addresses of the session's broker, which is still there at the end of a module."""


def pytest_configure() -> None:
    logging.getLogger().addHandler(listener)
    for room in ROOMS:
        logging.getLogger(room).setLevel(logging.DEBUG)
    _watch_rejections()
    _watch_expected_errors()


def _watch_rejections() -> None:
    """Every rejection is judged as it is made, wherever it goes from there."""
    make = Rejected.__init__

    def watched(self: Rejected, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        assert MARK not in text_of(self) and MARK not in repr(vars(self)), "a rejection shows a planted secret"

    Rejected.__init__ = watched  # type: ignore[method-assign]


def _watch_expected_errors() -> None:
    """What a test expects with `pytest.raises` is looked at as well."""
    fill = pytest.ExceptionInfo.fill_unfilled

    def watched(self: Any, found: tuple[type[BaseException], BaseException, TracebackType]) -> None:
        fill(self, found)
        listener.hear(found[1])

    pytest.ExceptionInfo.fill_unfilled = watched  # type: ignore[method-assign]


def pytest_exception_interact(call: pytest.CallInfo[Any]) -> None:
    """What a test did not expect fails it anyhow; it must not leak either."""
    if call.excinfo is not None and not isinstance(call.excinfo.value, AssertionError):
        listener.hear(call.excinfo.value)


@pytest.fixture(autouse=True)
def _nobody_is_named(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing that was said while the test ran names anybody."""
    if "broker" in request.fixturenames:
        brokers.add(request.getfixturevalue("broker").bootstrap)
    listener.told()
    yield
    assert listener.told() == [], "a planted secret was said"


@pytest.fixture(autouse=True, scope="module")
def _nobody_is_written_down() -> Iterator[None]:
    """Nor does anything that the deployments of a module have left behind."""
    yield
    worlds = sys.modules.get("tests.worlds")
    leaks = []
    for world in worlds.forget_made() if worlds else ():
        leaks += leaks_in_folder(world.folder, world.settings.lake)
        if world.settings.kafka.bootstrap in brokers:
            leaks += ["what the partner was told"] * (MARK.encode() in b"|".join(world.rejected_bytes()))
    assert leaks == [], "a planted secret was written"
