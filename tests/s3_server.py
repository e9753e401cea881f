"""A real S3 server for tests: versitygw over a folder, on a free port of loopback.

It is found on the path or in the user's cache; where Go is there, it is built into the cache once.
"""

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.go_programs import go_program

VERSION = "v1.8.0"
KEY, SECRET, REGION = "wellspring-tests", "not-a-secret", "us-east-1"
_MODULE = "github.com/versity/versitygw/cmd/versitygw"
_READY_S = 20.0


class S3Server(NamedTuple):
    """Where it is, the environment by which its clients find it, and the folder that is its first bucket."""

    endpoint: str
    environment: dict[str, str]
    bucket: Path


def versitygw() -> Path | None:
    """The server's program; None where it is not to be had."""
    return go_program(_MODULE, VERSION)


@contextmanager
def s3_server(program: Path, folder: Path, bucket: str = "uploads") -> Iterator[S3Server]:
    """A server with one bucket, which ends with the block."""
    root, versions = folder / "objects", folder / "versions"
    (root / bucket).mkdir(parents=True)
    versions.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [str(program), "--port", address, "--region", REGION, "--quiet", "--health", "/health"]
    words += ["posix", "--versioning-dir", str(versions), str(root)]
    own = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with open(folder / "s3.log", "wb") as log:
        server = subprocess.Popen(words, env=own, stdout=log, stderr=log)
    try:
        _wait_for(f"http://{address}/health", server)
        found = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
        yield S3Server(f"http://{address}", {**found, "AWS_ENDPOINT_URL": f"http://{address}"}, root / bucket)
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError("the S3 server did not start: see s3.log")
