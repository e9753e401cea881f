"""What the session promises its tests about signals, whoever started it."""

import signal
from collections.abc import Iterator

import pytest

from tests.conftest import heed_signals

TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


@pytest.fixture
def _put_back() -> Iterator[None]:
    handlers, blocked = {number: signal.getsignal(number) for number in TOLD}, signal.pthread_sigmask(0, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_put_back")
def test_what_its_starter_lets_it_ignore_is_heeded() -> None:
    for number in TOLD:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
    heed_signals()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert [signal.getsignal(number) for number in TOLD[1:]] == [signal.SIG_DFL] * 2
    assert signal.pthread_sigmask(0, ()).isdisjoint(TOLD)


@pytest.mark.usefixtures("_put_back")
def test_who_listens_already_goes_on_listening() -> None:
    def listen(*_: object) -> None: ...

    signal.signal(signal.SIGINT, listen)
    heed_signals()
    assert signal.getsignal(signal.SIGINT) is listen
