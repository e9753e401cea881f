"""The documents as tests see them: their fenced blocks, and the command lines that readers are told to type.

A block of `sh` is run, line by line; one of `console` shows output. A comment before a block says more of it:
`<!-- file: NAME -->` what its reader saves it as, `<!-- shows: COMMAND -->` whose output it is, to the letter.
A line that must fail ends with `# exit code N`.
"""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
README, OPERATORS, PARTNERS = ROOT / "README.md", ROOT / "infra" / "README.md", ROOT / "connectors" / "README.md"
CONTRIBUTORS = ROOT / "CONTRIBUTING.md"
LANGUAGE, CHECKS = ROOT / "schemas" / "README.md", ROOT / "quality" / "README.md"
DOCUMENTS = (README, OPERATORS, PARTNERS, CONTRIBUTORS, LANGUAGE, CHECKS)

_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_EXIT = re.compile(r"\s+# exit code (\d)$")


class Block(NamedTuple):
    """A fenced block: its language, its text, and what the comment before it says."""

    language: str
    text: str
    mark: str

    def marked(self, word: str) -> str | None:
        """What follows `word: ` in the mark."""
        return self.mark.removeprefix(f"{word}: ") if self.mark.startswith(f"{word}: ") else None


class Command(NamedTuple):
    """A line that a reader types, and the exit code that it is to have."""

    line: str
    code: int = 0

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)


@cache
def blocks(document: Path) -> tuple[Block, ...]:
    """The document's fenced blocks in their order."""
    found = _BLOCK.finditer(document.read_text(encoding="utf-8"))
    return tuple(Block(one["language"], one["text"], one["mark"] or "") for one in found)


def commands(document: Path, mark: str | None = None, but: tuple[str, ...] = ()) -> list[Command]:
    """The lines of its `sh` blocks, of those marked so where a mark is given, without those that are marked as `but`."""
    of_shells = [one for one in blocks(document) if one.language == "sh" and one.mark not in but]
    chosen = [one for one in of_shells if mark in (None, one.mark)]
    return [_command(line) for one in chosen for line in one.text.splitlines() if line.strip()]


def _command(line: str) -> Command:
    found = _EXIT.search(line)
    return Command(line[: found.start()], int(found[1])) if found else Command(line)


def files(document: Path) -> dict[str, str]:
    """What its reader saves, by file name."""
    return {name: one.text for one in blocks(document) if (name := one.marked("file"))}


def table(document: Path, mark: str) -> list[list[str]]:
    """The cells of the table behind `<!-- mark -->`, a list a row, without the head."""
    text = document.read_text(encoding="utf-8").split(f"<!-- {mark} -->")[1].split("\n\n")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def tables(document: Path, mark: str) -> list[list[str]]:
    """The cells of all tables between `<!-- mark -->` and `<!-- end -->`, a list a row, without the heads."""
    text = document.read_text(encoding="utf-8").split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]
    rows = [line for part in text.split("\n\n") for line in part.splitlines()[2:] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]
