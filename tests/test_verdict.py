"""The verdict against the tick-by-tick oracle, and the hard cases of consent by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest

from pipelines.consent.arrays import ALWAYS, NOT_ACTIVE, ChainArrays, ChainPacker, chain_arrays
from pipelines.consent.chains import ChainEvent, compile_chain
from pipelines.consent.verdict import (
    AMBIGUOUS,
    CODES,
    FUTURE_TOLERANCE_US,
    MISSING,
    NO_CHAIN,
    NO_CHAIN_AT_ALL,
    OTHER,
    SURE,
    Verdicts,
    judge,
)
from tests import consent_oracle as oracle

TICK = FUTURE_TOLERANCE_US // oracle.FUTURE_TICKS
HOLD = oracle.HOLD_TICKS * TICK
METRICS = ["hr", "steps", "temp"]
ATTRIBUTION = {"sure": SURE, "ambiguous": AMBIGUOUS, "other": OTHER}


@dataclass
class World:
    """Chains with what surrounds each: whether the study keeps, runs, and whether the member's chains lag."""

    chains: list[list[oracle.Event]]
    keeps: list[bool]
    active: list[bool]
    lags: list[bool]

    def arrays(self) -> ChainArrays:
        packer = ChainPacker(METRICS)
        lagging = list(self.lags)
        for number, (events, keeps) in enumerate(zip(self.chains, self.keeps, strict=True)):
            chain = compile_chain([chain_event(event) for event in events], keeps)
            lagging[number] |= chain.lagging
            packer.add(chain)
        active = [ALWAYS if active else NOT_ACTIVE for active in self.active]
        return chain_arrays(packer.columns(), np.array(lagging, dtype=np.bool_), active)


def chain_event(event: oracle.Event) -> ChainEvent:
    """An oracle's event in microseconds."""
    return ChainEvent(
        kind=event["kind"],
        seq=event["seq"],
        effective_at=event["effective_at"] * TICK,
        metrics=frozenset(event["metrics"]),
        retro_from=micros(event["retro_from"]),
        fill_gap=event["fill_gap"],
        collect_until=micros(event["collect_until"]),
        store_until=micros(event["store_until"]),
        mode=event["mode"],
        appended_us=micros(event["appended"]),
    )


def micros(tick: int | None) -> int | None:
    return None if tick is None else tick * TICK


def judge_all(arrays: ChainArrays, readings: list[oracle.Reading]) -> Verdicts:
    def instants(name: str) -> Any:
        ticks = [getattr(reading, name) for reading in readings]
        return np.array([MISSING if tick is None else tick * TICK for tick in ticks], dtype=np.int64)

    return judge(
        arrays,
        np.array([reading.chain for reading in readings], dtype=np.int32),
        np.array([METRICS.index(reading.metric) for reading in readings], dtype=np.int32),
        instants("start"),
        instants("end"),
        instants("received"),
        np.array([ATTRIBUTION[reading.attribution] for reading in readings], dtype=np.int8),
        HOLD,
    )


def random_chain(luck: Random) -> list[oracle.Event]:
    """Up to seven events of every kind, mostly in order, now and then with a hole, a repeat or a contradiction."""
    kinds = luck.choices(["grant", "narrow", "pause", "resume", "withdraw"], [8, 3, 3, 3, 3], k=luck.randint(1, 7))
    ticks = [luck.randint(0, 40) for _ in kinds]
    if luck.random() < 0.8:
        ticks.sort()
    events = [random_event(luck, kind, seq, tick) for seq, (kind, tick) in enumerate(zip(kinds, ticks, strict=True), 1)]
    trouble = luck.random()
    if trouble < 0.03:
        del events[luck.randrange(len(events))]
    elif trouble < 0.06:
        events.append(events[0] | {"appended": luck.randint(0, 40)})
    elif trouble < 0.09:
        events.append(events[-1] | {"effective_at": ticks[-1] + 1})
    luck.shuffle(events)
    return events


def random_event(luck: Random, kind: str, seq: int, tick: int) -> oracle.Event:
    def maybe(share: float, value: int) -> int | None:
        return value if luck.random() < share else None

    fields: dict[str, Any] = {"appended": maybe(0.5, max(0, tick + luck.randint(-8, 4)))}
    if kind in ("grant", "narrow"):
        fields["metrics"] = [metric for metric in METRICS if luck.random() < 0.7] or ["hr"]
    if kind == "grant":
        fields["retro_from"] = maybe(0.4, luck.randint(0, tick))
        fields["fill_gap"] = luck.random() < 0.3
        fields["collect_until"] = maybe(0.3, tick + luck.randint(1, 20))
        fields["store_until"] = maybe(0.3, tick + luck.randint(1, 25))
    if kind == "withdraw":
        fields["mode"] = luck.choice(["keep", "erase"])
    return event(kind, seq, tick, **fields)


def event(kind: str, seq: int, at: int, **fields: Any) -> oracle.Event:
    """An oracle's event, in ticks."""
    plain: oracle.Event = {
        "metrics": [],
        "retro_from": None,
        "fill_gap": False,
        "collect_until": None,
        "store_until": None,
    }
    mode = "keep" if kind == "withdraw" else None
    metrics = {"metrics": METRICS} if kind == "grant" else {}
    return {"kind": kind, "seq": seq, "effective_at": at, **plain, "mode": mode, "appended": None, **metrics, **fields}


def random_readings(luck: Random, chains: int, count: int) -> list[oracle.Reading]:
    """Each of them is drawn independently, a field of all after the other."""

    def drawn(values: Sequence[Any], weights: Sequence[float] | None = None) -> list[Any]:
        return luck.choices(values, weights, k=count)

    columns = (
        drawn([*range(chains), NO_CHAIN, NO_CHAIN_AT_ALL], [0.96 / chains] * chains + [0.02, 0.02]),
        drawn(METRICS),
        drawn(range(41)),
        drawn([0, 1, 2, 5, 12]),
        drawn([0, 1]),
        drawn(range(-3, 30)),
        drawn([(True, True), (False, True), (False, False), (True, False)], [96, 1, 1, 2]),
        drawn(["sure", "ambiguous", "other"], [48, 1, 1]),
    )
    return [
        oracle.Reading(
            chain=chain,
            metric=metric,
            start=start if starts else None,
            end=start + length if ends else None,
            received=min(max(0, start + length * from_end + late), oracle.END_OF_TIME - oracle.HOLD_TICKS - 1),
            attribution=attribution,
        )
        for chain, metric, start, length, from_end, late, (starts, ends), attribution in zip(*columns, strict=True)
    ]


def random_world(luck: Random, chains: int) -> World:
    return World(
        chains=[random_chain(luck) for _ in range(chains)],
        keeps=[luck.random() < 0.7 for _ in range(chains)],
        active=[luck.random() < 0.97 for _ in range(chains)],
        lags=[luck.random() < 0.02 for _ in range(chains)],
    )


def expected(world: World, readings: list[oracle.Reading]) -> list[tuple[str, int]]:
    lives = [
        oracle.live_through(events, METRICS, keeps) for events, keeps in zip(world.chains, world.keeps, strict=True)
    ]

    def told(reading: oracle.Reading) -> tuple[str, int]:
        if reading.chain < 0:
            return oracle.verdict(None, reading.chain == NO_CHAIN_AT_ALL, True, False, reading)
        life = lives[reading.chain]
        lags = world.lags[reading.chain] or life.lagging
        return oracle.verdict(life, False, world.active[reading.chain], lags, reading)

    return [told(reading) for reading in readings]


def answers(verdicts: Verdicts) -> list[tuple[str, int]]:
    words = [str(code) for code in CODES]
    return [(words[code], seq) for code, seq in zip(verdicts.code.tolist(), verdicts.consent_seq.tolist(), strict=True)]


def test_fifty_thousand_random_readings_are_judged_as_the_oracle_says() -> None:
    luck = Random(20260131)
    world = random_world(luck, 2_000)
    readings = random_readings(luck, 2_000, 50_000)
    got, want = answers(judge_all(world.arrays(), readings)), expected(world, readings)
    wrong = [(reading, g, w) for reading, g, w in zip(readings, got, want, strict=True) if g != w]
    assert not wrong, f"{len(wrong)} differ, first {wrong[0]} on {world.chains[wrong[0][0].chain]}"
    assert {code for code, _ in want} == {str(code) for code in CODES}, "every code is met"


# The hard cases: in ticks of two and a half minutes; the study may keep unless said otherwise.


def one(events: list[oracle.Event], keeps: bool = True, **reading: Any) -> tuple[str, int]:
    """The verdict on one reading of hr about one chain, which the oracle must share."""
    fields: dict[str, Any] = {"chain": 0, "metric": "hr"} | reading
    asked = oracle.Reading(**fields)
    world = World([events], [keeps], [True], [False])
    got = answers(judge_all(world.arrays(), [asked]))
    assert got == expected(world, [asked])
    return got[0]


def test_measured_while_consented_received_after_withdrawal_is_refused() -> None:
    events = [event("grant", 1, 0), event("withdraw", 2, 20)]
    assert one(events, start=10, end=11, received=19) == ("L_OK", 1)
    assert one(events, start=10, end=11, received=20) == ("R_NO_AUTHORITY", 2)


def test_measured_while_collection_ran_received_after_it_expired_lands_while_storage_runs() -> None:
    events = [event("grant", 1, 0, collect_until=20, store_until=30)]
    assert one(events, start=18, end=20, received=25) == ("L_OK", 1)
    assert one(events, start=18, end=21, received=25) == ("R_OUTSIDE_WINDOW", 1)
    assert one(events, start=18, end=20, received=30) == ("R_NO_AUTHORITY", 1)


def test_measured_before_the_first_grant_is_refused_unless_retro_from_covers_it() -> None:
    assert one([event("grant", 1, 20)], start=10, end=11, received=25) == ("R_OUTSIDE_WINDOW", 1)
    assert one([event("grant", 1, 20, retro_from=10)], start=10, end=11, received=25) == ("L_OK", 1)
    assert one([event("grant", 1, 20, retro_from=11)], start=10, end=11, received=25) == ("R_OUTSIDE_WINDOW", 1)


@pytest.mark.parametrize("objection", ["pause", "withdraw"])
def test_measured_in_a_gap_is_refused_for_ever_unless_the_gap_is_filled(objection: str) -> None:
    before = [event("grant", 1, 0), event(objection, 2, 10)]
    measured_in_gap: dict[str, Any] = {"start": 12, "end": 13, "received": 30}
    assert one([*before, event("grant", 3, 20, retro_from=0)], **measured_in_gap) == ("R_OUTSIDE_WINDOW", 3)
    assert one([*before, event("grant", 3, 20, retro_from=0, fill_gap=True)], **measured_in_gap) == ("L_OK", 3)
    assert one([*before, event("grant", 3, 20, fill_gap=True)], **measured_in_gap) == ("R_OUTSIDE_WINDOW", 3)


def test_measured_while_paused_is_refused_after_the_resume_too() -> None:
    events = [event("grant", 1, 0), event("pause", 2, 10), event("resume", 3, 20)]
    assert one(events, start=5, end=6, received=15) == ("R_NO_AUTHORITY", 2)
    assert one(events, start=12, end=13, received=25) == ("R_OUTSIDE_WINDOW", 3)
    assert one(events, start=5, end=6, received=25) == ("L_OK", 1)


def test_a_gap_that_only_expiry_left_is_covered_by_a_new_grant_with_retro_from() -> None:
    events = [event("grant", 1, 0, collect_until=10, store_until=10), event("grant", 2, 20, retro_from=5)]
    assert one(events, start=12, end=13, received=25) == ("L_OK", 2)


def test_measured_under_a_grant_that_ended_with_keep_arriving_under_the_next_lands() -> None:
    events = [event("grant", 1, 0), event("withdraw", 2, 10), event("grant", 3, 20)]
    assert one(events, start=5, end=6, received=25) == ("L_OK", 3)


@pytest.mark.parametrize(("mode", "keeps"), [("erase", True), ("keep", False)])
def test_measured_under_a_grant_that_ended_with_erasure_needs_fill_gap(mode: str, keeps: bool) -> None:
    before = [event("grant", 1, 0), event("withdraw", 2, 10, mode=mode)]
    sent_again: dict[str, Any] = {"keeps": keeps, "start": 5, "end": 6, "received": 25}
    assert one([*before, event("grant", 3, 20, retro_from=0)], **sent_again) == ("R_ERASED", 3)
    assert one([*before, event("grant", 3, 20, retro_from=0, fill_gap=True)], **sent_again) == ("L_OK", 3)


def test_received_before_an_erasure_is_refused_whenever_it_is_judged() -> None:
    events = [event("grant", 1, 0), event("withdraw", 2, 10, mode="erase")]
    assert one(events, start=5, end=6, received=7) == ("R_ERASED", 1)
    assert one(events, start=None, end=None, received=7) == ("R_ERASED", 1)
    filled = [*events, event("grant", 3, 20, retro_from=0, fill_gap=True)]
    assert one(filled, start=5, end=6, received=7) == ("R_ERASED", 1)
    assert one(filled, start=5, end=6, received=25) == ("L_OK", 3)


def test_an_observation_that_straddles_a_boundary_is_refused_whole() -> None:
    events = [event("grant", 1, 10, collect_until=20)]
    assert one(events, start=9, end=11, received=15) == ("R_OUTSIDE_WINDOW", 1)
    assert one(events, start=19, end=21, received=25) == ("R_OUTSIDE_WINDOW", 1)
    assert one(events, start=10, end=20, received=25) == ("L_OK", 1)


def test_an_observation_that_straddles_two_adjoining_grants_lands() -> None:
    events = [event("grant", 1, 0, collect_until=10), event("grant", 2, 10)]
    assert one(events, start=8, end=12, received=15) == ("L_OK", 2)


def test_a_grant_that_comes_after_the_data_releases_what_was_held() -> None:
    retro = [event("grant", 1, 20, retro_from=10)]
    hold = oracle.HOLD_TICKS
    assert one(retro, start=12, end=13, received=20 - hold) == ("L_OK", 1)
    assert one(retro, start=12, end=13, received=20 - hold - 1) == ("R_NO_AUTHORITY", 0)
    assert one([event("grant", 1, 20)], start=12, end=13, received=15) == ("R_OUTSIDE_WINDOW", 1)
    objected_first = [event("withdraw", 1, 14), event("grant", 2, 20, retro_from=10)]
    assert one(objected_first, start=12, end=13, received=13) == ("L_OK", 2)
    assert one(objected_first, start=12, end=13, received=15) == ("R_NO_AUTHORITY", 1)


def test_the_same_event_delivered_twice_counts_once_and_a_contradiction_closes_the_chain() -> None:
    grant = event("grant", 1, 0)
    assert one([grant, dict(grant)], start=5, end=6, received=7) == ("L_OK", 1)
    assert one([grant, grant | {"effective_at": 1}], start=5, end=6, received=7) == ("H_CONSENT_LAG", 0)


def test_a_hole_in_the_numbers_holds_until_it_closes() -> None:
    first, second, third = event("grant", 1, 0), event("pause", 2, 2), event("grant", 3, 4)
    assert one([first, third], start=5, end=6, received=7) == ("H_CONSENT_LAG", 0)
    assert one([third, first, second], start=5, end=6, received=7) == ("L_OK", 3)


def test_only_what_a_narrow_leaves_lands_from_then_on() -> None:
    events = [event("grant", 1, 0), event("narrow", 2, 10, metrics=["steps"])]
    assert one(events, start=5, end=6, received=9) == ("L_OK", 1)
    assert one(events, start=5, end=6, received=10) == ("R_NO_AUTHORITY", 2)
    assert one(events, metric="steps", start=9, end=12, received=13) == ("L_OK", 1)
    widened = [*events, event("grant", 3, 20)]
    assert one(widened, start=12, end=13, received=25) == ("R_OUTSIDE_WINDOW", 3)
    assert one(widened, start=5, end=6, received=25) == ("L_OK", 3)


def test_a_paused_grant_is_narrowed_too() -> None:
    events = [
        event("grant", 1, 0),
        event("pause", 2, 5),
        event("narrow", 3, 6, metrics=["steps"]),
        event("resume", 4, 8),
    ]
    assert one(events, start=9, end=10, received=11) == ("R_NO_AUTHORITY", 4)
    assert one(events, metric="steps", start=9, end=10, received=11) == ("L_OK", 1)


def test_a_reading_received_after_a_withdrawal_was_appended_never_lands_though_it_is_effective_later() -> None:
    grants = [event("grant", 1, 0), event("grant", 2, 15)]
    known = [*grants, event("withdraw", 3, 20, appended=10)]
    assert one(known, start=8, end=9, received=9) == ("L_OK", 1)
    assert one(known, start=8, end=9, received=10) == ("R_NO_AUTHORITY", 3)
    assert one(known, start=8, end=9, received=17) == ("R_NO_AUTHORITY", 3)
    assert one(known, start=8, end=9, received=25) == ("R_NO_AUTHORITY", 3)
    assert one([*grants, event("withdraw", 3, 20)], start=8, end=9, received=17) == ("L_OK", 2)
    assert one([*known, event("grant", 4, 21)], start=22, end=23, received=25) == ("L_OK", 4)


def test_an_instant_is_covered_where_it_is_and_not_at_the_end_of_a_window() -> None:
    events = [event("grant", 1, 10, collect_until=20)]
    assert one(events, start=10, end=10, received=15) == ("L_OK", 1)
    assert one(events, start=20, end=20, received=25) == ("R_OUTSIDE_WINDOW", 1)


def test_a_reading_without_its_times_is_refused_only_once_authority_was_asked() -> None:
    events = [event("grant", 1, 0), event("withdraw", 2, 10)]
    assert one(events, start=None, end=None, received=5) == ("R_UNDATED", 1)
    assert one(events, start=None, end=None, received=15) == ("R_NO_AUTHORITY", 2)


def test_a_reading_may_end_five_minutes_after_it_was_received_and_not_later() -> None:
    five_minutes = oracle.FUTURE_TICKS
    assert one([event("grant", 1, 0)], start=9, end=10 + five_minutes, received=10) == ("L_OK", 1)
    assert one([event("grant", 1, 0)], start=9, end=11 + five_minutes, received=10) == ("R_FUTURE", 0)


def test_nobodys_chains_can_be_asked_of_no_chains() -> None:
    """A block whose people have no chain at all meets arrays without any."""
    nobody = World([], [], [], [])
    readings = [oracle.Reading(chain, "hr", 1, 2, 3) for chain in (NO_CHAIN, NO_CHAIN_AT_ALL)]
    assert answers(judge_all(nobody.arrays(), readings)) == [("N_NOT_CONSIDERED", 0), ("H_NO_CONSENT", 0)]
    assert answers(judge_all(nobody.arrays(), [])) == []
