"""Objects in a bucket of S3, or of a server that speaks it: a handful of verbs. The one module that imports boto3.

Where the server is and who we are is what the environment says: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, or whatever else the SDK knows (a profile, a machine's role).
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, NoCredentialsError

from connectors.source_file import StorageFailed

P = ParamSpec("P")
R = TypeVar("R")

SCHEME = "s3://"
_PIECE = 8 * 1024 * 1024
_GONE = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
_WORDS = {
    "403": "this user may not do that with the bucket",
    "AccessDenied": "this user may not do that with the bucket",
    "InvalidAccessKeyId": "the server does not know AWS_ACCESS_KEY_ID",
    "XAdminUserNotFound": "the server does not know AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the right one",
    "NoSuchBucket": "there is no such bucket",
    "PreconditionFailed": "an object was changed while it was read",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
}


class StoredObject(NamedTuple):
    """An object: its key below the prefix, bytes, ETag, and when it was written, microseconds since the epoch, UTC.

    The ETag is empty where a server has none, as of files that were laid into a gateway's folder from behind.
    """

    key: str
    size: int
    etag: str
    modified_us: int


def _told(method: Callable[P, R]) -> Callable[P, R]:
    """The method, whose failures are told in words without a key."""

    @wraps(method)
    def careful(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return method(*arguments, **named)
        except (ClientError, BotoCoreError) as error:
            raise StorageFailed(f"the bucket: {_in_words(error)}") from None

    return careful


def _in_words(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        code = _code(error)
        return _WORDS.get(code, f"the server answers {code}")
    if isinstance(error, NoCredentialsError):
        return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, (ConnectionError, HTTPClientError)):
        return "the server cannot be reached (AWS_ENDPOINT_URL)"
    return f"the SDK gives up ({type(error).__name__})"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


class Objects:
    """The objects below `s3://bucket/prefix`; keys are relative to it. Everything raises StorageFailed.

    ValueError where the address is none.
    """

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ) -> None:
        self._bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        if not url.startswith(SCHEME) or not self._bucket:
            raise ValueError(f"an address is {SCHEME}BUCKET or {SCHEME}BUCKET/PREFIX")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        self._client = _client(environ)

    @_told
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose keys begin so, without those of the folders below that."""
        found: list[StoredObject] = []
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix, Delimiter="/"):
            found += [self._stored(one["Key"], one["Size"], one) for one in page.get("Contents", ())]
        return iter(one for one in found if one.key and not one.key.endswith("/"))

    @_told
    def head(self, key: str) -> StoredObject | None:
        """What is known of an object, None where there is none."""
        answer = self._unless_gone(self._client.head_object, key)
        return None if answer is None else self._stored(self._prefix + key, answer["ContentLength"], answer)

    @_told
    def get(self, key: str) -> bytes | None:
        """The object, None where there is none."""
        answer = self._unless_gone(self._client.get_object, key)
        content: bytes | None = None if answer is None else answer["Body"].read()
        return content

    def _unless_gone(self, ask: Callable[..., Any], key: str) -> Any:
        """What the server answers about an object, None where there is none."""
        try:
            return ask(Bucket=self._bucket, Key=self._prefix + key)
        except ClientError as error:
            if _code(error) in _GONE:
                return None
            raise

    def open(self, one: StoredObject) -> io.RawIOBase:
        """The object for reading in any order, a few megabytes a request; StorageFailed where it is another by now."""
        return _Ranges(self, one)

    @_told
    def read(self, one: StoredObject, start: int, size: int) -> bytes:
        """Bytes of the object from `start`, as long as it is the one that was listed."""
        wanted = {"Key": self._prefix + one.key, "Range": f"bytes={start}-{start + size - 1}"}
        if one.etag:
            wanted["IfMatch"] = one.etag
        answer = self._client.get_object(Bucket=self._bucket, **wanted)
        content: bytes = answer["Body"].read()
        return content

    @_told
    def put(self, key: str, data: bytes) -> None:
        """Create or replace the object."""
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)

    @_told
    def put_new(self, key: str, data: bytes) -> bool:
        """Create the object; False where there is one."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if _code(error) in _TAKEN:
                return False
            raise
        return True

    @_told
    def copy(self, key: str, to: str) -> None:
        """Copy within the bucket, on the server, of any size."""
        source = {"Bucket": self._bucket, "Key": self._prefix + key}
        self._client.copy(source, self._bucket, self._prefix + to)

    @_told
    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def _stored(self, key: str, size: int, answer: Any) -> StoredObject:
        modified_us = round(answer["LastModified"].timestamp() * 1e6)
        return StoredObject(key.removeprefix(self._prefix), size, answer.get("ETag", ""), modified_us)


@_told
def _client(environ: Mapping[str, str]) -> Any:
    """A client for any server: names of buckets in the path, and no checksums that only Amazon's knows."""
    config = Config(
        s3={"addressing_style": "path" if environ.get("AWS_ENDPOINT_URL") else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": 3},
        connect_timeout=5,
        read_timeout=60,
    )
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    return boto3.session.Session().client("s3", region_name=region, config=config)


class _Ranges(io.RawIOBase):
    def __init__(self, objects: Objects, one: StoredObject) -> None:
        self._objects, self._one, self._at = objects, one, 0
        self._piece, self._piece_at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._one.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._at >= self._one.size:
            return 0
        start = self._at - self._piece_at
        if not 0 <= start < len(self._piece):
            self._piece_at, start = self._at, 0
            self._piece = self._objects.read(self._one, self._at, min(_PIECE, self._one.size - self._at))
        part = self._piece[start : start + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)
