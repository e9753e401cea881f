"""The broker's loaded classes, kept from one run to the next: a start then takes half the CPU.

Java up to 24 writes a class-data archive, newer ones an ahead-of-time cache; both are made as a by-product of the exit
of a run that was told to. An archive fits one build of Java, one class path and one set of options, so its name is a
hash of them. It is mapped into memory unchecked (Java 17 crashes on one that was cut short), so its name also holds the
hash of its own content, which is verified here.
"""

import hashlib
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.java import Java
from infra.kafka_jars import cache_folder, sweep


@dataclass(frozen=True)
class ClassArchive:
    """Where the archive of one combination of Java, jars and options is kept; missing until a run has made it."""

    folder: Path
    key: str
    ahead_of_time: bool

    def to_use(self, archive: Path) -> list[str]:
        """The options that use an archive; Java goes on without it where it sees that it does not fit."""
        return [f"-XX:AOTCache={archive}" if self.ahead_of_time else f"-XX:SharedArchiveFile={archive}", self._quiet]

    def to_make(self, new: Path) -> list[str]:
        """The options that write an archive at exit."""
        return [f"-XX:AOTCacheOutput={new}" if self.ahead_of_time else f"-XX:ArchiveClassesAtExit={new}", self._quiet]

    @property
    def _quiet(self) -> str:
        """Java would name each class that cannot be kept."""
        return "-Xlog:aot*=error" if self.ahead_of_time else "-Xlog:cds*=error"

    def find(self) -> Path | None:
        """The archive, if there is one whose content is what its name says; a damaged one is removed."""
        for file in sorted(self.folder.glob(f"{self.key}-*.archive")):
            try:
                if file.name == archive_name(self.key, file):
                    return file
            except FileNotFoundError:
                continue
            file.unlink(missing_ok=True)
        return None

    def new_file(self) -> Path:
        """A name for a run to write to. Files that runs left there when they were killed are removed after a day."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder, "*.new*")
        return self.folder / f"{self.key}-{uuid.uuid4().hex}.new"


def archive_name(key: str, file: Path) -> str:
    """What an archive of this content is called."""
    with file.open("rb") as stream:
        return f"{key}-{hashlib.file_digest(stream, 'sha256').hexdigest()[:32]}.archive"


def class_archive(
    java: Java, jars: list[Path], options: list[str], environ: Mapping[str, str] = os.environ
) -> ClassArchive:
    """The archive for this Java, these jars (by path, size and time, as Java compares them) and these options."""
    parts = [str(java.executable), java.build, *options]
    parts += [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in jars]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return ClassArchive(cache_folder(environ) / "archives", key, java.caches_ahead_of_time)


def adopt(made: Path) -> bool:
    """Move what a run wrote (see `new_file`) into its place; False if the run wrote nothing or another was first."""
    if not made.is_file():
        return False
    key = made.name.split("-", 1)[0]
    if any(made.parent.glob(f"{key}-*.archive")):
        made.unlink()
        return False
    made.replace(made.parent / archive_name(key, made))
    return True
