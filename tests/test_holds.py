"""Holds: taken in once for each entry, closed once, expired at the moment, and never more or fewer than were opened."""

import random
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.holds import Changes, Holds, Totals
from schemas.reasons import Code

HOLD_US, KIT_HOLD_US = 1_000, 5_000
TOPIC = "acme.sensor-reading.v1"


@pytest.fixture
def holds(tmp_path: Path) -> Iterator[Holds]:
    opened = Holds(tmp_path / "vault", HOLD_US, KIT_HOLD_US)
    yield opened
    opened.close()


def hold(offset: int = 0, readings: int = 3, first: int = 0, **more: Any) -> list[object]:
    """As a run notes it."""
    where = {"topic": TOPIC, "partition": 0, "received": 100, "partner": "acme", "subject": "s1", **more}
    reason = more.get("reason", Code.NO_CONSENT)
    return [
        where["topic"],
        where["partition"],
        offset,
        first,
        readings,
        where["received"],
        where["partner"],
        where["subject"],
        str(reason),
    ]


def opening(*found: list[object]) -> Changes:
    return Changes(list(found), [], [])


def test_only_its_owner_reads_the_file(holds: Holds, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "vault" / "holds.sqlite").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "vault").stat().st_mode) == 0o700


def test_an_entry_is_taken_in_once_however_often_it_comes(holds: Holds) -> None:
    for _ in range(3):
        holds.apply(4, opening(hold(readings=3), hold(1, readings=5)))
    assert holds.totals() == Totals(opened=8, released=0, expired=0, through=4)
    holds.apply(3, opening(hold(readings=100)))
    assert holds.totals().opened == 8 and holds.newest() == 2


def test_an_entry_without_holds_moves_on(holds: Holds) -> None:
    holds.apply(9, Changes([], [], []))
    assert holds.totals() == Totals(0, 0, 0, 9)


def test_they_are_there_again_after_a_restart(holds: Holds, tmp_path: Path) -> None:
    holds.apply(1, opening(hold()))
    again = Holds(tmp_path / "vault", HOLD_US, KIT_HOLD_US)
    assert again.totals() == holds.totals() and again.open_readings() == {"H_NO_CONSENT": 3}
    again.close()


def test_a_crash_in_the_middle_of_an_entry_leaves_nothing_of_it(holds: Holds) -> None:
    holds.apply(1, opening(hold()))
    broken = hold()
    broken[4] = "not a number"
    with pytest.raises(ValueError, match="invalid literal"):
        holds.apply(2, Changes([hold(5), broken], [1], []))
    assert holds.totals() == Totals(3, 0, 0, 1) and holds.open_readings() == {"H_NO_CONSENT": 3}


def test_what_is_closed_is_gone_and_closed_once(holds: Holds) -> None:
    holds.apply(1, opening(hold(0, 3), hold(1, 5), hold(2, 7)))
    assert holds.readings_of([1, 2, 99]) == 8
    holds.apply(2, Changes([], [1], [2]))
    assert holds.totals() == Totals(15, 3, 5, 2)
    assert holds.open_readings() == {"H_NO_CONSENT": 7} and holds.readings_of([1, 2]) == 0
    holds.apply(3, Changes([], [1], [2]))
    assert holds.totals() == Totals(15, 3, 5, 3)


def test_a_number_is_never_given_again(holds: Holds) -> None:
    """A redrive closes by number: one that came back under another hold would release the wrong readings."""
    holds.apply(1, opening(hold()))
    holds.apply(2, Changes([], [1], []))
    holds.apply(3, opening(hold(9)))
    assert holds.newest() == 2


def test_a_hold_expires_when_its_time_is_over_and_not_before(holds: Holds) -> None:
    holds.apply(1, opening(hold(received=100), hold(1, received=200), hold(2, reason=Code.ATTRIBUTION, received=100)))
    assert holds.next_expiry() == 1_100
    assert [holds.expired(at) for at in (1_099, 1_100, 1_199, 1_200)] == [[], [1, 3], [1, 3], [1, 2, 3]]


def test_a_result_whose_kit_is_not_activated_has_its_own_time(holds: Holds) -> None:
    holds.apply(1, opening(hold(reason=Code.KIT_NOT_ACTIVATED), hold(1, reason=Code.ATTRIBUTION)))
    assert [holds.expired(at) for at in (1_099, 1_100, 5_099, 5_100)] == [[], [2], [2], [1, 2]]


def test_a_gap_in_consent_never_expires(holds: Holds) -> None:
    """It is closed when the authority mends it: to give up would be to lose readings that were consented to."""
    holds.apply(1, opening(hold(reason=Code.CONSENT_LAG)))
    assert holds.expired(2**62) == [] and holds.next_expiry() is None


def test_holds_are_found_by_person_and_by_place(holds: Holds) -> None:
    people = [hold(4, subject="s2"), hold(1), hold(1, first=8), hold(0, partition=1), hold(2, partner="beat")]
    holds.apply(1, opening(*people))
    assert holds.people() == {"acme": ["s1", "s2"], "beat": ["s1"]}
    everyone = holds.of("acme", ["s1", "s2"], 10, through=99)
    assert [(h.partition, h.offset, h.first) for h in everyone] == [(0, 1, 0), (0, 1, 8), (1, 0, 0), (0, 4, 0)]
    assert [h.id for h in holds.of("acme", ["s1", "s2"], 2, through=99)] == [2, 3]
    assert [h.id for h in holds.of("acme", ["s1", "s2"], 10, through=2)] == [2, 1]
    assert [h.id for h in holds.at(TOPIC, 0, 1, 4)] == [2, 3, 5]
    assert (holds.oldest_offset(TOPIC, 0), holds.oldest_offset(TOPIC, 7)) == (1, None)


def test_a_subject_of_another_partner_is_somebody_else(holds: Holds) -> None:
    holds.apply(1, opening(hold(partner="beat")))
    assert holds.of("acme", ["s1"], 10, through=99) == []


@pytest.mark.parametrize("seed", range(3))
def test_opened_is_always_released_and_expired_and_open(seed: int, holds: Holds) -> None:
    """Against a dictionary, over entries that open and close at random."""
    rng = random.Random(seed)
    known: dict[int, int] = {}
    sums = [0, 0, 0]
    for n in range(1, 40):
        sizes = [rng.randrange(1, 50) for _ in range(rng.randrange(4))]
        closing = rng.sample(sorted(known), rng.randrange(len(known) + 1) // 2)
        cut = rng.randrange(len(closing) + 1)
        holds.apply(n, Changes([hold(offset=n, readings=size) for size in sizes], closing[:cut], closing[cut:]))
        sums[1] += sum(known.pop(number) for number in closing[:cut])
        sums[2] += sum(known.pop(number) for number in closing[cut:])
        sums[0] += sum(sizes)
        newest = holds.newest()
        known |= {newest - len(sizes) + 1 + place: size for place, size in enumerate(sizes)} if sizes else {}
        assert holds.totals() == Totals(*sums, n)
        assert (
            sums[0]
            == sums[1] + sums[2] + sum(holds.open_readings().values())
            == sums[1] + sums[2] + sum(known.values())
        )


def test_the_file_holds_pointers_and_nothing_that_was_measured(holds: Holds, tmp_path: Path) -> None:
    names = [row[1] for row in sqlite3.connect(tmp_path / "vault" / "holds.sqlite").execute("PRAGMA table_info(hold)")]
    assert not {"value", "values", "payload", "key"} & set(names)


def test_those_near_their_end_are_told_by_reason(holds: Holds) -> None:
    """They were held at 100: for a link until 1,100, for an activation until 5,100, for a chain without an end."""
    others = [hold(1, reason=Code.KIT_NOT_ACTIVATED), hold(2, reason=Code.CONSENT_LAG)]
    holds.apply(1, Changes([hold(0), *others], [], []))
    assert holds.expiring(1_099) == {}
    assert holds.expiring(1_100) == {str(Code.NO_CONSENT): 3}
    assert holds.expiring(9_999) == {str(Code.NO_CONSENT): 3, str(Code.KIT_NOT_ACTIVATED): 3}


def test_holds_of_a_partner_who_was_removed_are_orphaned(holds: Holds) -> None:
    holds.apply(1, opening(hold(partner="acme"), hold(1, partner="other"), hold(2, partner="acme")))
    assert holds.orphaned({"acme": None, "other": None}) == []
    told = [holds.open_readings_of(name) for name in ("acme", "other", "nobody")]
    assert told == [{str(Code.NO_CONSENT): 6}, {str(Code.NO_CONSENT): 3}, {}]
    assert holds.orphaned(["other"]) == [1, 3]
    assert holds.orphaned([]) == [1, 2, 3]
