"""What the ledger holds: one entry per change of the lake, and the errors that keep a change from happening.

Every kind of change is the same record: files that tables gain and lose, counts, and what caused it.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from pipelines.files import DataFile, TableKey, written

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


class LakeError(Exception):
    """The lake cannot be changed as asked; `exit_code` is the command's."""

    exit_code = 1


class Fenced(LakeError):
    """Another driver has taken over."""

    exit_code = 3


class LedgerLost(LakeError):
    """Ledger and tables do not belong together: one of them is lost, damaged, or an older copy."""

    exit_code = 4


class RequestRefused(LakeError):
    """What was asked of the lake is not done, or not to its end; the text says why."""


class Kind(StrEnum):
    """What made the entry; a kind differs from another only in how its change came about."""

    TAKEOVER = "takeover"
    INGEST = "ingest"
    REDRIVE = "redrive"
    RELEASE = "release"
    DISCARD = "discard"
    RECALL = "recall"
    RETRACT = "retract"
    ERASE = "erase"
    REPLAY = "replay"
    JUDGE = "judge"
    COMPACT = "compact"
    REKEY = "rekey"
    DECIDE = "decide"
    WIDEN = "widen"


class TableChange(BaseModel):
    """What one table gains and loses in one entry: files with their description, and keys of live files; or columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    add: tuple[DataFile, ...] = ()
    remove: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _changes_something_once(self) -> Self:
        paths = [file.path for file in self.add] + list(self.remove)
        if bool(paths) == bool(self.columns):
            raise ValueError("a table that is named must gain or lose files, or gain columns")
        if len(set(paths)) != len(paths):
            raise ValueError("a file is named twice")
        return self


class Entry(BaseModel):
    """One line of the ledger.

    `progress` is carried forward, so that the last entry alone says how far the lake has come. Everything up to
    `applied_through` was in the tables when the entry was written. `previous` is the SHA-256 of the bytes before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    n: Annotated[int, Field(ge=1)]
    kind: Kind
    epoch: Annotated[int, Field(ge=1)]
    nonce: str
    at: str
    cause: dict[str, JsonValue]
    tables: dict[TableKey, TableChange]
    progress: dict[str, JsonValue]
    counts: dict[str, JsonValue]
    holds: dict[str, JsonValue] | None
    applied_through: Annotated[int, Field(ge=0)]
    previous: str

    @property
    def at_us(self) -> int:
        """When it was appended, by the driver's clock; microseconds since the epoch, UTC."""
        return (datetime.fromisoformat(self.at) - _EPOCH_START) // timedelta(microseconds=1)

    @model_validator(mode="after")
    def _names_its_own_files(self) -> Self:
        if self.applied_through >= self.n:
            raise ValueError("an entry cannot say that it is applied")
        for table, change in self.tables.items():
            for file in change.add:
                if written(file.path) != (table, file.month, self.n, self.epoch) or file.table != table:
                    raise ValueError("an added file's name must carry its table, its month, this entry and this epoch")
            if any((name := written(path)) is None or name.table != table for path in change.remove):
                raise ValueError("a removed file's name must carry its table")
        return self


def now_us() -> int:
    """Microseconds since the epoch, UTC, by this machine's clock."""
    return time.time_ns() // 1000


def rfc3339(at_us: int) -> str:
    """Microseconds since the epoch, UTC, as the ledger writes a moment."""
    return (_EPOCH_START + timedelta(microseconds=at_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def checked_entry(fields: Mapping[str, object]) -> Entry:
    try:
        return Entry.model_validate(fields)
    except ValidationError as error:
        raise LakeError(f"the entry cannot be appended: {places(error)}") from None


def places(error: ValidationError) -> str:
    """Where and what, without the values that pydantic's own message shows."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'entry'}: {one['msg']}" for one in found[:3])
