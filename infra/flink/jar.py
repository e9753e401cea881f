"""The jar of Beam's job server for Flink: built once per user, by Maven, from `pom.xml`."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.kafka_jars import REPOSITORY_SETTING, JarsMissing, Progress, cache_folder, quiet, sweep

POM = Path(__file__).with_name("pom.xml")
BUILD_SECONDS = 900.0
_SETTINGS = """<settings><mirrors><mirror><id>wellspring</id><mirrorOf>central</mirrorOf><url>{url}</url></mirror></mirrors>
</settings>
"""


def job_server_jar(on_progress: Progress = quiet, environ: Mapping[str, str] = os.environ) -> Path:
    """The jar in the user's cache; it is built where it is not there yet. Raises JarsMissing."""
    jar = cached_jar(environ)
    if not jar.is_file():
        on_progress("building Beam's job server for Flink (half a minute)", 0, 0)
        _build(jar, environ)
    return jar


def cached_jar(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the jar of this pom is kept."""
    version = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    return cache_folder(environ) / "flink" / f"job-server-{version}.jar"


def _build(jar: Path, environ: Mapping[str, str]) -> None:
    """In a folder of its own, moved into place when it is whole, so that two processes may build at once."""
    maven = shutil.which("mvn", path=environ.get("PATH"))
    if maven is None:
        raise JarsMissing(
            "Beam's job server for Flink is built by Maven, and there is no mvn on the path: install Maven and a JDK, "
            "or set runner.job_server_jar to a jar of beam-runners-flink-1.19-job-server."
        )
    jar.parent.mkdir(parents=True, exist_ok=True)
    sweep(jar.parent, "*.part")
    with tempfile.TemporaryDirectory(prefix="wellspring-flink-") as name:
        folder = Path(name)
        shutil.copy(POM, folder / "pom.xml")
        command = [maven, "--batch-mode", "--quiet", *_mirror(folder, environ), "package"]
        log = folder / "maven.log"
        with log.open("w") as output:
            done = subprocess.run(
                command, cwd=folder, stdout=output, stderr=output, timeout=BUILD_SECONDS, check=False, env=dict(environ)
            )
        if done.returncode != 0:
            kept = jar.with_suffix(".log")
            shutil.copy(log, kept)
            raise JarsMissing(f"Maven could not build Beam's job server for Flink; {kept} says why.")
        part = jar.with_name(f"{jar.name}.{os.getpid()}.part")
        shutil.copy(folder / "target" / "job-server.jar", part)
        part.replace(jar)


def _mirror(folder: Path, environ: Mapping[str, str]) -> list[str]:
    """Maven's own settings, or the repository that Kafka's jars come from, where one is set."""
    url = environ.get(REPOSITORY_SETTING)
    if not url:
        return []
    settings = folder / "settings.xml"
    settings.write_text(_SETTINGS.format(url=url), "utf-8")
    return ["--settings", str(settings)]
