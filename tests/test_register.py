"""The register: idempotent by offset, whole or lagging chains, links, alarms, removals owed, and what changed."""

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from pipelines.consent.chains import ChainEvent
from pipelines.consent.register import (
    CONTRADICTION,
    LINK_NOT_UNDERSTOOD,
    NO_CHAIN_NAMED,
    NOT_UNDERSTOOD,
    Item,
    LinkRow,
    Register,
    Tombstone,
)
from pipelines.consent.status import LATE_US
from schemas.consent_events import ConsentEvent, IdentityLink, Unreadable
from schemas.registry import Study

CONSENT, LINKS = "trust.consent-event.v1", "trust.identity-link.v1"
DAY = 86_400_000_000


def event(kind: str, seq: int, day: int, member: str = "mia", study: str = "sleep", **fields: Any) -> ConsentEvent:
    own = {"metrics": ("hr",)} if kind in ("grant", "narrow") else {}
    mode = {"mode": "keep"} if kind == "withdraw" else {}
    return ConsentEvent.from_record(
        {"kind": kind, "member": member, "study": study, "seq": seq, "effective_at": day * DAY, **own, **mode, **fields}
    )


def link(link_id: str, subject: str, member: str = "mia", **fields: Any) -> IdentityLink:
    return IdentityLink.from_record(
        {"link_id": link_id, "partner": "acme", "subject": subject, "member": member, **fields}
    )


def tell(register: Register, *items: Item, topic: str = CONSENT, key: bytes | None = None, at: int = 0) -> None:
    """Append the items to the topic's partition, at `at` microseconds."""
    first = register.positions().get((topic, 0), 0)
    register.apply(topic, 0, [(first + number, at, key, item) for number, item in enumerate(items)])


def test_what_is_told_is_there_and_counts_once_however_often_it_comes(register: Register) -> None:
    records = [(0, 5, None, event("grant", 1, 1)), (1, 6, None, event("pause", 2, 2))]
    register.apply(CONSENT, 0, records)
    register.apply(CONSENT, 0, [*records, (2, 7, None, event("grant", 1, 1))])
    assert register.positions() == {(CONSENT, 0): 3}
    (row,) = register.chains()
    assert (row.member, row.study, row.whole) == (0, 0, True)
    assert row.events == [
        ChainEvent("grant", 1, DAY, frozenset({"hr"}), appended_us=5),
        ChainEvent("pause", 2, 2 * DAY, appended_us=6),
    ]
    assert list(register.members()) == [(0, "mia")]
    assert register.studies() == ["sleep"]


def test_it_is_kept_with_mode_600_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    one = Register(path)
    tell(one, event("grant", 1, 1))
    one.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Register(path)
    assert again.id == one.id
    assert len(list(again.chains())) == 1
    assert again.positions() == {(CONSENT, 0): 1}
    tell(again, event("narrow", 2, 2))
    assert [len(row.events) for row in again.chains()] == [2]
    again.close()


def test_a_failure_leaves_neither_part_nor_position(register: Register) -> None:
    tell(register, event("grant", 1, 1))
    before = list(register.chains()), register.positions(), register.version
    broken: list[Any] = [(1, 0, None, event("grant", 1, 1, study="mood", metrics=["x"])), (2, 0, None, "no item")]
    with pytest.raises(AttributeError):
        register.apply(CONSENT, 0, broken)
    assert (list(register.chains()), register.positions(), register.version) == before
    tell(register, event("grant", 1, 1, study="mood", metrics=["x"]))
    assert [row.events[0].metrics for row in register.chains()] == [frozenset({"hr"}), frozenset({"x"})]


def test_a_hole_lags_until_it_closes(register: Register) -> None:
    tell(register, event("grant", 2, 2))
    assert [row.whole for row in register.chains()] == [False]
    assert [(c.study, c.member, c.events, c.top) for c in register.status({}).lagging] == [("sleep", "mia", 1, 2)]
    tell(register, event("grant", 1, 1))
    assert [row.whole for row in register.chains()] == [True]
    assert not register.status({}).lagging


def test_what_is_not_understood_closes_its_chain_and_alarms(register: Register) -> None:
    tell(register, event("grant", 1, 1), Unreadable("mia", "sleep"), Unreadable("ann", "sleep"), Unreadable())
    assert [(row.member, row.whole) for row in register.chains()] == [(0, False), (1, False)]
    status = register.status({})
    assert [(a.offset, a.what) for a in status.alarms] == [
        (1, NOT_UNDERSTOOD),
        (2, NOT_UNDERSTOOD),
        (3, NO_CHAIN_NAMED),
    ]
    assert "mia" not in repr(status)


def test_two_events_with_one_number_close_the_chain(register: Register) -> None:
    tell(register, event("grant", 1, 1), event("grant", 1, 2))
    assert [row.whole for row in register.chains()] == [False]
    assert [alarm.what for alarm in register.status({}).alarms] == [CONTRADICTION]


def test_links_come_move_and_go(register: Register) -> None:
    tell(register, link("a", "s1", to_us=9), link("b", "s1", "ann", from_us=9), topic=LINKS)
    assert list(register.subjects()) == [("acme", "s1", [LinkRow(0, None, 9, True), LinkRow(1, 9, None, True)])]
    tell(register, link("b", "s2", "ann"), topic=LINKS)
    tell(register, Tombstone(), topic=LINKS, key=b"a")
    assert list(register.subjects()) == [("acme", "s1", []), ("acme", "s2", [LinkRow(1, None, None, True)])]


def test_a_link_whose_new_version_is_not_understood_is_doubted_until_the_next(register: Register) -> None:
    tell(register, link("a", "s1"), topic=LINKS)
    tell(register, Unreadable(), topic=LINKS, key=b"a")
    assert list(register.subjects()) == [("acme", "s1", [LinkRow(0, None, None, False)])]
    assert [alarm.what for alarm in register.status({}).alarms] == [LINK_NOT_UNDERSTOOD]
    tell(register, link("a", "s1"), topic=LINKS)
    assert list(register.subjects()) == [("acme", "s1", [LinkRow(0, None, None, True)])]


def test_only_what_changed_is_given_since_a_version(register: Register) -> None:
    tell(register, event("grant", 1, 1), event("grant", 1, 1, member="ann"))
    tell(register, link("a", "s1"), topic=LINKS)
    before = register.version
    assert register.changed_since(before) == (0, 0, 0)
    tell(register, event("grant", 1, 1))
    assert register.changed_since(before) == (0, 0, 0), "the same event again changes nothing"
    tell(register, event("pause", 2, 2, member="ann"), event("grant", 1, 1, member="new", study="mood"))
    tell(register, link("a", "s2"), topic=LINKS)
    assert register.changed_since(before) == (2, 2, 0), "a link that moved touches both its subjects"
    assert list(register.members(before)) == [(1, "ann"), (2, "new")]
    assert [(row.member, row.study, len(row.events)) for row in register.chains(before)] == [(1, 0, 2), (2, 1, 1)]
    assert [subject for _, subject, _ in register.subjects(before)] == ["s1", "s2"]


def test_the_position_moves_over_offsets_that_hold_no_record_and_never_back(register: Register) -> None:
    register.reached(LINKS, 0, 7)
    register.reached(LINKS, 0, 3)
    assert register.positions() == {(LINKS, 0): 7}


@pytest.mark.parametrize(
    ("withdrawal", "basis", "why"),
    [
        (event("withdraw", 2, 2, mode="erase"), "public_interest_research", "erase"),
        (event("withdraw", 2, 2), "none", "keep without a basis to keep"),
        (event("withdraw", 2, 2), "public_interest_research", None),
    ],
)
def test_a_withdrawal_that_the_study_may_not_keep_after_is_a_removal_owed(
    register: Register, withdrawal: ConsentEvent, basis: Any, why: str | None
) -> None:
    tell(register, event("grant", 1, 1), withdrawal, at=2 * DAY)
    studies = {"sleep": Study(id="sleep", basis_after_withdrawal=basis)}
    owed = [(o.study, o.member, o.seq, o.effective_us, o.why) for o in register.status(studies).owed]
    assert owed == ([] if why is None else [("sleep", "mia", 2, 2 * DAY, why)])


def test_the_status_can_be_written_as_json(register: Register) -> None:
    tell(register, event("grant", 1, 1), event("withdraw", 2, 2), Unreadable("mia", "sleep"), at=2 * DAY)
    alarm = {"topic": CONSENT, "partition": 0, "offset": 2, "what": NOT_UNDERSTOOD}
    why = "keep without a basis to keep"
    assert register.status({}).as_json() == {
        "members": 1,
        "chains": 1,
        "links": 0,
        "lagging": [{"study": "sleep", "member": "mia", "events": 2, "top": 2, "closed": True}],
        "alarms": [alarm],
        "owed": [{"study": "sleep", "member": "mia", "seq": 2, "effective_at": "1970-01-03T00:00:00Z", "why": why}],
    }


@pytest.mark.parametrize("kind", ["withdraw", "pause", "narrow"])
def test_what_landed_before_a_late_objection_came_is_owed(register: Register, kind: str) -> None:
    studies = {"sleep": Study(id="sleep", basis_after_withdrawal="public_interest_research")}
    tell(register, event("grant", 1, 1), event(kind, 2, 2), at=2 * DAY + LATE_US)
    assert register.status(studies).owed == []
    tell(register, event("grant", 1, 1, member="ann"), event(kind, 2, 2, member="ann"), at=2 * DAY + LATE_US + 1)
    assert [(o.member, o.why) for o in register.status(studies).owed] == [("ann", f"{kind} came late")]


def test_a_reader_sees_it_while_it_is_written(register: Register, tmp_path: Path) -> None:
    tell(register, event("grant", 1, 1))
    with register._transaction():
        reader = sqlite3.connect(tmp_path / "vault" / "register.sqlite")
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
        reader.close()
