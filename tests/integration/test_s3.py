"""A lake in a bucket of a real S3 server: it lands, is read and is checked as one in a folder."""

from pathlib import Path

from infra.local_kafka import Address
from tests.s3_server import S3Server
from tests.worlds import make_world, once


def test_a_lake_in_a_bucket(broker: Address, s3: S3Server, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, bucket=s3.bucket, compact_files=3)
    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    for first in range(0, 400, 100):
        world.publish(world.reading("mia", range(first, first + 100)))
        world.work()
    assert world.landed("sleep") == once(range(400))
    world.assert_sound()
    assert {entry.kind for entry in world.entries()} >= {"takeover", "ingest", "compact"}
