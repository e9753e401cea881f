"""Bundles that ran apart: whether two of them have brought the same, and what becomes of the run then."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.accounts import note
from pipelines.apart import bring_the_same
from pipelines.halt import MustNotRunApart, heed
from pipelines.landing import publish
from pipelines.plan import Plan
from pipelines.stages import Ranges, write_manifest
from pipelines.store import FolderStore
from schemas.families import FAMILIES
from tests import test_graph
from tests.lakes import rows

OBSERVATION = FAMILIES["observation"]
TABLE = "study=sleep/observation"


def written(store: FolderStore, count: int, first: int = 0, table: str = TABLE, **columns: Any) -> dict[str, Any]:
    """A file as a note tells of it."""
    content = rows(OBSERVATION, count, first, **columns)
    return publish(store, content, table, "2025-01", 1, 1).model_dump(mode="json")


def bundles(*files: dict[str, Any], study: str = "sleep") -> dict[str, dict[str, list[str]]]:
    return {study: {str(n): [file["path"]] for n, file in enumerate(files)}}


def test_the_same_reading_in_two_bundles_is_seen(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first, second, third = (written(store, 10, at) for at in (0, 10, 19))
    assert not bring_the_same(bundles(first, second), store)
    assert bring_the_same(bundles(first, second, third), store)


def test_so_are_revisions_of_one_record(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = written(store, 2, 0, record64=[7, None])
    assert bring_the_same(bundles(first, written(store, 2, 10, record64=[None, 7])), store)
    assert not bring_the_same(bundles(first, written(store, 2, 20, record64=[None, 8])), store)


def test_of_one_bundle_of_other_people_or_in_other_studies_nothing_is_the_same(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first, again = written(store, 5), written(store, 5)
    assert not bring_the_same({"sleep": {"a": [first["path"], again["path"]]}}, store)
    other = written(store, 5, pseudonym=["q"] * 5)
    assert not bring_the_same(bundles(first, other), store)
    elsewhere = written(store, 5, table="study=cycle/observation")
    assert not bring_the_same({**bundles(first), **bundles(elsewhere, study="cycle")}, store)


def test_such_a_run_leaves_no_manifest_and_none_of_its_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    made = test_graph.plan().model_copy(update={"lake": str(tmp_path), "vault": str(tmp_path / "vault")})
    notes = [
        note("write", study="sleep", bundle=name, duplicate=0, people={}, files=[written(store, 5)], answers=[])
        for name in ("a", "b")
    ]
    write_manifest(made, notes)
    with pytest.raises(MustNotRunApart):
        heed(made, store)
    assert list(store.list("")) == []


def test_in_one_piece_all_partitions_are_one_workers() -> None:
    made = test_graph.plan()
    ranges = (made.ranges[0], made.ranges[0].model_copy(update={"partition": 1}))

    def keys(plan: Plan) -> list[str]:
        return [key for key, _ in Ranges(plan).each(b"")]

    made = made.model_copy(update={"ranges": ranges})
    assert keys(made) == [one.key for one in ranges]
    assert keys(made.model_copy(update={"in_one_piece": True})) == ["", ""]


def test_what_travels_in_the_manifest_does_not_say_which_bundle() -> None:
    from pipelines.accounts import total

    told = note("write", study="sleep", bundle="a", duplicate=0, people={}, files=[], answers=[])
    assert "bundles" not in json.loads(total([told]).to_json())
