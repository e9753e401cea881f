"""The command where nothing can be written but one folder, as the image promises: over a real broker, without a home."""

import sys
from pathlib import Path

import pytest
import yaml

from infra.local_kafka import Address
from tests.documents import ROOT
from tests.read_only import PLACE, can_be_made, run_read_only
from tests.worlds import make_world

pytestmark = pytest.mark.skipif(not can_be_made(), reason="this user may make no read-only root (unshare --mount)")
WELLSPRING = [sys.executable, "-m", "pipelines.cli"]


def test_nothing_else_can_be_written(tmp_path: Path) -> None:
    for place in (ROOT / "x", Path("/x"), Path("/tmp/x"), Path("/var/tmp/x")):
        assert "Read-only" in run_read_only(["touch", str(place)], tmp_path, {}).stderr
    assert run_read_only(["touch", f"{PLACE}/x"], tmp_path, {}).returncode == 0 and (tmp_path / "x").exists()


def test_a_driver_needs_no_other_place_than_its_lake_its_vault_and_one_for_a_while(
    broker: Address, tmp_path: Path
) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, studies=("sleep",))
    said = yaml.safe_load(world.config.read_text(encoding="utf-8"))
    world.config.write_text(yaml.safe_dump({**said, "lake": "lake", "vault": "vault"}), encoding="utf-8")
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    environment = {"WELLSPRING_CONFIG": f"{PLACE}/wellspring.yaml", "PYTHONPATH": str(ROOT)}
    for words in (
        ["run", "--once"],
        ["status"],
        ["lake", "check"],
        ["lake", "sql", "select count(*) from sleep_observation"],
    ):
        done = run_read_only([*WELLSPRING, *words], world.folder, environment)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert "10" in done.stdout and sum(world.landed("sleep").values()) == 10
    assert list((world.folder / "tmp").iterdir()) == []
