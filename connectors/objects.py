"""Objects in a bucket of S3, or of a server that speaks it: a handful of verbs.

Where the server is and who we are is what the environment says: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, or whatever else the SDK knows (a profile, a machine's role).
"""

import io
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from connectors.object_called import Called
from connectors.object_session import ObjectSession
from connectors.object_words import code_of
from connectors.source_file import StorageFailed

P = ParamSpec("P")
R = TypeVar("R")

SCHEME = "s3://"
_PIECE = 8 * 1024 * 1024
_UPLOAD = TransferConfig(multipart_threshold=64 * 1024 * 1024, multipart_chunksize=16 * 1024 * 1024, max_concurrency=4)
_WRITER = "writer"
_GONE = {"404", "NoSuchKey", "NotFound"}
_EMPTY = {"416", "InvalidRange"}
_UNKNOWN = {"501", "NotImplemented", "405", "MethodNotAllowed"}
_CONFLICT = {"409", "ConditionalRequestConflict"}  # with another write of it, which may come to nothing
_TAKEN = {"412", "PreconditionFailed", *_CONFLICT}
_TRIES = 5
_PAUSE_S = 0.05


class StoredObject(NamedTuple):
    """An object: its key below the prefix, bytes, ETag, and when it was written, microseconds since the epoch, UTC.

    The ETag is empty where a server has none, as of files that were laid into a gateway's folder from behind.
    """

    key: str
    size: int
    etag: str
    modified_us: int


def _told(method: Callable[Concatenate["Objects", P], R]) -> Callable[Concatenate["Objects", P], R]:
    """The method, with the credentials of this moment; its failures are told in words without a key."""

    @wraps(method)
    def careful(self: "Objects", /, *arguments: P.args, **named: P.kwargs) -> R:
        self.session.frozen()
        try:
            return method(self, *arguments, **named)
        except (ClientError, BotoCoreError) as error:
            raise StorageFailed(self.session.words.of(error)) from None

    return careful


def _is_unsure(error: ClientError | BotoCoreError) -> bool:
    """Whether a write may have been done although this was its answer."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code_of(error) in {*_TAKEN, "RequestTimeout"} or status >= 500
    return isinstance(error, (ConnectionError, HTTPClientError))


class Objects:
    """The objects below `s3://bucket/prefix`; keys are relative to it. Everything raises StorageFailed.

    ValueError where the address is none. Any thread may call it.
    """

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ, called: Called = Called()) -> None:
        self._bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        if not url.startswith(SCHEME) or not self._bucket:
            raise ValueError(f"an address is {SCHEME}BUCKET or {SCHEME}BUCKET/PREFIX")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        self.called, self.session = called, ObjectSession(environ, called)
        self._client = self.session.client

    @_told
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose keys begin so, without those of the folders below that."""
        found: list[StoredObject] = []
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix, Delimiter="/"):
            found += [self._stored(one["Key"], one["Size"], one) for one in page.get("Contents", ())]
        return iter(one for one in found if one.key and not one.key.endswith("/"))

    @_told
    def below(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose keys begin so, at any depth, in the order of their keys."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        found = [self._stored(one["Key"], one["Size"], one) for page in pages for one in page.get("Contents", ())]
        return iter(one for one in found if one.key and not one.key.endswith("/"))

    @_told
    def folders(self, prefix: str = "") -> Iterator[str]:
        """The parts of keys, up to the next slash, that begin so and have more below them; without the slash."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, Delimiter="/"
        )
        found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())]
        return iter(one.removeprefix(self._prefix).rstrip("/") for one in found)

    @_told
    def head(self, key: str) -> StoredObject | None:
        """What is known of an object, None where there is none.

        A byte of it is asked for, since the answer to HEAD is the same whether the object or the bucket is gone.
        """
        found = self._part(key, "bytes=0-0")
        return found[0] if found else None

    @_told
    def tail(self, key: str, size: int) -> tuple[StoredObject, bytes] | None:
        """An object and its last `size` bytes, or all that it has; None where there is none."""
        return self._part(key, f"bytes=-{size}")

    def _part(self, key: str, wanted: str) -> tuple[StoredObject, bytes] | None:
        where = {"Bucket": self._bucket, "Key": self._prefix + key}
        try:
            answer = self._client.get_object(**where, Range=wanted)
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            if code_of(error) in _EMPTY:
                return self._stored(self._prefix + key, 0, self._client.head_object(**where)), b""
            raise
        content: bytes = answer["Body"].read()
        whole = answer.get("ContentRange", "").rpartition("/")[2]
        return self._stored(self._prefix + key, int(whole or len(content)), answer), content

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
            if code_of(error) in _GONE:
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
    def put_file(self, file: Path, key: str) -> None:
        """Create or replace the object by a file, in parts where it is large: only under a name that nobody else uses."""
        where = {"Bucket": self._bucket, "Key": self._prefix + key}
        with open(file, "rb") as content:
            if file.stat().st_size < _UPLOAD.multipart_threshold:
                self._client.put_object(**where, Body=content)
            else:
                self._client.upload_fileobj(content, **where, Config=_UPLOAD)

    @_told
    def put_new(self, key: str, data: bytes) -> bool:
        """Create the object; False where there is one by somebody else.

        An answer of no may be to our own second try, and none at all to a write that was done: the object says whose
        it is. StorageFailed where it is not there, or where nobody can be asked; then it may still come to be there.
        """
        writer = uuid.uuid4().hex
        for left in reversed(range(_TRIES)):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*", Metadata={_WRITER: writer}
                )
                return True
            except (ClientError, BotoCoreError) as error:
                found = self._unless_gone(self._client.head_object, key) if _is_unsure(error) else None
                if found is not None:
                    return bool(found.get("Metadata", {}).get(_WRITER) == writer)
                if code_of(error) not in _CONFLICT or not left:
                    raise
                time.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    @_told
    def copy(self, key: str, to: str) -> None:
        """Copy within the bucket, on the server, of any size."""
        source = {"Bucket": self._bucket, "Key": self._prefix + key}
        self._client.copy(source, self._bucket, self._prefix + to)

    @_told
    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    @property
    def where(self) -> str:
        """The server and the bucket, by which a prefix of it is known elsewhere."""
        return f"{self._client.meta.endpoint_url} {self._bucket}"

    @_told
    def keeps_versions(self) -> bool:
        """Whether the bucket keeps, or once kept, what is replaced or deleted; a server without versions does not."""
        try:
            return "Status" in self._client.get_bucket_versioning(Bucket=self._bucket)
        except ClientError as error:
            if code_of(error) in _UNKNOWN:
                return False
            raise

    def delete_versions(self, key: str) -> None:
        """Remove every version of the object, and the marks of its deletion."""
        self._delete_versions(self._prefix + key, lambda one, _: one["Key"] == self._prefix + key)

    def delete_old_versions(self, prefix: str) -> None:
        """Of the objects whose keys begin so, remove all but what is there now."""
        self._delete_versions(self._prefix + prefix, lambda one, is_mark: is_mark or not one["IsLatest"])

    @_told
    def _delete_versions(self, prefix: str, is_meant: Callable[[Any, bool], bool]) -> None:
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
        found = []
        for page in pages:
            found += [one for one in page.get("Versions", ()) if is_meant(one, False)]
            found += [one for one in page.get("DeleteMarkers", ()) if is_meant(one, True)]
        for one in found:
            self._client.delete_object(Bucket=self._bucket, Key=one["Key"], VersionId=one["VersionId"])

    @_told
    def access(self) -> dict[str, str]:
        """What another library needs to be told so as to reach the same objects as the same user, at this moment."""
        found = self.session.frozen()
        told = {"AWS_ACCESS_KEY_ID": found.access_key, "AWS_SECRET_ACCESS_KEY": found.secret_key}
        if found.token:
            told["AWS_SESSION_TOKEN"] = found.token
        if region := self._client.meta.region_name:
            told["AWS_REGION"] = region
        endpoint = self._client.meta.endpoint_url
        if ".amazonaws.com" not in endpoint:
            told["AWS_ENDPOINT_URL"] = endpoint
        return told

    def _stored(self, key: str, size: int, answer: Any) -> StoredObject:
        modified_us = round(answer["LastModified"].timestamp() * 1e6)
        return StoredObject(key.removeprefix(self._prefix), size, answer.get("ETag", ""), modified_us)


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
