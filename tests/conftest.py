"""A watch over the whole session: no planted secret in a log, an exception, a file's name, the ledger or a rejection.

And the session's signals and surroundings, which do not depend on who started it.
"""

import gc
import logging
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from schemas.reasons import Rejected
from tests.canaries import MARK, Listener, leaks_in_folder, text_of

ROOT = Path(__file__).parent.parent
REAL = "tests/integration"
WITH_SERVERS_OF_THEIR_OWN = {
    *("test_secure", "test_partners", "test_three_brokers", "test_connectors_security", "test_local_kafka"),
    *("test_s3", "test_s3_gone", "test_s3_vault", "test_backup", "test_objects", "test_watch_bucket"),
    *("test_flink", "test_prism", "test_poison_elsewhere"),
    *("test_helm", "test_compose_loader", "test_supply", "test_exactly_once"),
}
ROOMS = ("schemas", "connectors", "quality", "pipelines", "infra", "wellspring")
PARTS = {"WELLSPRING_CACHE", "WELLSPRING_JAVA", "WELLSPRING_MAVEN_REPOSITORY"}
listener = Listener()
fsync = os.fsync
folders = count()
brokers: set[str] = set()
"""Addresses of the session's broker, which is still there at the end of a module."""


def pytest_configure(config: pytest.Config) -> None:
    heed_signals()
    forget_surroundings()
    draw(20 if config.getoption("ignore") else 150)
    logging.getLogger().addHandler(listener)
    for room in ROOMS:
        logging.getLogger(room).setLevel(logging.DEBUG)
    _watch_rejections()
    _watch_expected_errors()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Workers are for a folder of tests: a few files are done before they have started, and real servers are one's."""
    folders = [
        path for path in map(Path, config.args) if path.is_dir() and not path.resolve().is_relative_to(ROOT / REAL)
    ]
    return None if folders else 0


class _FewWorkersForServers(LoadFileScheduling):
    """The tests of a file go to the same worker; those with real servers to one, for they share a broker.

    Beside it another one has those whose time goes by in servers of their own.
    """

    def _split_scope(self, nodeid: str) -> str:
        if not nodeid.startswith(f"{REAL}/"):
            return str(super()._split_scope(nodeid))
        return f"{REAL} of their own" if Path(nodeid.split("::")[0]).stem in WITH_SERVERS_OF_THEIR_OWN else REAL


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return _FewWorkersForServers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with real servers come last: what they measure and kill is then disturbed by no other worker."""
    items.sort(key=_is_real)


def draw(examples: int) -> None:
    """How often a law is tried: less often where something is left out, for whoever waits. The whole suite does not.

    How fast this machine is just now fails no test.
    """
    patience = [HealthCheck.too_slow]
    settings.register_profile("wellspring", max_examples=examples, deadline=None, suppress_health_check=patience)
    settings.load_profile("wellspring")


def heed_signals() -> None:
    """A shell or an init that starts something in the background lets it ignore signals, and so would every child."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGCHLD: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, usual)


def forget_surroundings() -> None:
    """Nobody's own settings lead a test to their lake, and every terminal has the usual width.

    Where the parts of the local Kafka come from is another matter. What is imported is kept compiled, for the next run
    and for every process that a test starts: without, half of a worker's start is compiling the tests.
    """
    for name in list(os.environ):
        if name.upper().startswith("WELLSPRING_") and name not in PARTS:
            del os.environ[name]
    os.environ["COLUMNS"] = "80"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


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


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own, as pytest's, which looks through all of the session's folders for the next number."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = tmp_path_factory.getbasetemp() / f"{name}-{next(folders)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def cheap_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lake is asked in sessions that cost little and are not locked: for tests that are about something else."""
    from tests import duck

    for module in ("views", "lake_desk"):
        for name in ("connect", "lock"):
            monkeypatch.setattr(f"pipelines.{module}.{name}", getattr(duck, name))


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Any]:
    """A register of consent, its own vault around it."""
    from pipelines.consent.register import Register

    opened = Register(tmp_path / "vault" / "register.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def logged() -> deque[str]:
    """What the test has written to logs until now, each record a line: its level, its logger, its text."""
    return listener.lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[Any]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged until it failed is shown with it: put in at once, for a worker sends its report away."""
    report = yield
    if report.failed and listener.lines:
        report.sections.append((f"Captured log {call.when}", "\n".join(listener.lines)))
    return report


def pytest_exception_interact(call: pytest.CallInfo[Any]) -> None:
    """What a test did not expect fails it anyhow; it must not leak either."""
    if call.excinfo is not None and not isinstance(call.excinfo.value, AssertionError):
        listener.hear(call.excinfo.value)


def pytest_collection() -> None:
    """What is imported now will stay: the garbage collector need not look through it, then or later."""
    gc.disable()


def pytest_collection_finish() -> None:
    if databases := sys.modules.get("pipelines.database"):
        _spare_the_disk(databases.Database)
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_sessionfinish() -> None:
    """What is left now is looked through once; pytest does so five times, for what was never closed."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """From here on the test is listened to. (A fixture would do as well, and cost every test some more.)"""
    listener.told()
    listener.lines.clear()
    os.fsync = fsync if _is_real(item) else _pretend
    yield


def _is_real(item: pytest.Item) -> bool:
    return item.nodeid.startswith(f"{REAL}/")


def _pretend(file: int) -> None:
    """No power is cut: a test that asks the disk for nothing else need not wait for it."""


def _spare_the_disk(database: Any) -> None:
    """Nor need it for the vault's databases, which SQLite brings to the disk itself."""
    execute = database.execute

    def spared(self: Any, sql: str, parameters: Any = (), /) -> Any:
        if os.fsync is _pretend and sql.startswith("PRAGMA "):
            done = execute(self, "PRAGMA synchronous = OFF")
            if sql.startswith("PRAGMA synchronous"):
                return done
        return execute(self, sql, parameters)

    database.execute = spared


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Function) -> Iterator[None]:
    """Nothing that was said while the test ran names anybody."""
    if "broker" in item.funcargs:
        brokers.add(item.funcargs["broker"].bootstrap)
    yield
    assert listener.told() == [], "a planted secret was said"


@pytest.fixture(autouse=True, scope="module")
def _nobody_is_written_down() -> Iterator[None]:
    """Nor does anything that the deployments of a module have left behind."""
    yield
    worlds = sys.modules.get("tests.worlds")
    leaks = []
    for world in worlds.forget_made() if worlds else ():
        for folder in {world.folder, world.lake_folder}:
            leaks += leaks_in_folder(folder, world.lake_folder)
        if world.settings.kafka.bootstrap in brokers:
            leaks += ["what the partner was told"] * (MARK.encode() in b"|".join(world.rejected_bytes()))
    assert leaks == [], "a planted secret was written"
