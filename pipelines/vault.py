"""The vault: keys, consent register, holds and whatever else tells who somebody is, in a folder or in a bucket.

Its databases are SQLite files on this machine, since SQLite needs one. In a folder they are the vault. In a bucket the
vault is what was kept there, and the files are copies that may be lost at any moment (`pipelines/object_vault.py`).
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from connectors.object_called import IDENTITY, Called
from connectors.source_file import StorageFailed
from pipelines.database import Database
from pipelines.object_vault import ObjectVault
from pipelines.places import Address, place_of, store_of
from pipelines.settings import Settings
from pipelines.store import FolderStore, Store

VAULT_COPY = "the bucket of the vault's copy"
_OWN, _SHARED = "WELLSPRING_VAULT_AWS_", "AWS_"
_ENDPOINT = frozenset({"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"})
_REGION = frozenset({"AWS_REGION", "AWS_DEFAULT_REGION"})
_OWN_MEANT = IDENTITY | _ENDPOINT | _REGION | {"AWS_CA_BUNDLE"}


class Vault(Protocol):
    """One vault as one process sees it. `close` it."""

    store: Store
    """Its objects: what runs found out about single people, under `runs/`."""

    def secret(self, name: str) -> bytes | None:
        """Something that is made once and never changes; None where it was not made."""

    def create(self, name: str, data: bytes) -> bool:
        """Make such a thing, whole and for good; False where there is one."""

    def own(self, name: str) -> Path:
        """The database of that name as it was last kept, to be changed by this process and kept by `keep`."""

    def renew(self, name: str) -> Path:
        """`own`, once more: as it was kept by another process since."""

    def read(self, name: str) -> Path:
        """The database of that name, to look into: this process's own, or as it was last kept."""

    def has(self, name: str) -> bool:
        """Whether there is a database of that name."""

    def keep(self, name: str, number: int, database: Database) -> bool:
        """Keep the database as it is now, under a number that rises with what it knows.

        It is durable when this returns. False where one of that number is kept already: `own` gives it.
        """

    def place(self, name: str, number: int, file: Path) -> None:
        """Make a finished file the database, in a vault that nobody uses; the file is gone afterwards."""

    def newest(self, name: str) -> int | None:
        """The highest number under which the database was kept; None where it need not be kept, or never was."""

    def derived(self, name: str) -> Path:
        """Where a database lies that follows from the ledger alone."""

    def snapshots(self) -> Path:
        """The folder in which snapshots are made."""

    def publish(self, snapshot: Path) -> str:
        """Let workers have a snapshot, by the name that is returned."""

    def snapshot(self, name: str) -> Path:
        """The snapshot of that name, here."""

    def sweep(self) -> None:
        """Remove what drivers that were overtaken have left: for the driver alone."""

    def close(self) -> None:
        """Give back what this process had of it."""


class FolderVault:
    """A vault in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.store: Store = FolderStore(root)

    def secret(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, data: bytes) -> bool:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)  # whole or not at all, and only the first one's
        except FileExistsError:
            return False
        finally:
            beside.unlink()
        self.store.sync(name)
        return True

    def own(self, name: str) -> Path:
        return self._root / name

    renew = read = derived = own

    def has(self, name: str) -> bool:
        return (self._root / name).exists()

    def keep(self, name: str, number: int, database: Database) -> bool:
        return True

    def place(self, name: str, number: int, file: Path) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self._root / f".{name}.{os.getpid()}"
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL, 0o600))
        shutil.copyfile(file, beside)
        for log in ("-wal", "-shm"):
            (self._root / f"{name}{log}").unlink(missing_ok=True)
        os.replace(beside, self._root / name)
        self.store.sync(name)
        file.unlink()

    def newest(self, name: str) -> int | None:
        return None

    def snapshots(self) -> Path:
        return self._root / "snapshots"

    def publish(self, snapshot: Path) -> str:
        return str(snapshot)

    def snapshot(self, name: str) -> Path:
        return Path(name)

    def sweep(self) -> None:
        """The snapshots' own folder is swept by whoever makes them."""

    def close(self) -> None:
        """Nothing is kept open."""


def as_vault(vault: Vault | Path) -> Vault:
    """The vault itself, or the one in a folder."""
    return FolderVault(vault) if isinstance(vault, Path) else vault


def vault_of(settings: Settings) -> Vault:
    """The vault that the settings name."""
    return vault_at(settings.vault, settings.vault_work)


def vault_at(place: Path | Address | str, work: Path, bucket: str = "the vault's bucket") -> Vault:
    """The vault that lies there, with a working folder for one in a bucket, which failures call `bucket`.

    StorageFailed where the environment names nobody who could reach it.
    """
    found = place_of(place)
    if not isinstance(found, Address):
        return FolderVault(found)
    return ObjectVault(store_of(found, vault_environment(), _called(bucket)), work)


def _called(bucket: str, environ: Mapping[str, str] = os.environ) -> Called:
    """By what names its variables are told. StorageFailed where one would be passed over, and somebody else be meant."""
    own = frozenset(_SHARED + name.removeprefix(_OWN) for name in environ if name.startswith(_OWN))
    for name in sorted(own - _OWN_MEANT):
        raise StorageFailed(
            f"{bucket}: {_OWN}{name.removeprefix(_SHARED)} means nothing: put what it says into a profile, and its "
            f"name into {_OWN}PROFILE"
        )
    return Called(bucket, _OWN, own)


def vault_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """By what the vault's bucket is reached: WELLSPRING_VAULT_AWS_… where given, else AWS_….

    Whoever is somebody of their own there is nothing of the other: no key, session or profile of both is mixed.
    """
    own = {_SHARED + name.removeprefix(_OWN): value for name, value in environ.items() if name.startswith(_OWN)}
    shared = {name: value for name, value in environ.items() if name.startswith(_SHARED)}
    for alike in (IDENTITY, _ENDPOINT, _REGION):
        if own.keys() & alike:
            shared = {name: value for name, value in shared.items() if name not in alike}
    return {**shared, **own}


def worker_vault(place: str, work: str) -> Vault:
    """The vault as a worker process sees it, for one plan after another."""
    return _worker_vault(place, work, os.getpid(), tuple(sorted(vault_environment().items())))


@lru_cache(maxsize=4)
def _worker_vault(place: str, work: str, process: int, environment: tuple[tuple[str, str], ...]) -> Vault:
    found = place_of(place)
    return vault_at(found, _usable(work) if isinstance(found, Address) else Path(work))


def _usable(work: str) -> Path:
    """The driver's working folder, or on a machine that has no such place one of this user's temporary ones."""
    with suppress(OSError):
        folder = Path(work).expanduser()
        if folder.is_absolute():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return Path(tempfile.gettempdir()) / f"wellspring-vault-{os.getuid()}"
