"""The vault's part of a copy, between a folder and a bucket in either direction."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.alert_book import AlertBook
from pipelines.audit_objects import audit_of
from pipelines.consent.kept_register import KeptRegister
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from pipelines.holds import Changes, Holds
from pipelines.keys import KeyRing
from pipelines.lake_copy import CopyRefused
from pipelines.object_vault import ObjectVault
from pipelines.progress import vault_id
from pipelines.store import FolderStore
from pipelines.vault import FolderVault, Vault
from pipelines.vault_copy import copied_holds, copy_databases, copy_secrets, refuse_another
from quality.desk import Seen

HOLD = ["acme.sensor-reading.v1", 0, 7, 0, 5, 1_000, "acme", "p-1", "H_NO_CONSENT"]
SEEN = Seen(datetime(2026, 1, 1, tzinfo=UTC), "ada", "sleep", "rows", {})


def vault(kind: str, root: Path) -> Vault:
    return (
        FolderVault(root) if kind == "folder" else ObjectVault(FolderStore(root), root.with_name(f"{root.name}-work"))
    )


def fill(made: Vault) -> str:
    """What a driver leaves in a vault; the register's id."""
    vault_id(made)
    KeyRing(made).create("sleep")
    with closing(Holds(made, 1, 1)) as holds:
        for n in (1, 2, 3):
            holds.apply(n, Changes([HOLD], [], []))
            holds.keep()
    with closing(KeptRegister(made)) as register:
        register._db.execute("UPDATE about SET value = '5' WHERE name = 'version'")
        register.keep()
        found = register.id
    with closing(AlertBook(made, 2)) as book:
        book.take_in("sleep", [], [], 1)
    audit_of(made).note(SEEN)
    return found


def copied(source: Vault, target: Vault, folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    holds, through = copied_holds(source, folder)
    refuse_another(source, target, through)
    copy_secrets(source, target)
    copy_databases(source, target, holds, through, folder)
    return through


@pytest.fixture(params=["folder to bucket", "bucket to folder", "folder to folder", "bucket to bucket"])
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Vault, Vault]]:
    one, _, other = request.param.split()
    with closing(vault(one, tmp_path / "one")) as source, closing(vault(other, tmp_path / "other")) as target:
        yield source, target


def test_everything_that_cannot_be_made_anew_is_there(sides: tuple[Vault, Vault], tmp_path: Path) -> None:
    source, target = sides
    register = fill(source)
    for _ in range(2):  # again it changes nothing
        assert copied(source, target, tmp_path / "copying") == 3
    assert vault_id(target) == vault_id(source)
    assert KeyRing(target).key("sleep") == KeyRing(source).key("sleep")
    assert audit_of(target).newest("sleep", 9) == [SEEN]
    with closing(Holds(target, 1, 1)) as holds, closing(AlertBook(target)) as book:
        assert holds.totals() == (15, 0, 0, 3) and book.changes == 2 * 10**9
    with closing(Register(target.read(REGISTER))) as found:
        assert found.version == 5
        assert found.id != register  # what was looked at with the original's later versions is looked at again
    assert not list((tmp_path / "copying").glob("*.sqlite"))


def test_another_vault_s_place_is_not_copied_into(sides: tuple[Vault, Vault], tmp_path: Path) -> None:
    source, target = sides
    fill(source)
    KeyRing(target).create("sleep")
    before = KeyRing(target).key("sleep")
    with pytest.raises(CopyRefused, match="another vault"):
        copied(source, target, tmp_path / "copying")
    assert KeyRing(target).key("sleep") == before and not target.has("holds.sqlite")
    assert target.secret("vault-id") is None  # nothing of it was changed


def test_a_place_that_has_gone_further_is_not_set_back(sides: tuple[Vault, Vault], tmp_path: Path) -> None:
    source, target = sides
    fill(source)
    with closing(Holds(target, 1, 1)) as holds:
        holds.apply(4, Changes([], [], []))
        holds.keep()
    with pytest.raises(CopyRefused, match="has gone further"):
        copied(source, target, tmp_path / "copying")


def test_a_vault_that_no_driver_has_used_is_not_copied(sides: tuple[Vault, Vault], tmp_path: Path) -> None:
    with pytest.raises(CopyRefused, match="no driver has run on it"):
        copied(*sides, tmp_path / "copying")
