"""`wellspring topics create` makes as many copies as it was told to, and leaves it to the cluster where it was not."""

from pathlib import Path

from tests.integration.conftest import StartBroker
from tests.worlds import lay_out


def test_the_cluster_says_how_many_copies_unless_the_operator_does(tmp_path: Path, own_broker: StartBroker) -> None:
    cluster = own_broker({"default.replication.factor": "2"})  # more than it has nodes: every topic has to say
    world = lay_out(tmp_path / "world", cluster.address.bootstrap)
    refused = world.execute("topics", "create")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "replicate the partition 2 time(s)" in refused.stderr
    too_many = world.execute("topics", "create", "--replication", "3")
    assert (too_many.returncode, too_many.stdout) == (1, "")
    assert "replicate the partition 3 time(s)" in too_many.stderr
    done = world.execute("topics", "create", "--replication", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"created"') == 4
    assert world.execute("topics", "create", "--replication", "0").returncode == 2
