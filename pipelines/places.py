"""A place for the lake or the vault: a folder, or an address in a bucket; and the store that keeps objects there."""

import os
import re
import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator

from connectors.object_called import Called
from pipelines.store import FolderStore, Store

SCHEME = "s3://"
# Nothing but a bucket's name and a plain prefix: so no address can carry a user, a password or a query to be shown.
_ADDRESS = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/(?!_tmp(?:/|$))[A-Za-z0-9_-][A-Za-z0-9_.=-]*)*/?")


class Address(str):
    """`s3://bucket/prefix`, without a slash at its end."""

    __slots__ = ()


def place_of(said: object) -> Path | Address:
    """The place that a setting or a plan names: an absolute folder, or an address. ValueError where it is neither."""
    if isinstance(said, (Path, Address)):
        return said if isinstance(said, Address) else said.expanduser().absolute()
    if not isinstance(said, str) or not said:
        raise ValueError("a place is a folder or s3://BUCKET/PREFIX")
    if "://" not in said:
        return Path(said).expanduser().absolute()
    if not _ADDRESS.fullmatch(said):
        raise ValueError(
            "an address is s3://BUCKET or s3://BUCKET/PREFIX, the prefix of letters, digits, _ . = - and /; "
            "the server and the credentials are in the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …)"
        )
    return Address(said.rstrip("/"))


Place = Annotated[Path | Address, PlainValidator(place_of)]
"""A folder that is relative to the working folder at the time of validation, or an address in a bucket."""


LAKE, COPY = Called("the lake's bucket"), Called("the copy's bucket")


def store_of(place: Path | Address | str, environ: Mapping[str, str] = os.environ, called: Called = LAKE) -> Store:
    """The store of the objects that lie there; its server is asked nothing yet. A string is read by `place_of`.

    `called` is what its failures call it. StorageFailed where the environment names nobody who could reach it.
    """
    found = place_of(place)
    if not isinstance(found, Address):
        return FolderStore(found)
    return _object_store(
        found, os.getpid(), tuple(sorted(item for item in environ.items() if item[0].startswith("AWS_"))), called
    )


@lru_cache(maxsize=8)
def _object_store(address: Address, process: int, environment: tuple[tuple[str, str], ...], called: Called) -> Store:
    """One for each place, as it holds what was read."""
    from pipelines.object_store import ObjectStore  # loads the SDK, which a folder does without

    return ObjectStore(address, dict(environment), called)


def folder_of(place: Path | Address) -> Path:
    """The folder, for what can only be done in one. ValueError at an address."""
    if isinstance(place, Address):
        raise ValueError("this needs a folder; the setting names a bucket")
    return place


def words_of(error: Exception) -> str:
    """Why what lies there is not known; the system's own word where this user may not read it, or a disk is away."""
    if isinstance(error, (OSError, sqlite3.Error)):
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"
    return str(error)
