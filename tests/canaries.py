"""Planted secrets: names that no output of Wellspring may ever hold, and the watch that is kept for them.

Whoever a test invents is called by these functions, so that one search finds every leak: in log records and exception
texts while the tests run, in the names of files, in `_control/`, in the tables' logs and in what partners are told
afterwards. The vault may know who people are.
"""

import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "zq7x"


def subject(person: str) -> str:
    """The person as the partner knows them."""
    return f"{MARK}-s-{person}"


def member(person: str) -> str:
    """The person as the consent authority knows them."""
    return f"{MARK}-m-{person}"


def source(person: str) -> dict[str, Any]:
    """The person's watch, with a name that they gave it and its serial number."""
    return {"name": f"{MARK}-watch-of-{person}", "serial": f"{MARK}-serial-of-{person}"}


def text_of(error: BaseException) -> str:
    """All that an error may show to anybody, its causes included."""
    shown, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        shown += [str(error), repr(error), *map(repr, error.args), *map(repr, getattr(error, "__notes__", ()))]
        error = error.__cause__ or (error.__context__ if not error.__suppress_context__ else None)  # type: ignore[assignment]
    return "\n".join(shown)


class Listener(logging.Handler):
    """Hears every log record of the session, and notes where a planted secret was said.

    `lines` are those of one test, the last of very many.
    """

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.heard: list[str] = []
        self.lines: deque[str] = deque(maxlen=1_000)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if MARK in line:
            self.heard.append(f"the log of {record.name}, {record.pathname}:{record.lineno}")

    def hear(self, error: BaseException) -> None:
        """Note an error that a test has met."""
        if MARK in text_of(error):
            self.heard.append(f"the text of a {type(error).__name__}")

    def told(self) -> list[str]:
        """What was noted since the last time."""
        heard, self.heard = self.heard, []
        return heard


def leaks_in_folder(folder: Path, lake: Path) -> Iterator[str]:
    """Where a deployment's folder shows a secret: a file's name, what a process said, the ledger, a table's log."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if MARK in name:
            yield f"a file's name, {name}"
        spoken = (
            path.suffix == ".log"
            or path.name in ("output", "errors")
            or (path.is_relative_to(lake) and path.suffix in (".json", ".crc"))
        )
        if spoken and path.is_file() and MARK.encode() in path.read_bytes():
            yield f"the content of {name}"
