"""Kits in the register and its snapshots: facts by barcode whatever the order of arrival, whose a kit is, and counts."""

import random
import sqlite3
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from pipelines.consent import snapshot as module
from pipelines.consent.build import AMBIGUOUS_MEMBER, kit_timeline
from pipelines.consent.chains import NEVER, NO_END
from pipelines.consent.kits import REASONS, UNTOLD, KitFacts, KitNews, KitUnclear
from pipelines.consent.packed import read_about
from pipelines.consent.register import LinkRow, Register, Tombstone
from pipelines.consent.snapshot import Snapshot, Snapshots
from schemas.barcodes import in_groups, issue
from schemas.consent_events import IdentityLink, Unreadable
from schemas.kit_events import KitEvent, kit_event
from schemas.registry import KIT
from tests.test_register import DAY, LINKS, event, link, tell

KITS = "lab.kit-event.v1"
_RANDOM = random.Random(3)
ONE, TWO, THREE = (issue(_RANDOM.choice) for _ in range(3))
LATER = 30_000 * DAY
NOW = 20_600 * DAY


@pytest.fixture
def snapshots(register: Register, tmp_path: Path) -> Snapshots:
    return Snapshots(register, tmp_path / "snapshots", {}, ("hr",))


DETAILS = {
    "packed": {"lot": "L1"},
    "sent": {"ship_token": "7c9e6679-7425-40de-944b-e07fc1f90ae7"},
    "received": {"laboratory": "north"},
    "rejected": {"laboratory": "north", "reason": "leaked"},
    "resulted": {"laboratory": "north"},
    "destroyed": {"reason": "withdrawn"},
}


def news(kind: str, hours: float, barcode: str = ONE, number: int = 0, partner: str = "lab", **fields: Any) -> KitNews:
    """An event `hours` after a day in 2026."""
    at = NOW + round(hours * DAY / 24)
    told: KitEvent = kit_event(
        {
            "event_id": f"00000000-0000-4000-8000-{number or int(hours * 100):012d}",
            "barcode": barcode,
            "event": kind,
            "when": {"at": at},
            **DETAILS.get(kind, {}),
            **fields,
        }
    )
    return KitNews(partner, told, at)


def told(register: Register, *items: Any, topic: str = KITS, at: int = LATER) -> None:
    tell(register, *items, topic=topic, at=at)


def hours(facts: KitFacts, name: str) -> list[float | None]:
    moments = getattr(facts, f"{name}_us").tolist()
    return [None if at == UNTOLD else (at - NOW) / DAY * 24 for at in moments]


def activation(link_id: str, barcode: str = ONE, member: str = "mia", **fields: Any) -> IdentityLink:
    return IdentityLink.from_record(
        {"link_id": link_id, "partner": KIT, "subject": barcode, "member": member, **fields}
    )


def whose(snapshot: Snapshot, barcode: str = ONE) -> list[tuple[int, int, str]]:
    links = snapshot.links(KIT, [barcode])
    names = ["?" if ref == AMBIGUOUS_MEMBER else snapshot.member_id(ref) for ref in links.member.tolist()]
    return list(zip(links.from_us.tolist(), links.to_us.tolist(), names, strict=True))


# -- facts


def test_no_kits_cost_nothing_and_nothing_is_known_of_any(
    register: Register, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(register, event("grant", 1, 1))
    snapshot = snapshots.refresh().open()
    monkeypatch.setattr(module, "subject_digest", lambda *_: pytest.fail("a hash was made"))
    facts = snapshot.kits([ONE, "whatever"])
    assert facts.known.tolist() == [False, False]
    assert hours(facts, "collected") == hours(facts, "lot_expires") == [None, None]
    assert facts.received_us.dtype == "int64"


def test_what_is_known_of_kits_whoever_told_it_and_however_they_are_spelled(
    register: Register, snapshots: Snapshots
) -> None:
    told(register, news("packed", 0, lot_expires=(NOW + 400 * DAY) // DAY), news("collected", 30, TWO, site="nose"))
    told(register, news("collected", 24), news("posted", 30), topic="app.kit-event.v1")
    told(register, news("received", 50, partner="other"), topic="other.kit-event.v1")
    facts = snapshots.refresh().open().kits([in_groups(ONE).lower(), THREE, TWO, ONE])
    assert facts.known.tolist() == [True, False, True, True]
    assert hours(facts, "collected") == [24, None, 30, 24]
    assert hours(facts, "posted") == [30, None, None, 30]
    assert hours(facts, "received") == [50, None, None, 50]
    assert hours(facts, "lot_expires") == [401 * 24 + 12, None, None, 401 * 24 + 12], (
        "the last day ends in the far west"
    )
    assert hours(facts, "packed") == [0, None, None, 0]


def test_a_kits_whole_way_is_known_and_why_it_was_rejected(register: Register, snapshots: Snapshots) -> None:
    way = ("packed", "sent", "activated", "collected", "posted", "received", "resulted")
    told(
        register, *(news(kind, hour) for hour, kind in enumerate(way, 1)), news("rejected", 9), news("rejected", 8, TWO)
    )
    told(register, news("rejected", 10, number=4, reason="too_late"))
    facts = snapshots.refresh().open().kits([ONE, TWO, THREE])
    assert [hours(facts, name)[0] for name in way] == [1, 2, 3, 4, 5, 6, 7]
    assert [UNTOLD if at == UNTOLD else REASONS[at] for at in facts.rejected_for.tolist()] == [
        *("too_late", "leaked", UNTOLD),
    ]


def test_a_lot_without_expiry_does_not_expire(register: Register, snapshots: Snapshots) -> None:
    told(register, news("packed", 0))
    facts = snapshots.refresh().open().kits([ONE])
    assert (facts.known.tolist(), facts.lot_expires_us.tolist()) == ([True], [UNTOLD])


SAID = [
    news("collected", 10, number=5),
    news("collected", 8, number=9),
    news("received", 20, number=1),
    news("rejected", 20, number=3),
    news("resulted", 20, number=2),
    news("packed", 1, number=7, lot_expires=21_000),
    news("packed", 1, number=8, lot_expires=20_000),
]


def test_the_order_of_arrival_never_matters(tmp_path: Path) -> None:
    """The last by (moment, severity, id) stands, whichever came last."""
    found = set()
    for number, order in enumerate(list(permutations(range(len(SAID))))[::97]):
        register = Register(tmp_path / f"{number}.sqlite")
        told(register, *(SAID[place] for place in order))
        status = register.kit_status()
        found.add((*register.kits(), tuple(status.by_last_event.items()), status.contradicted))
        register.close()
    ((row, last, contradicted),) = found
    assert (row.collected_us, row.received_us) == (NOW + 10 * DAY // 24, NOW + 20 * DAY // 24)
    assert row.lot_expires_us == 20_001 * DAY + DAY // 2
    assert (last, contradicted) == ((("rejected", 1),), 1)


def test_an_event_counts_once_however_often_it_is_sent(register: Register) -> None:
    told(register, news("collected", 8))
    before = register.version
    told(register, news("collected", 8), news("collected", 8))
    assert len(register.kit_events(ONE)) == 1
    assert register.changed_since(before) == (0, 0, 0)
    assert register.kit_status().contradicted == 0


def test_an_overlay_knows_better_than_its_base(register: Register, snapshots: Snapshots) -> None:
    told(register, news("collected", 8), news("collected", 9, TWO))
    base = snapshots.refresh()
    told(register, news("received", 50), news("posted", 10, THREE))
    over = snapshots.refresh()
    assert (base.path.name[:4], over.path.name[:4]) == ("base", "over")
    facts = over.open().kits([ONE, TWO, THREE])
    assert facts.known.all()
    assert (hours(facts, "collected"), hours(facts, "received")) == ([8, 9, None], [50, None, None])
    assert base.open().kits([ONE, THREE]).known.tolist() == [True, False]


def test_many_kits_that_changed_make_a_new_base(
    register: Register, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REBASE_LEAST", 2)
    told(register, news("collected", 8))
    assert read_about(snapshots.refresh().path)["entries"] == 1
    told(register, *(news("collected", 8, issue(_RANDOM.choice)) for _ in range(3)))
    path = snapshots.refresh().path
    assert path.name.startswith("base") and read_about(path)["entries"] == 4


# -- what cannot be


def test_what_is_not_understood_is_counted_and_stops_nothing(register: Register) -> None:
    told(register, KitUnclear(), news("collected", 8), KitUnclear(), news("posted", 9))
    told(register, KitUnclear(), topic="other.kit-event.v1")
    status = register.kit_status()
    assert (status.not_understood, status.kits, status.by_last_event) == (3, 1, {"posted": 1})
    alarms = register.status({}).alarms
    assert [(alarm.topic, alarm.offset) for alarm in alarms] == [(KITS, 2), ("other.kit-event.v1", 0)]
    assert alarms[0].what == "2 records of kits are not understood, this one last"
    assert register.status({}).lagging == []


def test_a_moment_that_cannot_be_is_not_understood(register: Register) -> None:
    told(register, news("collected", 8), at=NOW)
    told(register, news("collected", 8), at=NOW + 8 * DAY // 24 - 299_000_000)
    told(register, news("posted", -12 * 365 * 24, number=4))
    assert (register.kit_status().not_understood, register.kit_status().by_last_event) == (2, {"collected": 1})


def test_what_retention_deleted_unread_is_counted_once(register: Register) -> None:
    told(register, news("collected", 8))
    for _ in range(2):
        register.passed_over(KITS, 0, 11)
    assert (register.kit_status().deleted_unread, register.positions()) == (10, {(KITS, 0): 11})
    assert "deleted" in register.status({}).alarms[0].what


@pytest.mark.parametrize(
    ("items", "contradicted"),
    [
        ([news("collected", 8), news("collected", 9)], 1),
        ([news("collected", 8, site="nose"), news("collected", 8, number=3, site="throat")], 1),
        ([news("packed", 1), news("packed", 1, number=3, lot="L2")], 1),
        ([news("collected", 8, number=3), news("posted", 9, number=3)], 1),
        ([news("collected", 8), news("collected", 8, number=3)], 0),
        ([news("received", 8), news("received", 9)], 0),
        ([news("resulted", 8), news("resulted", 9)], 0),
        ([news("collected", 8), news("collected", 9, TWO)], 0),
        ([news("collected", 8), news("collected", 9), news("posted", 9), news("posted", 10)], 1),
    ],
)
def test_kits_that_contradict_themselves_are_counted(
    register: Register, items: list[KitNews], contradicted: int
) -> None:
    told(register, *items)
    assert register.kit_status().contradicted == contradicted


def test_a_kits_events_are_shown_in_order(register: Register) -> None:
    told(register, news("received", 50), news("collected", 8, site="nose"), news("collected", 9, TWO))
    assert [(row["event"], row.get("site"), row.get("laboratory")) for row in register.kit_events(in_groups(ONE))] == [
        ("collected", "nose", None),
        ("received", None, "north"),
    ]


# -- whose a kit is


def test_a_kit_is_its_members_at_all_times(register: Register, snapshots: Snapshots) -> None:
    assert whose(snapshots.refresh().open()) == []
    tell(register, activation("a", from_us=5 * DAY, to_us=6 * DAY), topic=LINKS)
    assert whose(snapshots.refresh().open(), in_groups(ONE).lower()) == [(NEVER, NO_END, "mia")]
    tell(register, activation("b"), topic=LINKS)
    assert whose(snapshots.refresh().open()) == [(NEVER, NO_END, "mia")], "again by the same member"
    assert register.kit_status().in_conflict == 0


def test_a_second_activation_by_somebody_else_is_a_conflict_until_one_is_taken_back(
    register: Register, snapshots: Snapshots
) -> None:
    tell(register, activation("a", to_us=6 * DAY), activation("b", member="ann", from_us=7 * DAY), topic=LINKS)
    assert whose(snapshots.refresh().open()) == [(NEVER, NO_END, "?")]
    assert register.kit_status().in_conflict == 1
    tell(register, Tombstone(), topic=LINKS, key=b"b")
    assert whose(snapshots.refresh().open()) == [(NEVER, NO_END, "mia")]
    assert register.kit_status().in_conflict == 0


def test_a_link_that_comes_again_with_somebody_else_is_a_conflict_until_its_tombstone(
    register: Register, snapshots: Snapshots
) -> None:
    tell(register, activation("a"), activation("a", member="ann"), topic=LINKS)
    for item in (activation("a", member="ann"), activation("a"), Unreadable(), activation("a")):
        assert whose(snapshots.refresh().open()) == [(NEVER, NO_END, "?")]
        tell(register, item, topic=LINKS, key=b"a")
    assert whose(snapshots.refresh().open()) == [(NEVER, NO_END, "?")]
    tell(register, Tombstone(), activation("a", member="ann"), topic=LINKS, key=b"a")
    assert whose(snapshots.refresh().open()) == [(NEVER, NO_END, "ann")]


def test_a_device_is_still_handed_on(register: Register, snapshots: Snapshots) -> None:
    tell(register, link("a", ONE, to_us=6 * DAY), link("b", ONE, "ann", from_us=6 * DAY), topic=LINKS)
    members = snapshots.refresh().open().links("acme", [ONE]).member.tolist()
    assert len(set(members)) == 2 and AMBIGUOUS_MEMBER not in members
    assert whose(snapshots.refresh().open()) == []


@pytest.mark.parametrize(
    ("links", "stretches"),
    [
        ([], []),
        ([LinkRow(7, 1, 2, True)], [(NEVER, NO_END, 7)]),
        ([LinkRow(7, 1, 2, True), LinkRow(7, 3, None, True)], [(NEVER, NO_END, 7)]),
        ([LinkRow(7, 1, 2, True), LinkRow(8, 3, 4, True)], [(NEVER, NO_END, AMBIGUOUS_MEMBER)]),
        ([LinkRow(7, None, None, False)], [(NEVER, NO_END, AMBIGUOUS_MEMBER)]),
        ([LinkRow(7, 1, 2, True), LinkRow(7, 3, 4, False)], [(NEVER, NO_END, AMBIGUOUS_MEMBER)]),
    ],
)
def test_a_kits_timeline(links: list[LinkRow], stretches: list[tuple[int, int, int]]) -> None:
    assert kit_timeline(links) == stretches


def test_news_of_a_kit_are_its_links_and_its_members_chains(register: Register) -> None:
    assert register.news_of(KIT, ONE) == 0
    tell(register, activation("a"), topic=LINKS)
    linked = register.version
    told(register, news("collected", 8))
    assert register.news_of(KIT, in_groups(ONE).lower()) == linked
    tell(register, event("grant", 1, 1))
    assert register.news_of(KIT, ONE) == register.version > linked


# -- registers and snapshots from before there were kits


def test_an_older_register_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    older = Register(path)
    tell(older, event("grant", 1, 1), topic="trust.consent-event.v1")
    older.close()
    with sqlite3.connect(path) as db:
        for table in ("kits", "kit_events", "kit_faults"):
            db.execute(f"DROP TABLE {table}")
    db.close()
    again = Register(path)
    told(again, news("collected", 8))
    assert (again.kit_status().kits, again.status({}).members) == (1, 1)
    again.close()


def test_a_snapshot_of_another_layout_is_built_anew(register: Register, snapshots: Snapshots, tmp_path: Path) -> None:
    tell(register, event("grant", 1, 1))
    base = snapshots.refresh().path
    about = (base / "about.json").read_text(encoding="utf-8")
    assert '"layout": 3, ' in about
    (base / "about.json").write_text(about.replace('"layout": 3, ', ""), encoding="utf-8")
    later = Snapshots(register, tmp_path / "snapshots", {}, ("hr",)).refresh()
    assert later.path != base and later.path.name.startswith("base")
    assert later.open().kits([ONE]).known.tolist() == [False]
