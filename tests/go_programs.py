"""Programs of others that tests need and that are written in Go: found on the path or in the user's cache, and where Go is
there, built into the cache once."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from infra.kafka_jars import cache_folder


def go_program(package: str, version: str, timeout_s: float = 600, name: str = "") -> Path | None:
    """The program of that package (`host/path/name`) at that version; None where it is not to be had.

    `name` is given where the package's own says nothing.
    """
    name = name or package.rpartition("/")[2]
    if found := shutil.which(name):
        return Path(found)
    built = cache_folder() / f"{name}-{version}" / name
    if not built.exists() and shutil.which("go"):
        _build(built, f"{package}@{version}", timeout_s)
    return built if built.exists() else None


def _build(program: Path, package: str, timeout_s: float) -> None:
    """Takes minutes, once; several test runs may do it at the same time."""
    folder = program.parent / f"built-{os.getpid()}"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(folder)}
    words = ["go", "install", "-trimpath", "-ldflags=-s -w", package]
    with suppress(subprocess.SubprocessError, OSError):
        subprocess.run(words, env=environment, capture_output=True, timeout=timeout_s, check=True)
        (made,) = folder.iterdir()
        os.replace(made, program)
    shutil.rmtree(folder, ignore_errors=True)
