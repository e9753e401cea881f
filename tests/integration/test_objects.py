"""Objects on a real S3 server: what is there, moved and pinned; and what is said where the server will not or cannot."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest
from boto3.s3.transfer import TransferConfig

from connectors.objects import Objects
from connectors.source_file import StorageFailed
from tests.canaries import MARK
from tests.s3_server import S3Server


@pytest.fixture
def objects(s3: S3Server) -> Objects:
    return Objects("s3://uploads/acme/")


def keys(objects: Objects, prefix: str = "") -> list[str]:
    return [one.key for one in objects.list(prefix)]


def test_what_was_put_is_listed_and_read_below_the_prefix_alone(objects: Objects) -> None:
    objects.put("a", b"1")
    objects.put("below/b", b"22")
    Objects("s3://uploads/acme-other").put("c", b"3")
    assert keys(objects) == ["a"] and keys(objects, "below/") == ["below/b"]
    assert objects.get("below/b") == b"22" and objects.get("none") is None
    found = objects.head("below/b")
    assert found and (found.key, found.size) == ("below/b", 2)
    assert objects.head("none") is None


def test_a_listing_goes_over_many_pages(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    paginate = objects._client.get_paginator("list_objects_v2").paginate
    for number in range(7):
        objects.put(f"{number}", b"")
    pages = type("Pages", (), {"paginate": lambda _, **named: paginate(**named, PaginationConfig={"PageSize": 2})})
    monkeypatch.setattr(objects._client, "get_paginator", lambda _: pages())
    assert keys(objects) == [str(number) for number in range(7)]


def test_only_one_creates_an_object(objects: Objects) -> None:
    assert objects.put_new("a", b"1")
    assert not objects.put_new("a", b"2")
    assert objects.get("a") == b"1"


def test_an_object_is_read_in_any_order(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.objects._PIECE", 7)
    content = bytes(range(200))
    objects.put("a", content)
    (one,) = objects.list()
    stream = objects.open(one)
    assert stream.readall() == content
    stream.seek(-5, 2)
    assert stream.read(99) == content[-5:]
    stream.seek(3)
    assert stream.read(5) == content[3:8] and stream.tell() == 8
    assert stream.seek(500) == 500 and stream.read(1) == b""


def test_an_object_that_was_replaced_is_not_read_as_the_one_before(objects: Objects) -> None:
    objects.put("a", b"1" * 10)
    (one,) = objects.list()
    objects.put("a", b"2" * 10)
    with pytest.raises(StorageFailed, match="an object was changed while it was read"):
        objects.open(one).read(10)


def test_a_copy_and_a_deletion(objects: Objects) -> None:
    objects.put("a", b"1")
    objects.copy("a", "done/a")
    objects.delete("a")
    objects.delete("a")
    assert objects.get("done/a") == b"1" and keys(objects) == []


@pytest.mark.parametrize(
    ("changes", "url", "words"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "uploads", "the server cannot be reached (AWS_ENDPOINT_URL)"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "uploads", "the server does not know AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "uploads", "AWS_SECRET_ACCESS_KEY is not the right one"),
        ({}, "elsewhere", "there is no such bucket: see its address, and AWS_ENDPOINT_URL"),
    ],
)
def test_a_server_that_will_not_is_told_without_a_key(
    changes: dict[str, str], url: str, words: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    objects = Objects(f"s3://{url}/{MARK}")
    with pytest.raises(StorageFailed) as failure:
        list(objects.list())
    assert str(failure.value) == f"the bucket: {words}"
    with pytest.raises(StorageFailed) as failure:
        objects.put(MARK, b"")
    assert MARK not in str(failure.value)


@pytest.mark.parametrize("url", ["s3://", "uploads/acme", "http://uploads"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="an address is s3://BUCKET or s3://BUCKET/PREFIX"):
        Objects(url)


def test_a_large_file_goes_in_parts(objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = 5 * 1024 * 1024
    monkeypatch.setattr(
        "connectors.objects._UPLOAD", TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    )
    file, content = tmp_path / "large", os.urandom(2 * part + 7)
    file.write_bytes(content)
    objects.put_file(file, "below/large")
    assert objects.get("below/large") == content
    (found,) = objects.below("below/")
    assert found.key == "below/large" and found.size == len(content) and found.etag.strip('"').endswith("-3")
    assert objects.tail("below/large", 7) == (found._replace(modified_us=ANY), content[-7:])


def test_what_lies_below_is_listed_at_any_depth_and_by_folders(objects: Objects) -> None:
    for key in ("a", "t/1", "t/2/x", "u/1", "tail"):
        objects.put(key, b"1")
    assert [one.key for one in objects.below("t")] == ["t/1", "t/2/x", "tail"]
    assert list(objects.folders()) == ["t", "u"] and list(objects.folders("t/")) == ["t/2"]


def test_an_empty_object_is_there(objects: Objects) -> None:
    objects.put("a", b"")
    found = objects.head("a")
    assert found and found.size == 0 and found.etag
    assert objects.tail("a", 9) == (found, b"")


def test_only_the_modules_of_objects_know_the_sdk() -> None:
    rooms = ("schemas", "connectors", "quality", "pipelines", "infra")
    root = Path(__file__).parents[2]
    files: Iterator[Path] = (file for room in rooms for file in (root / room).rglob("*.py"))
    using = [file.name for file in files if "import boto" in file.read_text() or "from boto" in file.read_text()]
    assert sorted(using) == ["object_session.py", "object_words.py", "objects.py"]  # verbs, who we are, its errors
