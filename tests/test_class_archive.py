"""The class archive's names and checks; Java itself is asked in the integration tests."""

import os
from pathlib import Path

import pytest

from infra.class_archive import ClassArchive, adopt, class_archive
from infra.java import Java

JAVA = Java(Path("/java"), "17.0.15", "17.0.15+6")


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    jar = tmp_path / "one.jar"
    jar.write_bytes(b"jar")
    return [jar]


@pytest.fixture
def archive(tmp_path: Path, jars: list[Path]) -> ClassArchive:
    return class_archive(JAVA, jars, ["-Xmx1m"], {"WELLSPRING_CACHE": str(tmp_path / "cache")})


def make(archive: ClassArchive, content: bytes = b"classes") -> bool:
    new = archive.new_file()
    new.write_bytes(content)
    return adopt(new)


def test_missing_until_made(archive: ClassArchive) -> None:
    assert archive.find() is None
    assert make(archive)
    found = archive.find()
    assert found is not None
    assert found.read_bytes() == b"classes"


def test_a_run_that_wrote_nothing(archive: ClassArchive) -> None:
    assert not adopt(archive.new_file())


@pytest.mark.parametrize("damage", [b"", b"class", b"clasSes", b"classes and more"])
def test_a_damaged_one_is_removed(archive: ClassArchive, damage: bytes) -> None:
    make(archive)
    found = archive.find()
    assert found is not None
    found.write_bytes(damage)
    assert archive.find() is None
    assert not found.exists()


def test_the_first_of_two_stays(archive: ClassArchive) -> None:
    assert make(archive, b"first")
    assert not make(archive, b"second")
    assert [file.read_bytes() for file in archive.folder.iterdir()] == [b"first"]


def test_another_java_options_or_jars_need_another_archive(archive: ClassArchive, jars: list[Path]) -> None:
    environ = {"WELLSPRING_CACHE": str(archive.folder.parent)}
    assert class_archive(JAVA, jars, ["-Xmx1m"], environ) == archive
    assert class_archive(JAVA, jars, ["-Xmx2m"], environ).key != archive.key
    assert class_archive(Java(Path("/java"), "17.0.15", "17.0.15+7"), jars, ["-Xmx1m"], environ).key != archive.key
    os.utime(jars[0], (1, 1))
    assert class_archive(JAVA, jars, ["-Xmx1m"], environ).key != archive.key


def test_each_kind_of_java_has_its_options(archive: ClassArchive, jars: list[Path]) -> None:
    newer = class_archive(Java(Path("/java"), "25.0.2", "b"), jars, [])
    assert archive.to_use(Path("a"))[0] == "-XX:SharedArchiveFile=a"
    assert archive.to_make(Path("a"))[0] == "-XX:ArchiveClassesAtExit=a"
    assert newer.to_use(Path("a"))[0] == "-XX:AOTCache=a"
    assert newer.to_make(Path("a"))[0] == "-XX:AOTCacheOutput=a"


def test_only_what_was_abandoned_is_swept(archive: ClassArchive) -> None:
    fresh, old = archive.new_file(), archive.new_file()
    fresh.touch()
    old.touch()
    os.utime(old, (1, 1))
    archive.new_file()
    assert fresh.exists()
    assert not old.exists()
