"""A real S3 server over a folder, for measurements and tests: versitygw on a free port of loopback.

It is no deployment: what to run a lake on says infra/README.md.
"""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from infra.kafka_jars import cache_folder

VERSION = "v1.8.0"
MODULE = "github.com/versity/versitygw/cmd/versitygw"

_KEY, _SECRET, _REGION = "wellspring-local", "not-a-secret", "us-east-1"
_READY_S = 20.0


class LocalS3Failed(Exception):
    """The server does not run; the text says where it says why."""


def cached_versitygw() -> Path:
    """Where the program lies, or would lie, in the user's cache."""
    return cache_folder() / f"versitygw-{VERSION}" / "versitygw"


def found_versitygw() -> Path | None:
    """The server's program on the path or in the user's cache; None where it is in neither."""
    if found := shutil.which("versitygw"):
        return Path(found)
    return cached_versitygw() if cached_versitygw().exists() else None


class LocalS3:
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
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": _REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @property
    def pid(self) -> int:
        """Its process; 0 where it does not run."""
        return self._process.pid if self._process else 0

    def up(self) -> None:
        """Start it, again where it runs; it is ready when this returns. LocalS3Failed where it ends instead."""
        self.kill()
        words = [
            str(self._program),
            "--port",
            self._address,
            "--region",
            _REGION,
            "--quiet",
            "--health",
            "/health",
            "--keep-alive",
        ]
        words += ["posix", "--versioning-dir", str(self._folder / "versions"), str(self._folder / "objects")]
        own = {**os.environ, "ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": _SECRET}
        with open(self._folder / "s3.log", "ab") as log:
            self._process = subprocess.Popen(words, env=own, stdout=log, stderr=log)
        self._wait()

    def kill(self) -> None:
        """SIGKILL, and nothing where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.endpoint}/health", timeout=1) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)
        self.kill()
        raise LocalS3Failed(f"the S3 server did not start: {self._folder / 's3.log'} says why")
