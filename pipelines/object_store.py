"""A lake in a bucket: the verbs of a store over S3, or a server that speaks it.

Who we are and where the server is says the environment (`connectors/objects.py`).
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipelines.store import Temp


class ObjectStore:
    """The objects below `s3://bucket/prefix`."""

    def __init__(self, address: str) -> None:
        self.address = address

    def put_new(self, key: str, data: bytes) -> None:
        raise NotImplementedError

    def put(self, key: str, data: bytes) -> None:
        raise NotImplementedError

    def get(self, key: str) -> bytes | None:
        raise NotImplementedError

    def exists(self, key: str) -> bool:
        raise NotImplementedError

    def size(self, key: str) -> int | None:
        raise NotImplementedError

    def list(self, prefix: str) -> Iterator[str]:
        raise NotImplementedError

    def folders(self, prefix: str) -> Iterator[str]:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError

    def uri(self, key: str) -> str:
        raise NotImplementedError

    def open_file(self, key: str) -> pa.NativeFile:
        raise NotImplementedError

    def temp_path(self, key: str) -> Path:
        raise NotImplementedError

    def publish_file(self, local_temp: Path, key: str) -> None:
        raise NotImplementedError

    def sync(self, key: str) -> None:
        raise NotImplementedError

    def temps(self) -> Iterator[Temp]:
        raise NotImplementedError
