"""The bucket of a lake or of a vault is gone, or its server dies, in the middle of a cycle: a clean failure in words, and
nothing lost or doubled after the repair.

Each of the two has a server of its own, so that one is there while the other is not.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import pytest

from infra.local_kafka import Address
from tests.arrivals import WORLD, Arrivals
from tests.s3_server import S3Server, s3_server
from tests.steps import Once, heard_by
from tests.worlds import World, make_world

OWN = "WELLSPRING_VAULT_"
NO_BUCKET, NO_SERVER = "there is no such bucket: see its address, and {}", "the server cannot be reached ({})"
STEPS = (
    *("start takeover", "ingest planned", "ingest manifest", "ingest append.done", "ingest told"),
    *("redrive planned", "redrive append.done", "compact begun", "compact append.done"),
)
OF_THE_VAULT = STEPS[:7]
"""Compaction asks nothing of it."""


class Places(NamedTuple):
    """A deployment, and the servers of its lake and its vault."""

    world: World
    lake: S3Server
    vault: S3Server


@pytest.fixture
def places(
    broker: Address, s3: S3Server, s3_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Places]:
    with s3_server(s3_program, tmp_path / "s3-of-the-vault") as vault:
        for name, value in vault.environment.items():
            monkeypatch.setenv(f"{OWN}{name}", value)
        buckets = {"bucket": s3.bucket, "vault_bucket": vault.bucket}
        yield Places(make_world(tmp_path / "world", broker.bootstrap, **buckets, **WORLD), s3, vault)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("whose", ["lake", "vault"])
def test_a_bucket_that_is_gone_or_a_server_that_dies_in_a_cycle_ends_it_in_words_and_nothing_is_lost_or_doubled(
    whose: str, places: Places
) -> None:
    """The lake's server dies at more steps in `test_s3.py`."""
    world, server = places.world, places.lake if whose == "lake" else places.vault
    away = server.bucket.parent.with_name("away")
    gone = NO_BUCKET, lambda: server.bucket.rename(away), lambda: away.rename(server.bucket)
    dead = NO_SERVER, server.kill, server.up
    endpoint = "AWS_ENDPOINT_URL" if whose == "lake" else f"{OWN}AWS_ENDPOINT_URL"
    arrivals = Arrivals(world)
    arrivals.come()
    world.work()
    steps = STEPS if whose == "lake" else OF_THE_VAULT
    for step, (words, fall, repair) in zip(steps, cycle((gone, dead) if whose == "lake" else (dead, gone))):
        arrivals.come()
        fallen = Once(step, fall)
        with heard_by(fallen):
            ended = world.execute("run", "--once", "--take-over")
        repair()
        assert fallen.happened, step
        said = f"wellspring: the {whose}'s bucket: {words.format(endpoint)}"
        assert (ended.returncode, ended.stderr.splitlines()[-1:]) == (1, [said]), (step, ended)
        world.work(take_over=True)
    arrivals.settle()
    arrivals.assert_once()
