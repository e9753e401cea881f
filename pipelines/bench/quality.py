"""The group `quality`: what the checks cost, and how long a steward waits."""

import http.cookiejar
import re
import secrets
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pipelines import landing, stages
from pipelines.bench.figures import Figure, Stopwatch
from pipelines.bench.quality_history import CHECKS, DAYS, STRATA, STUDY, lake_of_results
from pipelines.bench.spine import ROWS_PER_READING
from pipelines.bench.world import DAY_US, BenchWorld, land_all, own_broker
from pipelines.follow import work_off
from pipelines.judging import Judging
from pipelines.lake_desk import LakeDesk
from quality.checks import checks
from quality.job.times import as_day
from quality.suite_frames import read_rows, rows_frame
from quality.suite_process import gx_cpu_s
from quality.suite_rows import rows_suite
from quality.users import Role, checked_user, hashed, save_users
from schemas.families import OBSERVATION

MESSAGES, READINGS = 5_000, 600
PERSON_DAYS = 3
ASKED = 5  # times for each page; the median counts
Say = Callable[[str], None]


def quality(say: Say) -> Iterator[Figure]:
    """Every figure of the group, as it is measured, in folders and on a broker of its own."""
    with own_broker() as (folder, bootstrap):
        world = BenchWorld(folder / "world", bootstrap)
        world.consent()
        say("scalar readings through the gate")
        yield from _rows_twice(world, say)
        say(f"the quality job, after {PERSON_DAYS} participant-days")
        yield _job(BenchWorld(folder / "job", bootstrap))
        say(f"a year of results: {CHECKS} checks, {STRATA} strata, {DAYS} days")
        yield from _pages(folder / "results")


def _rows_twice(world: BenchWorld, say: Say) -> Iterator[Figure]:
    """CPU of all that judges rows and counts the answers, beside the whole run's; and that of the suites beside it.

    The suites judge the rows of one study's day that this run has landed, by the same rules; a row's CPU is compared.
    """
    world.publish_scalars(MESSAGES, READINGS, world.begin_us)  # a first plan, so that all is built and known
    land_all(world.driver())
    world.publish_scalars(MESSAGES, READINGS, world.begin_us + 2 * DAY_US)
    judging, run = Stopwatch(), Stopwatch()
    with _timed(judging), run.running():
        land_all(world.driver())
    share = judging.seconds / run.seconds
    yield Figure("gate with all row checks, share of the scalar run", share, "share", None, "≤0.15")
    say("Great Expectations on a day of the rows")
    with closing(LakeDesk(world.settings)) as desk:
        rows = read_rows(desk, world.studies[0], OBSERVATION.name, as_day(world.begin_us // DAY_US + 2))
    suite = rows_suite(checks(), OBSERVATION.name, set(rows.column("metric").to_pylist()))
    suites = gx_cpu_s(suite, rows_frame(rows, OBSERVATION.name, checks(), {})) / rows.num_rows
    gate = judging.seconds / (MESSAGES * READINGS * ROWS_PER_READING)
    name = f"Great Expectations on {rows.num_rows:,} rows, beside the gate"
    yield Figure(name, suites * 1e9, "CPU ns/row", gate * 1e9, "≥10")


@contextmanager
def _timed(watch: Stopwatch) -> Iterator[None]:
    """The stage that judges, and what is judged and counted where rows land."""
    each, tally, beside = stages.Check.each, landing.tally, landing.Landing._beside_others  # type: ignore[attr-defined]
    whole = watch.around(lambda stage, block: list(each(stage, block)))
    stages.Check.each = whole  # type: ignore[method-assign]
    landing.tally = watch.around(tally)  # type: ignore[attr-defined]
    landing.Landing._beside_others = watch.around(beside)  # type: ignore[method-assign]
    try:
        yield
    finally:
        stages.Check.each = each  # type: ignore[method-assign]
        landing.tally = tally  # type: ignore[attr-defined]
        landing.Landing._beside_others = beside  # type: ignore[method-assign]


def _job(world: BenchWorld) -> Figure:
    """CPU of the job after a cycle in which three people's day came in, its imports done; four weeks lie before it."""
    people = 40
    world.consent(people)
    for week in range(4):
        for person in range(people):
            _a_day(world, person, world.begin_us - (4 - week) * 7 * DAY_US)
    with closing(world.driver()) as driver:
        work_off(driver)
        for person in range(1, 1 + PERSON_DAYS):
            _a_day(world, person, world.begin_us + DAY_US)
        while driver.cycle():
            pass
        watch = Stopwatch()
        with closing(Judging(driver)) as judging, watch.running():
            while (entry := judging.turn()) is None and judging.is_busy:
                pass
    assert entry, "the job has found nothing to judge"
    return Figure("quality job after 3 participant-days", watch.seconds, "CPU s", None, "≤1")


def _a_day(world: BenchWorld, person: int, begin_us: int) -> None:
    """A person's heart rate of a day, a reading a minute."""
    world.publish_minutes(person, begin_us, 24 * 60)


def _pages(folder: Path) -> Iterator[Figure]:
    settings, last = lake_of_results(folder)
    password = secrets.token_urlsafe(12)
    save_users(
        settings.steward.users,
        [checked_user({"name": "ada", "studies": {STUDY: Role.STEWARD}, "password": hashed(password)})],
    )
    with _desk(folder / "wellspring.yaml") as address:
        ask = _signed_in(address, password)
        yield Figure("first page, a year of results, asked first", _seconds(lambda: ask("/")), "s", None, "≤1")
        study = statistics.median(_seconds(lambda: ask(f"/studies/{STUDY}")) for _ in range(ASKED))
        yield Figure("a study's page", study, "s", None, "≤1")
        down = statistics.median(_seconds(lambda: ask(f"/studies/{STUDY}/checks/TM-06")) for _ in range(ASKED))
        yield Figure("drill-down to a check", down, "s", None, "≤0.3")
    yield Figure("report of a study-day", _report(folder, last.isoformat()), "s", None, "≤2")


def _report(folder: Path, day: str) -> float:
    """Seconds of the command without its start: what it takes when nothing is asked of it."""
    asked = [sys.executable, "-m", "pipelines.cli", "report"]
    about = [
        "--study",
        STUDY,
        "--day",
        day,
        "--html",
        str(folder / "report.html"),
        "--config",
        str(folder / "wellspring.yaml"),
    ]
    whole = statistics.median(_seconds(lambda: _ran([*asked, *about])) for _ in range(3))
    return whole - statistics.median(_seconds(lambda: _ran([*asked, "--help"])) for _ in range(3))


def _ran(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def _desk(config: Path) -> Iterator[str]:
    """The desk as a process of its own; its address."""
    command = [sys.executable, "-m", "pipelines.cli", "steward", "--port", "0", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            found = re.search(r"https?://\S+", said)
            assert found, "the desk did not say where it is"
            yield found[0].rstrip("/")
        finally:
            process.terminate()


def _signed_in(address: str, password: str) -> Callable[[str], bytes]:
    """Asks for a page of the desk as its steward."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)

    def ask(path: str, form: dict[str, str] | None = None) -> bytes:
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(f"{address}{path}", data, {"Origin": address} if form else {})
        with opener.open(request, timeout=60) as answer:
            found: bytes = answer.read()
        return found

    token = re.search(rb'name="token" value="([^"]+)"', ask("/sign-in"))
    ask("/sign-in", {"name": "ada", "password": password, "token": token[1].decode() if token else ""})
    return ask
