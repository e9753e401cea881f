"""Hostile files at the doors: refused within the limits, in memory that stays, and the next file lands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from schemas.contracts import decode
from schemas.lab_results import lab_report
from tests.canaries import MARK
from tests.hostile_files import good
from tests.worlds import ROOT, World, make_world, on_topic

MIB = 1024 * 1024
ROOM = 32 * MIB  # what hostile files may take beside what a small one takes: pieces, a batch, a message
REFUSED: dict[str, dict[str, str]] = {
    "apple-health": {
        "a zip bomb": "unpacks to far more than an export",
        "a zip in a zip": "holds no export",
        "a path that climbs out of the zip": "a name in the zip leads out of it",
        "laughs by the billion": "defines entities",
        "an attribute of a gigabyte": "a tag is longer than 1 MB",
        "a comment of a gigabyte": "a tag is longer than 1 MB",
        "elements in each other without end": "too deeply",
        "nothing at all": "empty",
    },
    "hl7v2": {
        "a message without its header": "this is no HL7 v2 file",
        "a line without end": "this is no HL7 v2 file",
        "an archive": "it seems to be Apple Health export",
        "nothing at all": "empty",
    },
}
READ_ON = {
    "a header of a gigabyte": {"published": 0, "problems": {"R_HEADER": 1}, "partial": None},
    "a value of a gigabyte": {"published": 2, "problems": {"R_TOO_LARGE": 1}, "partial": None},
}


def worked(broker: Address, folder: Path, kind: str, contract: str) -> tuple[World, dict[str, Any]]:
    """What one worker said that published them all."""
    world = make_world(folder / "world", broker.bootstrap, studies=["sleep"], partner={"contracts": [contract]})
    words = [sys.executable, "-m", "tests.hostile_files", str(world.config), world.partner, kind, str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert MARK not in done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return world, told


def assert_refused(told: dict[str, Any], kind: str) -> None:
    for name, words in REFUSED[kind].items():
        assert words in told["told"][name]["partial"], name
        assert not told["told"][name]["problems"]
    grown = told["after"] - told["before"]
    assert grown < ROOM, f"{told['before'] / MIB:.0f} MB became {told['after'] / MIB:.0f} MB"
    assert told["goods"] == [{"published": 1, "problems": {}, "partial": None}] * (len(told["told"]) + 1)


def test_hostile_exports_are_refused_and_the_next_ones_land(broker: Address, tmp_path: Path) -> None:
    world, told = worked(broker, tmp_path, "apple-health", "app-export")
    assert_refused(told, "apple-health")
    assert set(told["told"]) == set(REFUSED["apple-health"])
    before_the_harm = [one for one in told["told"].values() if one["published"]]
    assert [one["published"] for one in before_the_harm] == [1, 1, 1]  # a record that is whole is read
    assert not (tmp_path.parent / "climbed.xml").exists() and not list(tmp_path.rglob("climbed.xml"))
    world.consent(world.link("ann"), world.grant("ann", "sleep", effective_at=1_262_304_000_000_000))
    world.work()
    values = [row["value"] for row in world.rows("sleep", "value")]
    assert sorted(values) == [59.0, *(60.0 + number for number in range(len(told["goods"])))]
    world.assert_sound()


def test_hostile_results_are_refused_and_the_next_ones_are_published(broker: Address, tmp_path: Path) -> None:
    world, told = worked(broker, tmp_path, "hl7v2", "lab-result")
    assert_refused(told, "hl7v2")
    assert {name: told["told"][name] for name in READ_ON} == READ_ON
    assert set(told["told"]) == {*REFUSED["hl7v2"], *READ_ON}
    reports = [lab_report(decode(value, "lab-result")) for _, value in on_topic(world, "lab-result")]
    assert sorted(one.subject for one in reports) == sorted(["KIT1", *(f"KIT{n}" for n in range(len(told["goods"])))])


@pytest.mark.parametrize("kind", REFUSED)
def test_the_good_files_are_small(kind: str) -> None:
    """So that the memory before the harm is that of a small file."""
    assert len(good(kind, 1)) < 10_000
