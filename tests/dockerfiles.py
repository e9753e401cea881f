"""Dockerfiles taken apart, and what of a checkout `docker build` would see."""

import fnmatch
import json
import shlex
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction, its stage (0 is before the first FROM), and what it says behind its word."""

    word: str
    text: str
    stage: int

    @property
    def words(self) -> list[str]:
        """Its words, by the shell's rules or as the JSON list that it is."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)

    @property
    def options(self) -> dict[str, str]:
        """Its own, as `--from=build`."""
        return dict(word[2:].partition("=")[::2] for word in self.words if word.startswith("--"))

    @property
    def arguments(self) -> list[str]:
        """Its words without its options."""
        return [word for word in self.words if not word.startswith("--")]


def instructions(file: Path) -> list[Instruction]:
    """Its instructions in their order; lines that go on are joined."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    found, stage = [], 0
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, text = line.strip().partition(" ")
            stage += word == "FROM"
            found.append(Instruction(word, " ".join(text.split()), stage))
    return found


def is_sent(path: str, ignore: Path) -> bool:
    """Whether `docker build` sends this file: the last rule that fits it, or a folder above it, decides."""
    sent = True
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    for rule in ignore.read_text(encoding="utf-8").splitlines():
        if rule and not rule.startswith("#"):
            pattern = rule.removeprefix("!")
            if any(_fits(name, pattern) for name in above):
                sent = rule.startswith("!")
    return sent


def _fits(name: str, pattern: str) -> bool:
    anywhere = pattern.removeprefix("**/")
    if anywhere != pattern:
        return fnmatch.fnmatch(name.rpartition("/")[2], anywhere)
    return name.count("/") == pattern.count("/") and fnmatch.fnmatch(name, pattern)
