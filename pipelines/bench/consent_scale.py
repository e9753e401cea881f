"""Consent with a million members: what opening the snapshot and asking it costs, as a share of a run."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines import stages
from pipelines.bench.figures import Figure, Stopwatch
from pipelines.bench.world import PEOPLE, BenchWorld
from pipelines.claims import claim
from pipelines.consent.snapshot import Snapshot
from pipelines.driver import Driver
from schemas.consent_events import IdentityLink, chain_key

MEMBERS = 1_000_000
BATCH = 20_000


def consent_shares(folder: Path, bootstrap: str, say: Callable[[str], None]) -> Iterator[Figure]:
    """The base's cost as a row of its own, and the share of opening and look-ups in a run on it with an overlay."""
    world = BenchWorld(folder, bootstrap)
    driver = world.driver()
    try:
        say(f"registering {MEMBERS} members")
        _register(world, driver)
        base = Stopwatch()
        with base.running():
            driver.snapshots.refresh()
        yield Figure("consent: building the base of 1,000,000 members", base.seconds, "CPU s")
        world.consent(PEOPLE // 10)
        world.publish_scalars(5_000, 600, world.begin_us)
        run, asked = Stopwatch(), Stopwatch()
        driver.consent_now()
        with _Timed(asked), run.running():
            while driver.cycle():
                pass
        share = asked.seconds / run.seconds
        yield Figure("consent: opening the snapshot and look-ups, share of the run", share, "share", None, "≤0.1")
    finally:
        driver.close()


def _register(world: BenchWorld, driver: Driver) -> None:
    """Events and links straight into the register, as following the topics does it, at offsets of their own."""
    register = driver.register
    batch: list[Any]
    grants = ((at, 0, chain_key(e.member, e.study), e) for at, e in enumerate(world.grants(MEMBERS)))
    while batch := list(islice(grants, BATCH)):
        register.apply("bench-grants", 0, batch)
    links = (
        (at, 0, b"l%d" % at, IdentityLink(link_id=f"l{at}", partner=world.partner, subject=f"s{at}", member=f"m{at}"))
        for at in range(MEMBERS)
    )
    while batch := list(islice(links, BATCH)):
        register.apply("bench-links", 0, batch)


class _Timed:
    """Counts the CPU of consent: opening, and the verdict with its look-ups, as the stage calls them."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self._open = Snapshot.open

    def __enter__(self) -> None:
        Snapshot.open = self._watch.around(self._open)  # type: ignore[method-assign]
        vars(stages)["claim"] = self._watch.around(claim)

    def __exit__(self, *_: object) -> None:
        Snapshot.open = self._open  # type: ignore[method-assign]
        vars(stages)["claim"] = claim
