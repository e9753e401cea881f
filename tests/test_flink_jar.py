"""The job server's jar: built once per user, by a Maven that is a fake here."""

from pathlib import Path

import pytest

from infra.flink import jar
from infra.flink.jar import cached_jar, job_server_jar
from infra.flink.local_flink import LocalFlink
from infra.kafka_jars import REPOSITORY_SETTING, JarsMissing

BUILDS = """#!/bin/sh
echo "$@" >> "{calls}"
cat settings.xml >> "{calls}" 2>/dev/null
mkdir target && echo jar > target/job-server.jar
"""


def environ(folder: Path, script: str) -> dict[str, str]:
    (folder / "bin").mkdir()
    maven = folder / "bin" / "mvn"
    maven.write_text(script.format(calls=folder / "calls"), "utf-8")
    maven.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "WELLSPRING_CACHE": str(folder / "cache")}


def test_it_is_built_once_and_again_for_another_pom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environ(tmp_path, BUILDS)
    built = job_server_jar(environ=given)
    assert built == cached_jar(given) == job_server_jar(environ=given) and built.read_text() == "jar\n"
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    other = tmp_path / "pom.xml"
    other.write_text(jar.POM.read_text("utf-8") + "<!-- -->", "utf-8")
    monkeypatch.setattr(jar, "POM", other)
    assert job_server_jar(environ=given) != built


def test_it_comes_from_the_repository_that_is_set(tmp_path: Path) -> None:
    given = {**environ(tmp_path, BUILDS), REPOSITORY_SETTING: "https://mirror.example/maven"}
    job_server_jar(environ=given)
    said = (tmp_path / "calls").read_text()
    assert "--settings" in said and "<url>https://mirror.example/maven</url>" in said


def test_without_maven_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JarsMissing, match=r"install Maven and a JDK, or set runner\.job_server_jar"):
        job_server_jar(environ={"PATH": str(tmp_path), "WELLSPRING_CACHE": str(tmp_path)})


def test_a_build_that_fails_leaves_its_log_and_no_jar(tmp_path: Path) -> None:
    given = environ(tmp_path, "#!/bin/sh\necho no such artifact\nexit 1\n")
    with pytest.raises(JarsMissing, match="says why"):
        job_server_jar(environ=given)
    assert not cached_jar(given).exists()
    assert cached_jar(given).with_suffix(".log").read_text() == "no such artifact\n"


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    local = LocalFlink(tmp_path / "flink", 1, 2)
    assert local.status() == {"job-server": None, "worker-pool": None}
    assert not local.down()
