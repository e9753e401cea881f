"""Progress: whether ledger and vault are of one moment, asked before anything is appended."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.entries import Entry, LedgerLost
from pipelines.holds import Changes, Holds
from pipelines.progress import DataGone, Progress, check_cluster, check_settled, private_of
from pipelines.store import FolderStore
from tests.lakes import JAN, Driver

FILE = "runs/000000000002-1-x.json"


class Deployment:
    """A lake whose entry 2 held something, and a vault that has settled the entries up to 1."""

    def __init__(self, root: Path) -> None:
        self.lake = Driver(root / "lake")
        self.holds = Holds(root / "vault", 1, 1)
        self.holds.apply(1, Changes([], [], []))
        self.vault = FolderStore(root / "vault")
        self.vault.put(FILE, b'{"pointers": [], "holds": [], "released": [], "expired": []}')
        self.entry: Entry = self.lake.entry([], holds={"file": FILE})
        self.lake.tables.append_and_apply(self.entry)

    def check(self) -> None:
        check_settled(self.lake.ledger, self.holds, self.vault)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    yield made
    made.holds.close()


def test_what_an_entry_held_waits_in_the_vault_until_it_is_settled(deployment: Deployment) -> None:
    deployment.check()
    private = private_of(deployment.entry, deployment.holds, deployment.vault)
    assert private is not None and set(private) == {"pointers", "holds", "released", "expired"}
    deployment.holds.apply(2, Changes([], [], []))
    deployment.vault.delete(FILE)
    deployment.check()
    assert private_of(deployment.entry, deployment.holds, deployment.vault) is None


def test_a_vault_without_it_is_an_older_copy(deployment: Deployment) -> None:
    deployment.vault.delete(FILE)
    with pytest.raises(DataGone, match="the vault lacks what entry 2 held and rejected: it is an older copy"):
        deployment.check()


def test_entries_that_held_nothing_may_be_unsettled(deployment: Deployment) -> None:
    deployment.holds.apply(2, Changes([], [], []))
    deployment.vault.delete(FILE)
    deployment.lake.tables.append_and_apply(deployment.lake.entry([]))
    deployment.lake.ledger.takeover(JAN, {})
    deployment.check()


def test_another_driver_that_settles_it_at_this_moment_is_no_older_copy(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settled_meanwhile(key: str) -> Any:
        deployment.holds.apply(2, Changes([], [], []))
        return None

    monkeypatch.setattr(deployment.vault, "get", settled_meanwhile)
    deployment.check()


def test_a_vault_that_has_seen_more_than_the_ledger_means_an_older_ledger(deployment: Deployment) -> None:
    deployment.holds.apply(3, Changes([], [], []))
    with pytest.raises(LedgerLost, match="the vault has seen later entries than the ledger has"):
        deployment.check()


def test_topics_of_a_partner_who_was_removed_are_not_missed() -> None:
    known = {"acme.sensor-reading.v1": "t1", "other.kit-event.v1": "t2", "office.consent-event.v1": "t3"}
    progress = Progress(cluster="c", topics=known)
    left = {"acme.sensor-reading.v1": "t1", "office.consent-event.v1": "t3"}
    check_cluster(progress, "c", left, ["acme"])
    with pytest.raises(DataGone, match=r"the topic other\.kit-event\.v1 is gone"):
        check_cluster(progress, "c", left, ["acme", "other"])
    with pytest.raises(DataGone, match=r"the topic acme\.sensor-reading\.v1 was deleted and made anew"):
        check_cluster(progress, "c", {**left, "acme.sensor-reading.v1": "t9"}, ["acme"])


def test_consent_topics_are_missed_whatever_the_authority_is_called_now() -> None:
    progress = Progress(cluster="c", topics={"office.consent-event.v1": "t3", "office.identity-link.v1": "t4"})
    with pytest.raises(DataGone, match=r"office\.\S+ is gone"):
        check_cluster(progress, "c", {"bureau.consent-event.v1": "t5"}, ["acme"])
