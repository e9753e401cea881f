"""The jars of Apache Kafka: a locked list with hashes, fetched once per user and verified before every use."""

import hashlib
import os
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

LOCK = Path(__file__).with_name("kafka-jars.lock")
REPOSITORY = "https://repo.maven.apache.org/maven2/"
REPOSITORY_SETTING = "WELLSPRING_MAVEN_REPOSITORY"
"""Environment variable: another repository of the same layout (https, http, or file for a folder)."""

BROKER = "org.apache.kafka:kafka_2.13"

_AT_ONCE = 8
_TRIES = 3
_PAUSE_SECONDS = 1.0
_SILENCE_SECONDS = 30.0
_CHUNK = 1 << 16
_ABANDONED_SECONDS = 24 * 3600.0

Progress = Callable[[str, int, int], None]
"""Called in the caller's thread with what is being done, how much is done, and of how much (0: no measure)."""


class JarsMissing(Exception):
    """The jars could not be had, or are not what the lock file says; the text says what to do."""


@dataclass(frozen=True)
class Jar:
    """A line of the lock file: Maven coordinate (group:artifact:version), SHA-256 in hex, size in bytes."""

    coordinate: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's name: `kafka_2.13-4.4.0.jar`."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def path(self) -> str:
        """Where a repository of Maven's layout keeps it, relative to its root."""
        group, artifact, version = self.coordinate.split(":")
        return "/".join([*group.split("."), artifact, version, self.name])


def quiet(doing: str, done: int, total: int) -> None:
    """The progress of someone who does not want to know."""


def read_lock(lock: Path = LOCK) -> list[Jar]:
    """The locked jars, sorted by file name: the order of the class path, which a class-data archive depends on."""
    lines = [line for line in lock.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    rows = [line.split("\t") for line in lines]
    return sorted((Jar(coordinate, sha256, int(size)) for coordinate, sha256, size in rows), key=lambda jar: jar.name)


def kafka_version(jars: list[Jar]) -> str:
    """The version of Apache Kafka that these jars are."""
    return next(jar.coordinate.rsplit(":", 1)[1] for jar in jars if jar.coordinate.startswith(f"{BROKER}:"))


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$WELLSPRING_CACHE`, else `$XDG_CACHE_HOME/wellspring`, else `~/.cache/wellspring`: shared by all checkouts."""
    if environ.get("WELLSPRING_CACHE"):
        return Path(environ["WELLSPRING_CACHE"]).expanduser()
    shared = environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "wellspring"


def fetch_jars(jars: list[Jar], on_progress: Progress = quiet, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The jars as files of the user's cache, in the order given; what is missing or damaged is fetched, 8 at a time.

    Each file is checked against its SHA-256 before it is moved into place, so two processes may fetch at once.
    Progress counts bytes. Raises JarsMissing.
    """
    folder = cache_folder(environ) / "jars"
    missing = [jar for jar in jars if not _is(folder / jar.name, jar)]
    if missing:
        _fetch_all(missing, folder, repository(environ), on_progress)
    return [folder / jar.name for jar in jars]


def repository(environ: Mapping[str, str] = os.environ) -> str:
    """The root of the repository in use, ending in a slash. Raises JarsMissing if the setting is no such address."""
    root = environ.get(REPOSITORY_SETTING) or REPOSITORY
    if urlsplit(root).scheme not in ("https", "http", "file"):
        raise JarsMissing(f"{REPOSITORY_SETTING} must be an address that begins with https://, http:// or file://.")
    return root if root.endswith("/") else f"{root}/"


def _is(file: Path, jar: Jar) -> bool:
    if not file.is_file() or file.stat().st_size != jar.size:
        return False
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == jar.sha256


def _fetch_all(jars: list[Jar], folder: Path, root: str, on_progress: Progress) -> None:
    doing, done, total = "fetching Apache Kafka", 0, sum(jar.size for jar in jars)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, "*.part")
        on_progress(doing, done, total)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="jars") as pool:
            under_way = {pool.submit(_fetch, jar, folder, root): jar for jar in jars}
            try:
                for arrived in as_completed(under_way):
                    arrived.result()
                    done += under_way[arrived].size
                    on_progress(doing, done, total)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    except OSError as failure:
        raise JarsMissing(f"Cannot write to the cache {folder}: {failure.strerror}. {_ELSEWHERE}") from failure


_ELSEWHERE = "Make room or set WELLSPRING_CACHE to a folder that can be written."


def sweep(folder: Path, pattern: str) -> None:
    """Remove the half-made files that a killed process left a day ago or longer; another may be making newer ones."""
    for left in folder.glob(pattern):
        try:
            if left.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                left.unlink()
        except FileNotFoundError:
            continue


def _fetch(jar: Jar, folder: Path, root: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f"{jar.name}.", suffix=".part", dir=folder)
    part = Path(name)
    try:
        os.close(handle)
        _download(root + quote(jar.path), part, jar)
        if not _is(part, jar):
            raise JarsMissing(
                f"{jar.name} from {_host(root)} does not have the SHA-256 of infra/{LOCK.name}, so it is not used. "
                f"Try again; if it stays so, what lies between does not serve the original: set {REPOSITORY_SETTING}."
            )
        part.chmod(0o644)
        part.replace(folder / jar.name)
    finally:
        part.unlink(missing_ok=True)


def _download(url: str, part: Path, jar: Jar) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            with urllib.request.urlopen(url, timeout=_SILENCE_SECONDS) as answer:
                _save(answer, part, jar.size)
            return
        except urllib.error.HTTPError as refused:
            refused.close()
            if attempt == _TRIES or refused.code not in (408, 429, 500, 502, 503, 504):
                raise JarsMissing(
                    f"{_host(url)} answered {refused.code} for {jar.name}. If it is not a Maven repository that "
                    f"mirrors Maven Central, set {REPOSITORY_SETTING} to one."
                ) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, HTTPException) as failure:
            if attempt == _TRIES:
                raise JarsMissing(_unreachable(url, jar, failure)) from None
        time.sleep(_PAUSE_SECONDS * attempt)


def _save(answer: Any, part: Path, size: int) -> None:
    """Write at most one byte more than expected: a longer answer fails its check without filling the disk."""
    room = size + 1
    with part.open("wb") as file:
        while room > 0 and (chunk := answer.read(min(_CHUNK, room))):
            room -= len(chunk)
            file.write(chunk)
    if room > 0 and getattr(answer, "length", None):
        raise ConnectionError("the answer ended early")


def _unreachable(url: str, jar: Jar, failure: Exception) -> str:
    cause = getattr(failure, "reason", None) or failure
    return (
        f"Cannot fetch {jar.name} from {_host(url)} ({cause}). Check the network and HTTPS_PROXY; behind a mirror set "
        f"{REPOSITORY_SETTING} to its address, or to file:// and a folder with a copy. Then run the command again."
    )


def _host(url: str) -> str:
    """The host alone: an address set by an operator may hold a password."""
    return urlsplit(url).hostname or "the repository folder"
