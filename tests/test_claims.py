"""Claims, against an oracle that takes one reading at a time: whose it is, who considers it, and what consent says."""

import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipelines.blocks import Block
from pipelines.claims import claim
from pipelines.consent.snapshot import Snapshot
from pipelines.consent.verdict import CODES, judge
from schemas.consent_events import ConsentEvent, IdentityLink, Unreadable
from schemas.reasons import Code
from tests.readings import DAY, NOON, RECEIVED, SECOND, TOPIC, grant, intervals, linked, message, normalised, snapshot

HOLD_US = 3 * DAY
INSTANT = 1  # an instant t is [t, t + 1 us)


class Answer(NamedTuple):
    """What the block's claims come to, reading by reading: position in the block, study, code and sequence number."""

    held: set[tuple[int, int, str]]  # offset, index, reason
    allowed: set[tuple[int, str, int]]  # reading, study, consent_seq
    considered: Counter[str]
    withheld: Counter[tuple[str, str]]
    people: Counter[tuple[str, str]]


def of_run(block: Block, snap: Snapshot) -> Answer:
    """The answer of the code under test."""
    claims = claim(block, "acme", snap, HOLD_US)
    held = set()
    for hold in claims.holds:
        assert hold.topic == TOPIC and hold.partition == 0 and hold.partner == "acme" and hold.received_us == RECEIVED
        held |= {(hold.offset, hold.first + i, hold.reason) for i in range(hold.readings)}
    assert len(held) == sum(hold.readings for hold in claims.holds)
    assert claims.claimed + len(held) == block.readings.num_rows
    allowed = set()
    for given in claims.grants:
        for reading in np.flatnonzero(given.allowed[claims.unit_of]).tolist():
            allowed.add((reading, given.study, int(given.consent_seq[claims.unit_of[reading]])))
    return Answer(held, allowed, +claims.considered, +claims.withheld, +claims.people)


def by_reading(block: Block, snap: Snapshot, links: list[IdentityLink]) -> Answer:
    """The oracle: readings one by one, links and chains one by one, no hulls."""
    answer, withheld_of = Answer(set(), set(), Counter(), Counter(), Counter()), set()
    messages = block.messages.to_pylist()
    for number, reading in enumerate(block.readings.to_pylist()):
        own = messages[reading["message"]]
        member = whose(own["subject"], reading["start"], reading["end"], links)
        reason = None if member in snap_members(snap) else member
        chains = snap.chains_of(np.array([snap_members(snap).get(member, -1)]))
        if reason is None:
            reason = Code.CONSENT_LAG if chains.lagging[0] else None if len(chains.chain) else Code.NO_CONSENT
        if reason is not None:
            answer.held.add((own["offset"], reading["index"], str(reason)))
            continue
        for chain, study in zip(chains.chain.tolist(), chains.study.tolist(), strict=True):
            verdict = judge(
                snap.gather(np.array([chain])),
                np.zeros(1, dtype=np.int32),
                np.array([own["metric_index"]], dtype=np.int32),
                *(np.array([reading[name]]) for name in ("start", "end")),
                np.array([own["received"]]),
                np.zeros(1, dtype=np.int8),
                HOLD_US,
            )
            code, name = CODES[verdict.code[0]], snap.studies[study]
            answer.considered[name] += 1
            if code == Code.OK:
                answer.allowed.add((number, name, int(verdict.consent_seq[0])))
            else:
                answer.withheld[name, str(code)] += 1
                withheld_of.add((name, str(code), member))
    answer.people.update((study, code) for study, code, _ in withheld_of)
    return answer


def whose(subject: str, start: int, end: int, links: list[IdentityLink]) -> Any:
    """The one member to whom the subject was linked throughout, or why there is none."""
    own = [link for link in links if link.subject == subject]
    until = max(end, start + INSTANT)
    cuts = sorted({start, *(t for link in own for t in (link.from_us, link.to_us) if t and start < t < until)})
    at_each = [{link.member for link in own if covers(link, cut)} for cut in cuts]
    if all(len(members) == 1 for members in at_each) and len(set.union(*at_each)) == 1:
        return next(iter(at_each[0]))
    return Code.ATTRIBUTION if all(len(members) > 1 for members in at_each) else Code.NO_CONSENT


def covers(link: IdentityLink, moment: int) -> bool:
    return (link.from_us is None or link.from_us <= moment) and (link.to_us is None or moment < link.to_us)


def snap_members(snap: Snapshot) -> dict[str, int]:
    found: dict[str, int] = {}
    for ref in range(50):
        try:
            found[snap.member_id(ref)] = ref
        except KeyError:
            break
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_claims_on_a_block_are_those_of_its_readings_one_by_one(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    links = [made_link(rng, number) for number in range(rng.randrange(2, 9))]
    events = [event for member in "abcd" for event in made_chain(rng, member)]
    snap = snapshot(tmp_path, [*links, *events])
    block = normalised(*(made_message(rng) for _ in range(9)), first_offset=100)
    assert block.readings.num_rows > 20
    assert of_run(block, snap) == by_reading(block, snap, links)


def made_link(rng: random.Random, number: int) -> IdentityLink:
    begin, end = sorted(rng.sample(range(-5, 45), 2))
    limits = {"begin": rng.choice([None, NOON + begin * SECOND]), "end": rng.choice([None, NOON + end * SECOND])}
    found = linked(rng.choice(["s1", "s2", "s3"]), rng.choice("abcde"), **limits)
    return found.model_copy(update={"link_id": str(number)})


def made_chain(rng: random.Random, member: str) -> list[ConsentEvent]:
    """A grant or none, sometimes of another metric, with a window that may cut through the readings, or a gap."""
    found = []
    for study in ("sleep", "cycle"):
        if rng.random() < 0.3:
            continue
        begin = NOON + rng.randrange(-20, 60) * SECOND
        metrics = rng.choice([("heart_rate",), ("steps_interval",), ("heart_rate", "steps_interval")])
        times = {"effective_at": begin, "retro_from": rng.choice([None, begin - 15 * SECOND])}
        until = {"collect_until": rng.choice([None, begin + rng.randrange(1, 30) * SECOND])}
        seq = 2 if rng.random() < 0.1 else 1  # a chain that does not begin with 1 has a gap
        found.append(grant(member, study, seq, metrics=metrics, **times, **until))
        if rng.random() < 0.3:
            mode, at = rng.choice(["keep", "erase"]), RECEIVED - rng.randrange(-1, 2) * SECOND
            fields = {"kind": "withdraw", "member": member, "study": study, "seq": seq + 1, "effective_at": at}
            found.append(ConsentEvent.model_validate({**fields, "mode": mode}))
    return found


def made_message(rng: random.Random) -> dict[str, Any]:
    subject, start = rng.choice(["s1", "s2", "s3", "s4"]), NOON + rng.randrange(0, 30) * SECOND
    if rng.random() < 0.5:
        return message(subject, [60.0 + n for n in range(rng.randrange(1, 12))], start)
    spans = []
    for _ in range(rng.randrange(1, 9)):
        begin = start + rng.randrange(0, 10) * SECOND
        spans.append((begin, begin + rng.randrange(0, 12) * SECOND))
    rates = {"metric": "heart_rate", "unit": "/min"} if rng.random() < 0.5 else {}
    return intervals(*spans, subject=subject, source={"name": "w"}, **rates)


# -- cases by name


def test_a_watch_handed_on_and_synced_late_belongs_to_each_wearer_for_their_time(tmp_path: Path) -> None:
    """One message; the earlier wearer's instant ends where the later one's begins."""
    links = [linked("s1", "ann", end=NOON + 2 * SECOND), linked("s1", "bob", begin=NOON + 2 * SECOND)]
    snap = snapshot(tmp_path, [*links, grant("ann"), grant("bob", seq=1)])
    block = normalised(message(values=[60, 61, 62, 63, 64]))
    claims = claim(block, "acme", snap, HOLD_US)
    member = [snap.member_id(int(claims.member[unit])) for unit in claims.unit_of]
    assert member == ["ann", "ann", "bob", "bob", "bob"]
    assert claims.holds == [] and claims.considered == {"sleep": 5}


def test_an_interval_across_the_handing_over_is_nobodys_for_sure(tmp_path: Path) -> None:
    at = NOON + 10 * SECOND
    links = [linked("s1", "ann", end=at), linked("s1", "bob", begin=at)]
    snap = snapshot(tmp_path, [*links, grant("ann"), grant("bob")])
    block = normalised(intervals((at - SECOND, at), (at - SECOND, at + 1), (at, at + SECOND)))
    claims = claim(block, "acme", snap, HOLD_US)
    assert [(hold.first, hold.readings, hold.reason) for hold in claims.holds] == [(1, 1, Code.NO_CONSENT)]
    assert claims.claimed == 2 and claims.considered == {"sleep": 2}


def test_two_links_that_contradict_each_other_hold_only_where_they_do(tmp_path: Path) -> None:
    links = [linked("s1", "ann"), linked("s1", "bob", NOON + SECOND, NOON + 3 * SECOND)]
    snap = snapshot(tmp_path, [*links, grant("ann"), grant("bob")])
    claims = claim(normalised(message(values=[60, 61, 62, 63, 64])), "acme", snap, HOLD_US)
    assert [(hold.first, hold.readings, hold.reason) for hold in claims.holds] == [(1, 2, Code.ATTRIBUTION)]
    assert claims.claimed == 3


def test_two_links_that_say_the_same_are_one(tmp_path: Path) -> None:
    links = [linked("s1", "ann", end=NOON + 2 * SECOND), linked("s1", "ann", NOON + SECOND)]
    claims = claim(normalised(message()), "acme", snapshot(tmp_path, [*links, grant("ann")]), HOLD_US)
    assert claims.holds == [] and claims.considered == {"sleep": 3}


def test_a_gap_in_any_chain_of_a_member_holds_all_of_theirs_for_every_study(tmp_path: Path) -> None:
    events = [grant("ann"), grant("ann", "cycle", seq=2), grant("bob")]
    snap = snapshot(tmp_path, [linked("s1", "ann"), linked("s2", "bob"), *events])
    claims = claim(normalised(message(), message("s2")), "acme", snap, HOLD_US)
    assert [(hold.subject, hold.readings, hold.reason) for hold in claims.holds] == [("s1", 3, Code.CONSENT_LAG)]
    assert claims.considered == {"sleep": 3}


def test_an_event_that_is_not_understood_holds_like_a_gap(tmp_path: Path) -> None:
    events = [grant("ann"), Unreadable("ann", "cycle")]
    claims = claim(normalised(message()), "acme", snapshot(tmp_path, [linked("s1", "ann"), *events]), HOLD_US)
    assert [hold.reason for hold in claims.holds] == [Code.CONSENT_LAG]


@pytest.mark.parametrize("known", [False, True])
def test_the_unlinked_and_those_without_a_chain_are_held(known: bool, tmp_path: Path) -> None:
    items = [linked("s1", "ann")] if known else [grant("ann")]
    claims = claim(normalised(message()), "acme", snapshot(tmp_path, items), HOLD_US)
    assert [(h.first, h.readings, h.subject, h.reason) for h in claims.holds] == [(0, 3, "s1", Code.NO_CONSENT)]
    assert claims.claimed == 0 and claims.considered == {} and claims.grants == []


def test_a_window_that_ends_inside_a_message_ends_there(tmp_path: Path) -> None:
    """The last reading before the end is in, the first at the end is out."""
    until = {"collect_until": NOON + 2 * SECOND, "effective_at": NOON - DAY}
    claims = claim(
        normalised(message(values=[60, 61, 62, 63])),
        "acme",
        snapshot(tmp_path, [linked("s1", "ann"), grant("ann", **until)]),
        HOLD_US,
    )
    assert claims.considered == {"sleep": 4}
    allowed = [g.allowed[claims.unit_of].tolist() for g in claims.grants]
    code = Code.OUTSIDE_WINDOW if allowed else Code.NO_AUTHORITY
    assert allowed in ([[True, True, False, False]], [])
    assert claims.withheld == {("sleep", code): 2 if allowed else 4}


def test_readings_that_were_rejected_leave_a_hole_in_what_is_held(tmp_path: Path) -> None:
    """Positions are those of the message as it was sent, or a redrive would judge the wrong ones."""
    block = normalised(message(values=[60, float("nan"), 62, 63]))
    claims = claim(block, "acme", snapshot(tmp_path, []), HOLD_US)
    assert [(hold.first, hold.readings) for hold in claims.holds] == [(0, 1), (2, 2)]


def test_a_message_whose_readings_were_all_rejected_claims_nothing(tmp_path: Path) -> None:
    block = normalised(message("s9", [float("nan")]), message())
    claims = claim(block, "acme", snapshot(tmp_path, [linked("s1", "ann"), grant("ann")]), HOLD_US)
    assert claims.holds == [] and claims.claimed == 3 and claims.considered == {"sleep": 3}


def test_a_link_of_another_partner_says_nothing(tmp_path: Path) -> None:
    link = linked("s1", "ann").model_copy(update={"partner": "beat"})
    claims = claim(normalised(message()), "acme", snapshot(tmp_path, [link, grant("ann")]), HOLD_US)
    assert [hold.reason for hold in claims.holds] == [Code.NO_CONSENT]
