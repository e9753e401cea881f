"""The measurement of a lake in a bucket: where its server comes from, and that nothing is left in the environment."""

import os
from pathlib import Path

import pytest

from pipelines.bench import bucket


def test_without_a_server_it_says_how_one_is_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "found_versitygw", lambda: None)
    said: list[str] = []
    with bucket._bucket(tmp_path, said.append) as address:
        assert address is None
    assert len(said) == 1 and "WELLSPRING_BENCH_BUCKET" in said[0] and "go install" in said[0]


def test_the_environment_may_name_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bucket.ADDRESS_VARIABLE, "s3://studies/measured")
    with bucket._bucket(tmp_path, pytest.fail) as address:
        assert address == "s3://studies/measured"


def test_a_server_of_its_own_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if bucket.found_versitygw() is None:
        pytest.skip("no S3 server")
    before = dict(os.environ)
    with bucket._bucket(tmp_path, pytest.fail) as address:
        assert address == "s3://uploads/lake" and os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert dict(os.environ) == before
