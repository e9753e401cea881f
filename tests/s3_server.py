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

from tests.go_programs import go_program

VERSION = "v1.8.0"
KEY, SECRET, REGION = "wellspring-tests", "not-a-secret", "us-east-1"
_MODULE = "github.com/versity/versitygw/cmd/versitygw"
_READY_S = 20.0


class S3Server:
    """A server on a port and a folder of its own, which stay when it is killed and started again.

    `environment` is by what its clients find it, `bucket` the folder that is its first bucket.
    """

    def __init__(self, program: Path, folder: Path, bucket: str = "uploads") -> None:
        self._program, self._folder = program, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.bucket = folder / "objects" / bucket
        self.bucket.mkdir(parents=True, exist_ok=True)
        (folder / "versions").mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self.endpoint = f"http://{self._address}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def up(self) -> None:
        """Start it, again where it runs; it is ready when this returns."""
        self.kill()
        words = [str(self._program), "--port", self._address, "--region", REGION, "--quiet", "--health", "/health"]
        words += ["posix", "--versioning-dir", str(self._folder / "versions"), str(self._folder / "objects")]
        own = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
        with open(self._folder / "s3.log", "ab") as log:
            self._process = subprocess.Popen(words, env=own, stdout=log, stderr=log)
        _wait_for(f"{self.endpoint}/health", self._process)

    @property
    def pid(self) -> int:
        """Its process; 0 where it does not run."""
        return self._process.pid if self._process else 0

    def kill(self) -> None:
        """SIGKILL, and nothing where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def versitygw() -> Path | None:
    """The server's program; None where it is not to be had."""
    return go_program(_MODULE, VERSION)


@contextmanager
def s3_server(program: Path, folder: Path, bucket: str = "uploads") -> Iterator[S3Server]:
    """A server with one bucket, which ends with the block."""
    server = S3Server(program, folder, bucket)
    try:
        server.up()
        yield server
    finally:
        server.kill()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError("the S3 server did not start: see s3.log")
