"""Relative links in the documents must lead to a file of the project, and to a heading where they name one."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def documents() -> list[Path]:
    """The Markdown files that belong to the project."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in sorted(listed.stdout.split())]


def dead_links(document: Path) -> list[str]:
    """Links of a document that lead nowhere, in words."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    found = []
    for target in _LINK.findall(text):
        if re.match(r"^[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            found.append(f"{document.relative_to(ROOT)}: {target} is not there")
        elif anchor and file.suffix == ".md" and anchor not in _anchors(file):
            found.append(f"{document.relative_to(ROOT)}: {target} has no such heading")
    return found


def _anchors(document: Path) -> set[str]:
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(text)}


def main() -> int:
    """Print each dead link; 1 where there is one."""
    dead = [line for document in documents() for line in dead_links(document)]
    print("\n".join(dead) or "no dead links")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
