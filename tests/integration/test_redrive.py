"""Readings that wait: held as pointers, judged again when a link, a grant or a missing event comes, or expired."""

from pathlib import Path

import pytest

from infra.local_kafka import Address
from pipelines.entries import Entry, now_us
from pipelines.holds import Holds
from schemas.reasons import Code
from tests.worlds import DAY, HOUR, METRIC, SECOND, World, delete_records, make_world, once, outcomes


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    return make_world(tmp_path, broker.bootstrap)


def held(world: World) -> dict[str, int]:
    """How many readings are held, by reason, as the vault says."""
    holds = Holds(world.settings.vault, world.settings.hold_us, world.settings.kit_hold_us)
    try:
        return holds.open_readings()
    finally:
        holds.close()


def holds_of(entry: Entry) -> tuple[object, ...]:
    """What an entry says of the holds: opened, released, expired, open."""
    assert entry.holds is not None
    return tuple(entry.holds[name] for name in ("opened", "released", "expired", "open"))


def test_a_late_link_releases_what_was_held(world: World) -> None:
    world.consent(world.grant("ann", "sleep"), world.grant("ann", "cycle"))
    world.publish(world.reading("ann", range(10)), world.reading("bob", range(100, 105)))
    (ingest,) = world.work()
    assert held(world) == {Code.NO_CONSENT: 15}
    assert world.landed("sleep") == once([])
    world.consent(world.link("ann"))
    world.publish(world.reading("ann", range(10, 12)))
    after = world.work()
    assert [entry.kind for entry in after] == ["ingest", "redrive"]
    assert [holds_of(entry) for entry in (ingest, *after)] == [(15, 0, 0, 15), (0, 0, 0, 15), (0, 10, 0, 5)]
    assert world.landed("sleep") == world.landed("cycle") == once(range(12))
    assert held(world) == {Code.NO_CONSENT: 5}
    assert world.work() == []  # and nothing is judged twice
    world.assert_sound()


def test_a_redriven_reading_keeps_the_time_at_which_it_was_received(world: World) -> None:
    world.publish(world.reading("ann", range(3)))
    world.work()
    before = now_us()
    world.consent(world.grant("ann", "sleep"), world.link("ann"))
    world.work()
    assert [row["received"].timestamp() * SECOND < before for row in world.rows("sleep", "received")] == [True] * 3


def test_a_late_grant_lets_in_as_far_as_it_reaches_back(world: World) -> None:
    world.consent(world.link("ann"), world.link("bob"))
    world.publish(world.reading("ann", range(10)), world.reading("bob", range(100, 110)))
    world.work()
    assert held(world) == {Code.NO_CONSENT: 20}
    since = world.start_of(4)
    world.consent(
        world.event("grant", "ann", "sleep", metrics=(METRIC,), retro_from=since),
        world.event("grant", "bob", "sleep", metrics=(METRIC,)),
    )
    (redrive,) = world.work()
    assert redrive.kind == "redrive"
    assert holds_of(redrive) == (0, 20, 0, 0)
    assert world.landed("sleep") == once(range(4, 10))
    assert outcomes([redrive], "sleep") == {"considered": 20, Code.OUTSIDE_WINDOW: 14, "landed": 6}
    world.assert_sound()


def test_readings_before_a_gap_is_closed_wait_without_an_end(world: World) -> None:
    world.consent(world.link("ann"), world.grant("ann", "sleep", seq=1), world.withdraw("ann", "sleep", seq=3))
    world.publish(world.reading("ann", range(10)))
    world.work()
    assert held(world) == {Code.CONSENT_LAG: 10}
    later = now_us() + 100 * DAY
    assert world.work(clock=lambda: later) == []
    assert held(world) == {Code.CONSENT_LAG: 10}
    world.consent(world.event("pause", "ann", "sleep", seq=2, effective_at=world.began - HOUR))
    (redrive,) = world.work()
    assert holds_of(redrive) == (0, 10, 0, 0)
    assert outcomes([redrive], "sleep") == {"considered": 10, Code.NO_AUTHORITY: 10}
    assert world.landed("sleep") == once([])
    world.assert_sound()


def test_a_closed_gap_lands_what_its_events_allow(world: World) -> None:
    world.consent(world.link("ann"), world.grant("ann", "sleep", seq=2))
    world.publish(world.reading("ann", range(10)))
    world.work()
    world.consent(world.grant("ann", "sleep", seq=1))
    world.work()
    assert world.landed("sleep") == once(range(10))
    world.assert_sound()


def test_holds_expire_by_the_clock_even_when_nothing_comes_in(world: World) -> None:
    world.consent(world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    world.work()
    end = now_us() + world.settings.hold_us
    assert world.work(clock=lambda: end - HOUR) == []
    (expiry,) = world.work(clock=lambda: end + HOUR)
    assert holds_of(expiry) == (0, 0, 10, 0)
    assert held(world) == {}
    world.consent(world.link("ann"))
    assert world.work() == []
    assert world.landed("sleep") == once([])
    world.assert_sound()


def test_a_link_for_some_time_releases_that_time_only(world: World) -> None:
    world.consent(world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    world.work()
    world.consent(world.link("ann", from_us=world.start_of(3), to_us=world.start_of(7)))
    (redrive,) = world.work()
    assert holds_of(redrive) == (6, 10, 0, 6)
    assert world.landed("sleep") == once(range(3, 7))
    world.consent(world.link("ann", link_id="later", from_us=world.start_of(7)))
    world.work()
    assert world.landed("sleep") == once(range(3, 10))
    assert held(world) == {Code.NO_CONSENT: 3}
    world.assert_sound()


def test_what_retention_took_before_it_could_be_judged_has_expired(world: World) -> None:
    world.consent(world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    world.work()
    delete_records(world)
    world.consent(world.link("ann"))
    (redrive,) = world.work()
    assert holds_of(redrive) == (0, 0, 10, 0)
    assert world.landed("sleep") == once([])
    world.assert_sound()


def test_readings_held_together_with_rejected_ones_are_judged_alone(world: World) -> None:
    future = now_us() + DAY
    world.consent(world.grant("ann", "sleep"))
    times = {"at": [world.start_of(0), future, world.start_of(2)]}
    world.publish(world.reading("ann", range(3), times=times))
    (ingest,) = world.work()
    assert ingest.counts["rejected"] == {"R_FUTURE": 1}
    world.consent(world.link("ann"))
    (redrive,) = world.work()
    assert redrive.counts["rejected"] == {}
    assert world.landed("sleep") == once([0, 2])
    world.assert_sound()


def test_a_withdrawal_that_comes_while_another_plan_runs_is_heeded_by_the_redrive_after_it(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    world.work()
    world.consent(world.link("ann"), world.grant("ann", "sleep"), world.grant("ann", "cycle"))
    world.publish(world.reading("bob", range(100, 105)))
    said: list[str] = []

    def change_of_mind(step: str) -> None:
        if step == "ran" and not said:
            said.append(step)
            world.consent(world.withdraw("ann", "sleep", mode="erase"))

    world.work(on_step=change_of_mind)
    assert said and world.landed("cycle") == once(range(10))
    assert world.landed("sleep") == once([])
    world.assert_sound()
