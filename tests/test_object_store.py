"""The store over a bucket: answers that leave it open what happened, reading in pieces, and what it tells delta-rs.

The server is a small one of the tests' own; what needs a real one is in `tests/integration/test_s3.py`.
"""

import io
import os
import random
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from connectors import object_reading
from connectors.object_reading import ObjectReader, Pieces
from connectors.source_file import StorageFailed
from pipelines.object_files import in_words
from pipelines.object_store import ObjectStore
from pipelines.store import Taken
from tests.lax_s3 import lax_server

TIMEOUT = ReadTimeoutError(endpoint_url="http://elsewhere")
Put = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with lax_server("sound") as environment:
        yield environment


@pytest.fixture
def store(server: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    """A prefix of its own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"s3://studies/{uuid.uuid4().hex}")


def refused(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


def answering(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Put, dict[str, Any]], Any]
) -> None:
    """Has something come between a put and its answer."""
    put = store.objects._client.put_object
    monkeypatch.setattr(store.objects._client, "put_object", lambda **named: answer(put, named))


@pytest.mark.parametrize("error", [TIMEOUT, refused("InternalError", 500), refused("RequestTimeout", 400)])
def test_a_write_that_was_done_and_not_answered_is_found_to_be_ours(
    error: Exception, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(put: Put, named: dict[str, Any]) -> None:
        put(**named)
        raise error

    answering(store, monkeypatch, lost)
    store.put_new("a", b"1")
    assert store.get("a") == b"1"


def test_a_second_try_that_meets_its_own_first_is_found_to_be_ours(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(put: Put, named: dict[str, Any]) -> None:
        put(**named)
        put(**named)

    answering(store, monkeypatch, twice)
    store.put_new("a", b"1")
    assert store.get("a") == b"1"


def test_the_same_content_by_another_is_not_taken_for_ours(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(put: Put, named: dict[str, Any]) -> None:
        put(**{**named, "Metadata": {"writer": "another"}})
        raise TIMEOUT

    answering(store, monkeypatch, overtaken)
    with pytest.raises(Taken):
        store.put_new("a", b"1")


def test_a_write_that_was_not_done_is_a_failure(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(put: Put, named: dict[str, Any]) -> None:
        raise TIMEOUT

    answering(store, monkeypatch, away)
    with pytest.raises(StorageFailed, match="the server cannot be reached"):
        store.put_new("a", b"1")
    assert store.get("a") is None


def test_a_conflict_that_came_to_nothing_is_tried_again(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Exception] = [refused("ConditionalRequestConflict", 409)] * 2

    def conflict(put: Put, named: dict[str, Any]) -> Any:
        if answers:
            raise answers.pop()
        return put(**named)

    answering(store, monkeypatch, conflict)
    store.put_new("a", b"1")
    assert store.get("a") == b"1" and answers == []


def test_a_conflict_that_does_not_end_is_a_failure_and_not_anothers(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(put: Put, named: dict[str, Any]) -> None:
        raise refused("ConditionalRequestConflict", 409)

    monkeypatch.setattr("connectors.objects._PAUSE_S", 0)
    answering(store, monkeypatch, conflict)
    with pytest.raises(StorageFailed, match="ConditionalRequestConflict"):
        store.put_new("a", b"1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_ENDPOINT_URL": "s3.example.org:secret"}, "AWS_ENDPOINT_URL is no address"),
        ({"AWS_ENDPOINT_URL": "https"}, "certificate is not trusted"),
    ],
)
def test_an_environment_that_cannot_be_used_is_told(
    changes: dict[str, str], words: str, store: ObjectStore, server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        found = server["AWS_ENDPOINT_URL"].replace("http", "https") if value == "https" else value
        monkeypatch.setenv(name, found) if found else monkeypatch.delenv(name)
    with pytest.raises(StorageFailed, match=words) as failure:
        ObjectStore("s3://studies/lake").get("a")
    assert "secret" not in str(failure.value)


def test_a_refusal_is_none_of_these(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(put: Put, named: dict[str, Any]) -> None:
        put(**named)
        raise refused("ExpiredToken", 400)

    answering(store, monkeypatch, denied)
    with pytest.raises(
        StorageFailed,
        match="^the bucket: the credentials have expired: renew AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and start again$",
    ):
        store.put_new("a", b"1")


def test_any_piece_of_an_object_is_read_once_as_long_as_there_is_room(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_reading, "PIECE_BYTES", 16)
    content, chance = random.Random(7).randbytes(333), random.Random(8)
    asked = counted(store, monkeypatch)
    store.put("a", content)
    pieces = Pieces(store.objects)
    assert pieces.read("a", 0, 999) == content
    assert len(asked) == 3  # the end, and what lies before it, sixteen pieces a request
    for _ in range(200):
        start, size = chance.randrange(340), chance.randrange(100)
        assert pieces.read("a", start, size) == content[start : start + size]
    assert len(asked) == 3
    crowded = Pieces(store.objects, held_bytes=50)
    for _ in range(50):
        start, size = chance.randrange(340), chance.randrange(100)
        assert crowded.read("a", start, size) == content[start : start + size]
        assert crowded._bytes <= 50
    with pytest.raises(FileNotFoundError):
        pieces.read("none", 0, 1)


def counted(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ranges that are asked for from now on."""
    asked, get = list[str](), store.objects._client.get_object

    def noted(**named: Any) -> Any:
        asked.append(named.get("Range", ""))
        return get(**named)

    monkeypatch.setattr(store.objects._client, "get_object", noted)
    return asked


def test_a_small_file_is_one_request(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"0123456789")
    asked = counted(store, monkeypatch)
    reader = ObjectReader(store.pieces, "a")
    assert (reader.seek(-4, io.SEEK_END), reader.read(2), reader.tell()) == (6, b"67", 8)
    assert (reader.read(), reader.read(1), reader.seek(99)) == (b"89", b"", 99)
    assert (reader.seek(0), bytes(reader.readall())) == (0, b"0123456789")
    with store.open_file("a") as source:
        assert source.size() == 10 and source.read() == b"0123456789"
    assert len(asked) == 1


def test_an_empty_object_has_nothing_to_read(store: ObjectStore) -> None:
    store.put("a", b"")
    assert ObjectReader(store.pieces, "a").read() == b""


def test_a_file_goes_from_a_folder_that_nobody_else_reads(store: ObjectStore) -> None:
    temp = store.temp_path("study=sleep/observation/month=2026-01/7-3-x.parquet")
    temp.write_bytes(b"PAR1")
    assert stat.S_IMODE(temp.parent.stat().st_mode) == 0o700
    (found,) = store.temps()
    assert found.key == f"_tmp/{temp.name}" and temp.name.startswith("7-3-x.parquet.")
    assert found.modified_us == temp.stat().st_mtime_ns // 1000
    store.publish_file(temp, "t/7-3-x.parquet")
    assert store.get("t/7-3-x.parquet") == b"PAR1" and list(store.temps()) == []


def test_a_folder_that_somebody_else_may_read_is_not_used(store: ObjectStore) -> None:
    folder = store.temp_path("a").parent
    folder.chmod(0o755)
    with pytest.raises(StorageFailed, match="set TMPDIR"):
        store.temp_path("a")
    folder.rmdir()
    folder.symlink_to("/tmp")
    with pytest.raises(StorageFailed, match="set TMPDIR"):
        store.temp_path("a")


def test_what_a_dead_driver_left_in_the_folder_is_deleted_by_its_key(store: ObjectStore) -> None:
    store.temp_path("a").write_bytes(b"1")
    (left,) = store.temps()
    store.delete(left.key)
    store.delete(left.key)
    assert list(store.temps()) == []


@pytest.mark.parametrize("key", ["../other", "/etc/passwd", "", "a/../../b"])
def test_a_key_never_leaves_the_lake(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="a key is a relative path inside the lake"):
        store.get(key)


def test_delta_rs_is_told_who_we_are_and_never_to_replace_a_commit(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    told = store.delta_options()
    assert told["AWS_ACCESS_KEY_ID"] == "somebody" and told["AWS_ENDPOINT_URL"] == os.environ["AWS_ENDPOINT_URL"]
    assert told["AWS_ALLOW_HTTP"] == "true" and told["AWS_REGION"] == "us-east-1"
    assert (told["AWS_S3_ALLOW_UNSAFE_RENAME"], told["AWS_CONDITIONAL_PUT"]) == ("false", "etag")


def test_what_stops_duckdb_is_told_in_our_words() -> None:
    with pytest.raises(StorageFailed, match="^the bucket: there is no such bucket$"), in_words():
        raise duckdb.Error("Traceback …\n  File …\nStorageFailed: the bucket: there is no such bucket")
    with pytest.raises(duckdb.Error, match="another"), in_words():
        raise duckdb.Error("another")
