"""Who we are to a server of objects, and how it is told when that goes wrong: whose bucket, which variable, what to do."""

import json
import logging
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, SSOTokenLoadError

from connectors.object_called import Called
from connectors.object_session import ObjectSession
from connectors.object_words import Spoken
from connectors.objects import Objects
from connectors.source_file import StorageFailed
from pipelines.vault import vault_at

KEYS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
LAKE = Called("the lake's bucket")
VAULT = Called("the vault's bucket", "WELLSPRING_VAULT_AWS_", frozenset(KEYS))
CODES = ("AccessDenied", "NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InternalError")


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def heard() -> Iterator[list[logging.LogRecord]]:
    """What the SDK logs."""
    found: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = found.append  # type: ignore[method-assign]
    logging.getLogger("botocore").addHandler(handler)
    yield found
    logging.getLogger("botocore").removeHandler(handler)


def refused(code: str, asked: str = "GetObject") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "a-secret"}}, asked)


@pytest.mark.parametrize("code", [*CODES, "NobodyKnows"])
def test_each_refusal_names_the_bucket_and_the_variables_that_are_its_own(code: str) -> None:
    for called, prefix in ((LAKE, "AWS_"), (VAULT, "WELLSPRING_VAULT_AWS_")):
        words = Spoken(called, KEYS).of(refused(code))
        is_of_server = code in ("NoSuchBucket", "InternalError", "NobodyKnows")
        named = "AWS_ENDPOINT_URL" if is_of_server else f"{prefix}{'SECRET' if code.startswith('Sig') else 'ACCESS'}"
        assert words.startswith(f"{called.bucket}: ") and named in words and "a-secret" not in words
        assert is_of_server or prefix != "AWS_" or "WELLSPRING" not in words


@pytest.mark.parametrize("code", ["a{b}", "{endpoint!r}", "x" * 70, "a b"])
def test_what_a_server_says_in_place_of_a_code_is_not_passed_on(code: str) -> None:
    words = Spoken(LAKE, KEYS).of(refused(code))
    assert words.startswith("the lake's bucket: the server answers what is no code (AWS_ENDPOINT_URL; ")


def test_a_vault_that_is_reached_as_the_lake_is_names_the_variables_that_are_set() -> None:
    called = VAULT._replace(own=frozenset({"AWS_ENDPOINT_URL"}))
    assert Spoken(called, KEYS).of(refused("InvalidAccessKeyId")).endswith("does not know AWS_ACCESS_KEY_ID")
    assert Spoken(called, KEYS).of(refused("500")).endswith("(WELLSPRING_VAULT_AWS_ENDPOINT_URL)")


@pytest.mark.parametrize(
    ("environ", "method", "source"),
    [
        (KEYS, "explicit", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (
            {**KEYS, "AWS_SESSION_TOKEN": "t"},
            "explicit",
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
        ),
        ({"AWS_PROFILE": "p"}, "custom-process", "the profile that AWS_PROFILE names"),
        ({}, "shared-credentials-file", "the profile default"),
        ({}, "container-role", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "f"}, "assume-role-with-web-identity", "the role of AWS_ROLE_ARN"),
        ({}, "iam-role", "the machine's role"),
    ],
)
def test_it_names_where_credentials_come_from(environ: dict[str, str], method: str, source: str) -> None:
    said = Spoken(LAKE, environ, method).of(refused("ExpiredToken"))
    assert said == f"the lake's bucket: the credentials have expired: renew {source}, and start again"


def test_a_role_that_may_not_be_assumed_is_no_refusal_of_the_bucket() -> None:
    said = Spoken(LAKE, {"AWS_WEB_IDENTITY_TOKEN_FILE": "f"}, "assume-role-with-web-identity").of(
        refused("AccessDenied", "AssumeRoleWithWebIdentity")
    )
    assert said == (
        "the lake's bucket: credentials cannot be had from the role of AWS_ROLE_ARN (AccessDenied): see that it answers, "
        "and start again"
    )


def test_a_sign_in_that_has_ended_is_told() -> None:
    said = Spoken(LAKE, {"AWS_PROFILE": "p"}, "sso").of(SSOTokenLoadError(error_msg="a-secret"))
    assert "sign in again for the profile that AWS_PROFILE names (aws sso login)" in said and "a-secret" not in said


@pytest.mark.parametrize("lacks", sorted(KEYS))
def test_one_key_without_the_other_is_told(lacks: str) -> None:
    with pytest.raises(StorageFailed, match=f"set WELLSPRING_VAULT_{lacks} too$"):
        ObjectSession({name: value for name, value in KEYS.items() if name != lacks}, VAULT)


def test_no_credentials_at_all_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        StorageFailed, match="there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    ):
        Objects("s3://studies").get("a")


def test_a_profile_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="^the vault's bucket: there is no profile .* WELLSPRING_VAULT_AWS_PROFILE"):
        ObjectSession({"AWS_PROFILE": "none"}, VAULT)


def source(folder: Path, script: str) -> None:
    """The profile `own`, whose credentials a command gives."""
    command = folder / "command"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    (folder / "config").write_text(f"[profile own]\ncredential_process = {command}\n")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo a-secret >&2; exit 1", "CredentialRetrievalError"),
        ("echo a-secret", "JSONDecodeError"),
        ("echo '{\"Version\": 1}'", "CredentialRetrievalError"),
    ],
)
def test_a_source_that_fails_is_told_without_what_it_has_printed(
    script: str, why: str, tmp_path: Path, heard: list[logging.LogRecord]
) -> None:
    source(tmp_path, script)
    with pytest.raises(StorageFailed) as failure:
        ObjectSession({**os.environ, "AWS_PROFILE": "own"}, VAULT._replace(own=frozenset({"AWS_PROFILE"})))
    assert str(failure.value) == (
        f"the vault's bucket: credentials cannot be had from the profile that WELLSPRING_VAULT_AWS_PROFILE names ({why}): "
        "see that it answers, and start again"
    )
    assert heard == []


def given(folder: Path, name: str, minutes: float) -> None:
    """What the command says from now on: credentials that end in so many minutes."""
    end = datetime.now(UTC) + timedelta(minutes=minutes)
    told = {"Version": 1, "AccessKeyId": name, "SecretAccessKey": "s", "SessionToken": f"t-{name}"}
    (folder / "said").write_text(json.dumps({**told, "Expiration": end.isoformat()}))


def test_what_delta_rs_is_told_is_renewed_with_what_we_have_ourselves(tmp_path: Path) -> None:
    source(tmp_path, f"cat {tmp_path / 'said'}")
    given(tmp_path, "first", 5)
    objects = Objects("s3://studies", {**os.environ, "AWS_PROFILE": "own"})
    given(tmp_path, "second", 60)
    told = [objects.access() for _ in range(2)]
    assert [(one["AWS_ACCESS_KEY_ID"], one["AWS_SESSION_TOKEN"]) for one in told] == [("second", "t-second")] * 2


def test_a_source_that_is_away_when_credentials_end_is_told(tmp_path: Path, heard: list[logging.LogRecord]) -> None:
    source(tmp_path, f"cat {tmp_path / 'said'}")
    given(tmp_path, "first", 5)
    objects = Objects("s3://studies", {**os.environ, "AWS_PROFILE": "own"}, LAKE)
    for broken in ("away", "old"):
        (tmp_path / "said").unlink() if broken == "away" else given(tmp_path, "old", -5)
        for ask in (objects.access, lambda: objects.get("a")):
            with pytest.raises(StorageFailed, match="^the lake's bucket: credentials cannot be had from the profile"):
                ask()
    assert heard == []


def test_a_variable_of_the_vault_s_that_would_be_passed_over_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the vault would be reached as the lake's user."""
    monkeypatch.setenv("WELLSPRING_VAULT_AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/secret")
    with pytest.raises(StorageFailed) as refusal:
        vault_at("s3://studies/vault", tmp_path)
    assert str(refusal.value) == (
        "the vault's bucket: WELLSPRING_VAULT_AWS_CONTAINER_CREDENTIALS_FULL_URI means nothing: put what it says into a "
        "profile, and its name into WELLSPRING_VAULT_AWS_PROFILE"
    )
