"""A lake in a bucket: the verbs of a store over S3, or a server that speaks it.

Who we are and where the server is says the environment (`connectors/objects.py`). Files are written in a folder of this
machine first, which nobody else may read, and go from there as soon as they lie in the bucket.
"""

import hashlib
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

import pyarrow as pa

from connectors.object_called import Called
from connectors.object_reading import ObjectReader, Pieces
from connectors.objects import Objects
from connectors.source_file import StorageFailed
from pipelines.store import TEMPORARY, Taken, Temp, temps_in

# Whatever the environment says, delta-rs creates its commits, and never replaces one.
_SAFE = {"AWS_CONDITIONAL_PUT": "etag", "AWS_S3_ALLOW_UNSAFE_RENAME": "false"}
_PATIENCE = {"max_retries": "3", "retry_timeout": "30s", "connect_timeout": "5s", "timeout": "60s"}


class ObjectStore:
    """The objects below `s3://bucket/prefix`. Its methods raise StorageFailed where the server will not or cannot."""

    def __init__(self, address: str, environ: Mapping[str, str] = os.environ, called: Called = Called()) -> None:
        self.address = address
        self.objects = Objects(address, environ, called)
        self.pieces = Pieces(self.objects)

    def put_new(self, key: str, data: bytes) -> None:
        if not self.objects.put_new(_checked(key), data):
            raise Taken(key)

    def put(self, key: str, data: bytes) -> None:
        self.objects.put(_checked(key), data)

    def get(self, key: str) -> bytes | None:
        return self.objects.get(_checked(key))

    def exists(self, key: str) -> bool:
        return self.size(key) is not None

    def size(self, key: str) -> int | None:
        found = self.objects.head(_checked(key))
        return found.size if found else None

    def list(self, prefix: str) -> Iterator[str]:
        return (one.key for one in self.objects.below(prefix))

    def folders(self, prefix: str) -> Iterator[str]:
        return (PurePosixPath(folder).name for folder in self.objects.folders(prefix))

    def delete(self, key: str) -> None:
        if key.startswith(f"{TEMPORARY}/"):
            (self._scratch / _checked(key).removeprefix(f"{TEMPORARY}/")).unlink(missing_ok=True)
        elif self.versioned:
            self.objects.delete_versions(_checked(key))
        else:
            self.objects.delete(_checked(key))

    def forget(self, prefix: str) -> None:
        if self.versioned:
            self.objects.delete_old_versions(prefix)

    @cached_property
    def versioned(self) -> bool:
        """Whether the bucket keeps what is deleted or replaced."""
        return self.objects.keeps_versions()

    def uri(self, key: str) -> str:
        return f"{self.address}/{_checked(key)}"

    def delta_options(self) -> Mapping[str, str]:
        told = self.objects.access()
        plain = {"AWS_ALLOW_HTTP": "true"} if told.get("AWS_ENDPOINT_URL", "").startswith("http://") else {}
        return {**told, **plain, **_SAFE, **_PATIENCE}

    def explain(self, error: Exception) -> None:
        """StorageFailed, in the words of our own client where that fares no better."""
        self.objects.folders()
        words = f"delta-rs could not use it ({type(error).__name__}; {{endpoint}}; {{who}})"
        raise StorageFailed(self.objects.session.words.saying(words)) from None

    def open_file(self, key: str) -> pa.NativeFile:
        return pa.PythonFile(ObjectReader(self.pieces, _checked(key)), mode="r")

    def temp_path(self, key: str) -> Path:
        folder = self._scratch
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise StorageFailed("the folder for files on their way is not this user's alone: set TMPDIR to one that is")
        return folder / f"{PurePosixPath(key).name}.{uuid.uuid4().hex}"

    def publish_file(self, local_temp: Path, key: str) -> None:
        """The name is taken by nobody: whoever writes a file makes one up for it, with the driver's epoch."""
        try:
            self.objects.put_file(local_temp, _checked(key))
        finally:
            local_temp.unlink()

    def sync(self, key: str) -> None:
        """An object is durable, as far as the server makes it so, when its writer has been told that it is there."""

    def temps(self) -> Iterator[Temp]:
        return temps_in(self._scratch)

    @property
    def _scratch(self) -> Path:
        """One for each user and lake, so that a later driver on this machine finds what a dead one left."""
        place = f"{os.environ.get('AWS_ENDPOINT_URL', '')} {self.address}"
        name = hashlib.sha256(place.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"wellspring-{os.getuid()}-{name}"


def _checked(key: str) -> str:
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts:
        raise ValueError("a key is a relative path inside the lake")
    return key
