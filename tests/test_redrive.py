"""Which holds can be judged again: those of people and of kits whose link or grant has come."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines.consent.register import Register, Tombstone
from pipelines.consent.snapshot import Snapshots
from pipelines.holds import Changes, Holds
from pipelines.redrive import releasable
from schemas.barcodes import in_groups, issue
from schemas.consent_events import IdentityLink
from schemas.reasons import Code
from schemas.registry import KIT
from tests.test_register import LINKS, event, tell

_RANDOM = random.Random(5)
ONE, TWO = (issue(_RANDOM.choice) for _ in range(2))


class Vault(NamedTuple):
    register: Register
    snapshots: Snapshots
    holds: Holds

    def hold(self, n: int, *subjects: str, partner: str = "lab", reason: Code = Code.KIT_NOT_ACTIVATED) -> None:
        """Entry n holds one reading of each."""
        rows: list[list[Any]] = [
            [f"{partner}.lab-result.v1", 0, offset, 0, 1, 100, partner, subject, reason]
            for offset, subject in enumerate(subjects)
        ]
        self.holds.apply(n, Changes(rows, [], []))

    def found(self, since: int = 0) -> list[tuple[str, str]]:
        def has_news(partner: str, subject: str) -> bool:
            return self.register.news_of(partner, subject) > since

        opened = self.snapshots.refresh().open()
        holds = releasable(self.holds, opened, has_news, 100, self.holds.newest())
        return [(hold.partner, hold.subject) for hold in holds]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with ExitStack() as stack:
        register, holds = Register(tmp_path / "register.sqlite"), Holds(tmp_path, 1_000, 5_000)
        stack.callback(register.close)
        stack.callback(holds.close)
        yield Vault(register, Snapshots(register, tmp_path / "snapshots", {}, ("hr",)), holds)


def link(link_id: str, partner: str, subject: str, member: str = "mia") -> IdentityLink:
    return IdentityLink.from_record({"link_id": link_id, "partner": partner, "subject": subject, "member": member})


def test_an_activation_frees_a_kits_results_whichever_laboratory_sent_them(vault: Vault) -> None:
    vault.hold(1, ONE, TWO)
    vault.hold(2, in_groups(ONE).lower(), partner="other")
    assert vault.found() == []
    tell(vault.register, link("a", KIT, ONE), topic=LINKS)
    assert vault.found() == [], "the member has no chain yet"
    tell(vault.register, event("grant", 1, 1))
    assert vault.found() == [("lab", ONE), ("other", in_groups(ONE).lower())]


def test_a_laboratory_may_have_been_linked_directly(vault: Vault) -> None:
    vault.hold(1, ONE)
    vault.hold(2, ONE, partner="other")
    tell(vault.register, event("grant", 1, 1))
    tell(vault.register, link("a", "lab", ONE), topic=LINKS)
    assert vault.found() == [("lab", ONE)]


def test_only_with_news_since_it_was_looked_at(vault: Vault) -> None:
    vault.hold(1, ONE, TWO)
    tell(vault.register, event("grant", 1, 1))
    tell(vault.register, link("a", KIT, ONE), topic=LINKS)
    seen = vault.register.version
    tell(vault.register, link("b", KIT, TWO), topic=LINKS)
    assert set(vault.found()) == {("lab", ONE), ("lab", TWO)}
    assert vault.found(since=seen) == [("lab", TWO)]


def test_the_end_of_a_conflict_is_news(vault: Vault) -> None:
    tell(vault.register, event("grant", 1, 1), event("grant", 1, 1, member="ann"))
    tell(vault.register, link("a", KIT, ONE), link("b", KIT, ONE, "ann"), topic=LINKS)
    vault.hold(1, ONE, reason=Code.ATTRIBUTION)
    seen = vault.register.version
    assert vault.found() == []
    tell(vault.register, Tombstone(), topic=LINKS, key=b"b")
    assert vault.found(since=seen) == [("lab", ONE)]


def test_people_are_found_as_ever_and_a_kits_link_is_no_link_of_theirs(vault: Vault) -> None:
    vault.hold(1, "p1", "p2", reason=Code.NO_CONSENT)
    tell(vault.register, event("grant", 1, 1))
    tell(vault.register, link("a", "lab", "p1"), link("b", KIT, ONE), topic=LINKS)
    assert vault.found() == [("lab", "p1")]
