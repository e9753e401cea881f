"""The audit of a vault in a bucket: an object per line, created once, since nothing can be added to an object.

`audit/<n>.json` is line n with its hash, which carries that of the line before. `audit-marks/<n>` says that line n was
written: so lines that were taken from the end are noticed too, as in a folder by the file that remembers how many there
were.
"""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from pipelines.audit import FILE, Audit, AuditBroken, Line, as_seen, hash_of, line_of
from pipelines.object_vault import ObjectVault
from pipelines.store import Store, Taken
from pipelines.vault import Vault
from quality.desk import Seen

LINES, MARKS = "audit/", "audit-marks/"
READ_AGAIN_S = 3600.0
"""Lines that were read and found right are not fetched again for so long."""
_AT_ONCE = 16


def audit_of(vault: Vault) -> "Audit | ObjectAudit":
    """The vault's audit: a file of a folder's, objects of a bucket's."""
    return ObjectAudit(vault.store) if isinstance(vault, ObjectVault) else Audit(vault.own(FILE))


class ObjectAudit:
    """The audit of one vault; any thread may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = threading.Lock()
        self._known: list[Line] = []
        self._hash, self._since = "", time.monotonic()

    def note(self, seen: Seen) -> None:
        """Add a line; it is there for good when this returns."""
        while True:
            n = max(self._numbers(LINES), default=0)
            before = self._fetch(n)[1] if n else ""
            line = line_of(n + 1, seen)
            with suppress(Taken):  # somebody else's line came first: ours follows it
                self._store.put_new(_key(n + 1), _content(line, hash_of(before, line)))
                break
        self._mark(n + 1)

    def newest(self, study: str, limit: int) -> list[Seen]:
        """The study's last lines, newest first. AuditBroken where any line of the audit is not as it was written."""
        with self._turn:
            self._verify()
            found = [line for line in reversed(self._known) if line[3] == study][:limit]
        return [as_seen(line) for line in found]

    def verify(self) -> None:
        """AuditBroken where any line is not as it was written."""
        with self._turn:
            self._verify()

    def lines(self) -> Iterator[tuple[Line, str]]:
        """Every line with its hash, from the first one on."""
        numbers = self._numbers(LINES)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(self._fetch, numbers)

    def take(self, lines: Iterable[tuple[Line, str]]) -> None:
        """Add lines of another copy of this audit, as they are; those that are there stay."""
        there, last = set(self._numbers(LINES)), 0
        for line, found in lines:
            if line[0] not in there:
                last = line[0]
                with suppress(Taken):
                    self._store.put_new(_key(last), _content(line, found))
        if last:
            self._mark(last)

    def _verify(self) -> None:
        """Follow the hashes to the last line; of what was read lately, only whether it is still there."""
        if time.monotonic() - self._since > READ_AGAIN_S:
            self._known, self._hash, self._since = [], "", time.monotonic()
        marked = max(self._numbers(MARKS), default=0)  # before the lines: every line is there before its mark
        numbers = self._numbers(LINES)
        missing = next((n for n, found in enumerate(numbers, start=1) if n != found), None)
        if missing is not None:
            raise AuditBroken(f"line {missing} of the audit was changed or taken away: restore the vault's {LINES}")
        if marked > len(numbers):
            raise AuditBroken(f"the last lines of the audit were taken away: restore the vault's {LINES}")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for n, (line, found) in enumerate(pool.map(self._fetch, numbers[len(self._known) :]), len(self._known) + 1):
                if line[0] != n or found != hash_of(self._hash, line):
                    raise AuditBroken(f"line {n} of the audit was changed or taken away: restore the vault's {LINES}")
                self._known.append(line)
                self._hash = found

    def _fetch(self, n: int) -> tuple[Line, str]:
        try:
            found: dict[str, Any] = json.loads(self._store.get(_key(n)) or b"")
            n, at_us, by, study, what, about = found["line"]
            return (n, at_us, by, study, what, about), str(found["hash"])
        except (ValueError, KeyError, TypeError):
            raise AuditBroken(f"line {n} of the audit was changed or taken away: restore the vault's {LINES}") from None

    def _mark(self, n: int) -> None:
        with suppress(Taken):
            self._store.put_new(f"{MARKS}{n:012d}", b"")
        for older in [found for found in self._numbers(MARKS) if found < n]:
            self._store.delete(f"{MARKS}{older:012d}")

    def _numbers(self, prefix: str) -> list[int]:
        return sorted(int(key.removeprefix(prefix).removesuffix(".json")) for key in self._store.list(prefix))


def _content(line: Line, found: str) -> bytes:
    return json.dumps({"line": line, "hash": found}, ensure_ascii=False).encode()


def _key(n: int) -> str:
    return f"{LINES}{n:012d}.json"
