"""Credentials that end: a command that they end in says so in words, and after their repair nothing is lost or doubled;
those that renew themselves nobody notices.

The server is a real one behind one that knows tokens (`tests/s3_tokens.py`).
"""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from pipelines import delta
from pipelines.lake_desk import LakeDesk
from tests.credentials_source import GOOD_S, Source, credentials_source
from tests.s3_server import S3Server
from tests.s3_tokens import Lent, TokenServer, token_server
from tests.worlds import World, make_world, once

OWN = "WELLSPRING_VAULT_"
LAKE = (
    "the lake's bucket: the credentials have expired: "
    "renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and start again"
)
VAULT = LAKE.replace("lake", "vault").replace("AWS_", f"{OWN}AWS_")
ROWS = r"/lake/study.*/month=.*\.parquet$"
LOOKS = (["lake", "check"], ["lake", "tables"], ["lake", "sql", "select 1"], ["ledger", "list"])


@pytest.fixture
def server(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    with token_server(s3) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        yield server


def use(monkeypatch: pytest.MonkeyPatch, lent: Lent, prefix: str = "") -> Lent:
    for name, value in lent.environment(prefix).items():
        monkeypatch.setenv(name, value)
    return lent


@pytest.fixture
def world(broker: Address, s3: S3Server, server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Somebody whose readings land in one study, another whose wait; lake and vault have credentials of their own."""
    use(monkeypatch, server.lend("lake-1"))
    use(monkeypatch, server.lend("vault-1"), OWN)
    places = {"bucket": s3.bucket, "vault_bucket": s3.bucket}
    world = make_world(tmp_path / "world", broker.bootstrap, compact_files=3, **places)
    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    return world


def ended(done: Any, words: str, server: TokenServer) -> None:
    """It has ended as the document says, and says nothing that is secret."""
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (1, [f"wellspring: {words}"])
    for lent in server.lent.values():
        assert not any(part in done.stdout + done.stderr for part in lent)
    assert "Traceback" not in done.stderr and server.endpoint not in done.stderr


@pytest.mark.parametrize(
    ("whose", "method", "path"),
    [
        ("lake", "GET", r".*"),  # the start
        ("lake", "PUT", ROWS),
        ("lake", "PUT", r"/lake/_control/ledger/0+2\.json$"),
        ("lake", "GET", r"/lake/study.*/_delta_log/_last_checkpoint$"),  # delta-rs, after the entry
        ("lake", "PUT", r"/lake/study.*/_delta_log/0+\.json$"),  # delta-rs, the commit
        ("lake", "PUT", r"/lake/study.*/_delta_log/.*\.checkpoint\.parquet$"),
        ("vault", "GET", r".*"),
        ("vault", "PUT", r"/vault/runs/"),
        ("vault", "PUT", r"/vault/holds/"),
    ],
)
def test_credentials_that_expire_end_a_driver_in_words_and_their_repair_loses_nothing(
    whose: str, method: str, path: str, world: World, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 1)
    prefix, words = (OWN, VAULT) if whose == "vault" else ("", LAKE)
    world.publish(world.reading("mia", range(200)), world.reading("ben", range(200, 230)))

    def comes(at: str, asked: str) -> bool:
        return at == method and re.search(path, asked.replace("%3D", "=")) is not None

    server.expires(server.lent[f"token-{whose}-1"], comes)
    run = world.command if path == ROWS else world.execute  # there with all that a process of its own says
    ended(run("run", "--once"), words, server)
    assert comes(*server.refused[0])
    for command in LOOKS if whose == "lake" else []:
        ended(world.execute(*command), words, server)
    looked = world.execute("status")
    assert looked.returncode == 1 and f"not known: {words}" in looked.stdout

    use(monkeypatch, server.lend(f"{whose}-2"), prefix)
    world.consent(world.link("ben"), world.grant("ben", "sleep"))
    assert world.execute("run", "--once", "--take-over").returncode == 0
    assert world.landed("sleep") == once(range(230))
    world.assert_sound()
    assert world.leavings() == [] and world.execute("lake", "check").returncode == 0


# -- credentials that renew themselves


@pytest.fixture
def source(world: World, server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """From here on the lake's come from a container's endpoint, the vault's from a command that a profile names."""
    for lent in (server.lend("lake-1", 0.0), server.lend("vault-1", 0.0)):
        for name in (*lent.environment(), *lent.environment(OWN)):
            monkeypatch.delenv(name, raising=False)
    with credentials_source(server) as source:
        asked = f"import urllib.request as u; print(u.urlopen('{source.url('vault')}').read().decode())"
        command = tmp_path / "command"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -S -c "{asked}"\n')
        command.chmod(0o700)
        config = tmp_path / "config"
        config.write_text(f"[profile vault]\ncredential_process = {command}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv(f"{OWN}AWS_PROFILE", "vault")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", source.url("lake"))
        yield source


def test_a_driver_goes_on_when_its_credentials_are_renewed(world: World, server: TokenServer, source: Source) -> None:
    """For longer than any of them is good, without one request too late; and so does a desk beside it."""
    sent, ledger = 0, world.lake_folder / "_control" / "ledger"
    with world.following("run", "--follow") as driver, ExitStack() as desks:
        began = ends = time.monotonic()
        while began == ends or time.monotonic() < ends or len(list(ledger.glob("*"))) < 6:
            assert driver.process.poll() is None and time.monotonic() < began + 240, driver.errors
            people = world.reading("mia", range(sent, sent + 10)), world.reading("ben", range(sent + 10, sent + 15))
            world.publish(*people)
            sent += 15
            time.sleep(1)
            if ledger.exists() and began == ends:
                desk = desks.enter_context(closing(LakeDesk(world.settings)))
                ends = time.monotonic() + 2 * GOOD_S
        renewed = dict(source.given)
        assert 0 < desk.query("sleep", "SELECT count(*) AS n FROM observation").to_pylist()[0]["n"] < sent
        assert driver.end() == 0, driver.errors
    assert server.refused == [] and min(renewed["lake"], renewed["vault"]) > 3
    world.consent(world.link("ben"), world.grant("ben", "sleep"))
    assert world.execute("run", "--once").returncode == 0
    assert world.landed("sleep") == once(range(sent))
    world.assert_sound()
    assert server.refused == []  # nor by whoever has looked since
