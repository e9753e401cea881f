"""Snapshots: the same answers as the register's own events give, over a base, an overlay and what changes between."""

import os
import stat
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pipelines.consent import snapshot as module
from pipelines.consent.build import AMBIGUOUS_MEMBER, timeline
from pipelines.consent.chains import NEVER, NO_END, compile_chain
from pipelines.consent.packed import DamagedError
from pipelines.consent.register import LinkRow, Register, Tombstone
from pipelines.consent.snapshot import Snapshot, Snapshots
from pipelines.consent.verdict import CODES, judge
from schemas.registry import Study
from tests.test_register import CONSENT, DAY, LINKS, event, link, tell

METRICS = ("hr", "steps", "temp")
STUDIES = {"sleep": Study(id="sleep", basis_after_withdrawal="anonymised_only"), "mood": Study(id="mood")}


@pytest.fixture
def snapshots(register: Register, tmp_path: Path) -> Snapshots:
    return Snapshots(register, tmp_path / "snapshots", STUDIES, METRICS)


def member_of(snapshot: Snapshot, subject: str) -> list[str]:
    refs = snapshot.links("acme", [subject]).member.tolist()
    return ["?" if ref == AMBIGUOUS_MEMBER else snapshot.member_id(ref) for ref in refs]


def codes(snapshot: Snapshot, member: str, day: int) -> dict[str, str]:
    """The verdict of each study on an hr reading of the member, taken and received on a day."""
    (ref,) = [ref for ref in range(10) if known(snapshot, ref) == member]
    chains = snapshot.chains_of(np.array([ref]))
    n = len(chains.chain)
    at = np.full(n, day * DAY)
    attribution = np.zeros(n, dtype=np.int8)
    numbers = np.arange(n, dtype=np.int32)
    verdict = judge(snapshot.gather(chains.chain), numbers, np.zeros(n, np.int32), at, at, at, attribution)
    names = [snapshot.studies[study] for study in chains.study]
    return {name: str(CODES[code]) for name, code in zip(names, verdict.code, strict=True)}


def known(snapshot: Snapshot, ref: int) -> str | None:
    try:
        return snapshot.member_id(ref)
    except KeyError:
        return None


def test_an_empty_register_has_a_snapshot(snapshots: Snapshots) -> None:
    snapshot = snapshots.refresh().open()
    assert snapshot.studies == ()
    assert snapshot.metrics == METRICS
    assert snapshot.positions == {}
    assert snapshot.links("acme", ["s1"]).offsets.tolist() == [0, 0]
    assert snapshot.links("acme", []).offsets.tolist() == [0]
    assert snapshot.chains_of(np.array([0, -1])).offsets.tolist() == [0, 0, 0]
    assert len(snapshot.gather(np.array([], dtype=np.int32)).columns) == 0


def test_a_base_tells_who_a_subject_is_and_what_they_allow(register: Register, snapshots: Snapshots) -> None:
    tell(register, event("grant", 1, 1), event("grant", 1, 5, study="mood"), event("grant", 1, 1, member="ann"))
    tell(register, link("a", "s1"), link("b", "s2", "ann"), topic=LINKS)
    snapshot = snapshots.refresh().open()
    assert (member_of(snapshot, "s1"), member_of(snapshot, "s2"), member_of(snapshot, "s3")) == (["mia"], ["ann"], [])
    assert snapshot.links("other", ["s1"]).member.tolist() == []
    assert codes(snapshot, "mia", 3) == {"sleep": "L_OK", "mood": "R_OUTSIDE_WINDOW"}
    assert codes(snapshot, "ann", 3) == {"sleep": "L_OK"}
    assert snapshot.positions == {(CONSENT, 0): 3, (LINKS, 0): 2}
    assert snapshot.version == register.version


def test_an_overlay_tells_what_changed_and_leaves_the_rest(register: Register, snapshots: Snapshots) -> None:
    tell(register, event("grant", 1, 1), event("grant", 1, 1, member="ann"), event("grant", 1, 1, member="bo"))
    tell(register, link("a", "s1"), link("b", "s2", "ann"), link("c", "s3", "bo"), topic=LINKS)
    base = snapshots.refresh()
    before = base.open()
    tell(register, event("withdraw", 2, 2, member="ann"), event("grant", 1, 1, member="ann", study="mood"))
    tell(register, event("grant", 1, 1, member="cy", study="mood"))
    tell(register, link("a", "s1", "cy"), Tombstone(), topic=LINKS, key=b"b")
    over = snapshots.refresh()
    assert base.path.name.startswith("base-")
    assert over.path.name.startswith("overlay-")
    snapshot = over.open()
    assert [member_of(snapshot, s) for s in ("s1", "s2", "s3")] == [["cy"], [], ["bo"]]
    assert codes(snapshot, "ann", 3) == {"sleep": "R_NO_AUTHORITY", "mood": "L_OK"}
    assert codes(snapshot, "mia", 3) == codes(snapshot, "bo", 3) == {"sleep": "L_OK"}
    assert codes(snapshot, "cy", 3) == {"mood": "L_OK"}
    assert member_of(before, "s1") == ["mia"], "the older one stands"
    assert codes(before, "ann", 3) == {"sleep": "L_OK"}


def test_one_lagging_chain_makes_the_member_and_all_their_chains_lag(register: Register, snapshots: Snapshots) -> None:
    tell(register, event("grant", 1, 1), event("grant", 2, 1, study="mood"), event("grant", 1, 1, member="ann"))
    snapshot = snapshots.refresh().open()
    assert snapshot.chains_of(np.array([0, 1])).lagging.tolist() == [True, False]
    assert codes(snapshot, "mia", 3) == {"sleep": "H_CONSENT_LAG", "mood": "H_CONSENT_LAG"}
    tell(register, event("grant", 1, 1, study="mood"))
    assert codes(snapshots.refresh().open(), "mia", 3) == {"sleep": "L_OK", "mood": "L_OK"}


def test_a_study_that_is_not_registered_does_not_run_until_it_is(register: Register, tmp_path: Path) -> None:
    tell(register, event("grant", 1, 1))
    unknown = Snapshots(register, tmp_path / "snapshots", {}, METRICS).refresh()
    assert codes(unknown.open(), "mia", 3) == {"sleep": "R_STUDY_INACTIVE"}
    registered = Snapshots(register, tmp_path / "snapshots", {"sleep": Study(id="sleep")}, METRICS).refresh()
    assert codes(registered.open(), "mia", 3) == {"sleep": "L_OK"}
    assert registered.path.name.startswith("overlay-"), "when a study runs is said beside the chains, not in them"


def test_what_the_study_may_keep_the_metrics_and_the_register_each_ask_for_a_new_base(
    register: Register, tmp_path: Path
) -> None:
    tell(register, event("grant", 1, 1), event("withdraw", 2, 4), at=4 * DAY)
    folder = tmp_path / "snapshots"
    first = Snapshots(register, folder, STUDIES, METRICS).refresh()
    assert Snapshots(register, folder, STUDIES, METRICS).refresh() == first
    may_not_keep = Snapshots(register, folder, {"sleep": Study(id="sleep")}, METRICS).refresh()
    assert may_not_keep.path.name.startswith("base-")
    assert may_not_keep != first
    assert (codes(first.open(), "mia", 3), codes(may_not_keep.open(), "mia", 3)) == (
        {"sleep": "L_OK"},
        {"sleep": "R_ERASED"},
    )
    assert Snapshots(register, folder, STUDIES, METRICS[:2]).refresh().path.name.startswith("base-")
    another = Register(tmp_path / "another.sqlite")
    assert Snapshots(another, folder, STUDIES, METRICS).refresh().path.name.startswith("base-")
    another.close()


def test_much_that_changed_makes_a_new_base(
    register: Register, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REBASE_LEAST", 2)
    tell(register, event("grant", 1, 1))
    snapshots.refresh()
    tell(register, event("grant", 1, 1, member="ann"), event("grant", 1, 1, member="bo"))
    assert snapshots.refresh().path.name.startswith("overlay-")
    tell(register, event("grant", 1, 1, member="cy"))
    snapshot = snapshots.refresh()
    assert snapshot.path.name.startswith("base-")
    assert codes(snapshot.open(), "cy", 3) == {"sleep": "L_OK"}


def test_only_what_is_in_use_stays_and_another_drivers_files_are_left(
    register: Register, snapshots: Snapshots, tmp_path: Path
) -> None:
    paths = []
    for number in range(4):
        tell(register, event("grant", 1, 1, member=f"m{number}"))
        paths.append(snapshots.refresh().path)
    assert [path.exists() for path in paths] == [True, False, True, True], "the base, the one before, the present one"
    foreign = tmp_path / "snapshots" / "overlay-000000000009-foreign0"
    (foreign).mkdir()
    (foreign / "about.json").write_text((paths[3] / "about.json").read_text())
    tell(register, event("grant", 1, 1, member="m4"))
    snapshots.refresh()
    assert foreign.exists()
    assert not paths[2].exists()
    os.utime(foreign, (0, 0))
    tell(register, event("grant", 1, 1, member="m5"))
    snapshots.refresh()
    assert not foreign.exists()
    assert paths[0].exists()


def test_nobody_else_can_read_it_and_no_person_shows_in_it_by_the_name_a_partner_uses(
    register: Register, snapshots: Snapshots, tmp_path: Path
) -> None:
    tell(register, link("a", "planted-subject"), topic=LINKS)
    path = snapshots.refresh().path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "snapshots" / "salt").stat().st_mode) == 0o600
    assert all(b"planted" not in file.read_bytes() for file in path.iterdir())


def test_a_file_that_was_cut_off_is_noticed(register: Register, snapshots: Snapshots) -> None:
    tell(register, event("grant", 1, 1))
    path = snapshots.refresh().path
    os.truncate(path / "arrays.bin", 100)
    with pytest.raises(DamagedError, match="damaged"):
        Snapshot.open(path)


def test_two_subjects_whose_hashes_begin_alike_are_told_apart(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_alike(salt: bytes, partner: str, subject: str) -> bytes:
        return bytes(8) + subject.encode().ljust(8, b"\0")

    monkeypatch.setattr("pipelines.consent.build.subject_digest", half_alike)
    monkeypatch.setattr(module, "subject_digest", half_alike)
    tell(register, *(link(f"l{n}", f"s{n}", f"m{n}") for n in range(5)), topic=LINKS)
    snapshot = Snapshots(register, tmp_path / "snapshots", STUDIES, METRICS).refresh().open()
    assert [member_of(snapshot, f"s{n}") for n in range(6)] == [["m0"], ["m1"], ["m2"], ["m3"], ["m4"], []]


@pytest.mark.parametrize(
    ("links", "stretches"),
    [
        ([], []),
        ([LinkRow(1, None, None, True)], [(NEVER, NO_END, 1)]),
        ([LinkRow(1, None, None, False)], [(NEVER, NO_END, AMBIGUOUS_MEMBER)]),
        ([LinkRow(2, 9, None, True), LinkRow(1, None, 9, True)], [(NEVER, 9, 1), (9, NO_END, 2)]),
        ([LinkRow(1, 0, 5, True), LinkRow(1, 5, 9, True)], [(0, 9, 1)]),
        ([LinkRow(1, 0, 5, True), LinkRow(1, 7, 9, True)], [(0, 5, 1), (7, 9, 1)]),
        ([LinkRow(1, 0, 6, True), LinkRow(2, 4, 9, True)], [(0, 4, 1), (4, 6, AMBIGUOUS_MEMBER), (6, 9, 2)]),
    ],
)
def test_links_become_a_timeline(links: list[LinkRow], stretches: list[tuple[int, int, int]]) -> None:
    assert timeline(links) == stretches


def test_a_snapshot_holds_exactly_what_the_events_say_however_it_was_built(
    register: Register, snapshots: Snapshots
) -> None:
    """Random lives, told in three parts: the chains in the snapshot are those compiled from the events directly."""
    luck = Random(7)
    kinds = ["grant", "grant", "narrow", "pause", "resume", "withdraw"]
    length: dict[tuple[str, str], int] = {}
    for _ in range(3):
        for _ in range(150):
            chain = f"m{luck.randrange(40)}", luck.choice(["sleep", "mood", "gut"])
            length[chain] = length.get(chain, 0) + 1
            kind = luck.choice(kinds)
            named: dict[str, Any] = {"metrics": luck.sample(METRICS, 2)} if kind in ("grant", "narrow") else {}
            tell(register, event(kind, length[chain], luck.randrange(30), *chain, **named), at=luck.randrange(30) * DAY)
        assert_same(register, snapshots.refresh().open())


def assert_same(register: Register, snapshot: Snapshot) -> None:
    rows = list(register.chains())
    members = sorted({row.member for row in rows})
    chains = snapshot.chains_of(np.array(members))
    order = Random(1).sample(range(len(rows)), len(rows))
    columns = snapshot.gather(chains.chain[order]).columns
    assert [snapshot.studies[s] for s in chains.study] == [register.studies()[row.study] for row in rows]
    for place, number in enumerate(order):
        row = rows[number]
        name = register.studies()[row.study]
        chain = compile_chain(row.events, name in STUDIES and STUDIES[name].keeps_after_withdrawal)
        first, last = columns.span_at[place : place + 2]
        named = [frozenset(np.array(METRICS)[columns.sets[s]].tolist()) for s in columns.span_set[first:last]]
        assert [span.metrics for span in chain.spans] == named
        got: Any = zip(columns.span_from[first:last], columns.span_grant_seq[first:last], strict=True)
        assert [(span.from_us, span.grant_seq) for span in chain.spans] == [(int(a), int(b)) for a, b in got]
        groups = range(*columns.group_at[place : place + 2])
        assert [list(group.covered) for group in chain.coverage] == [intervals(columns, "cover", g) for g in groups]
        assert [list(group.voided) for group in chain.coverage] == [intervals(columns, "void", g) for g in groups]
        assert (columns.first_grant[place], columns.erased_until[place]) == (chain.first_grant, chain.erased_until)


def intervals(columns: Any, kind: str, group: int) -> list[tuple[int, int]]:
    first, last = getattr(columns, f"{kind}_at")[group : group + 2]
    starts, ends = getattr(columns, f"{kind}_from")[first:last], getattr(columns, f"{kind}_to")[first:last]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
