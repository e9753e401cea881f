"""A new version starts on what an older one left, a plan in flight among it: nothing is lost, and its tables are this one's."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from infra.local_kafka import Address
from pipelines import circumstances
from pipelines.delta import columns_of, open_table
from pipelines.entries import Kind
from pipelines.files import footer
from pipelines.upgrade import OtherColumns
from schemas.families import FAMILIES, OBSERVATION, QUARANTINE, Family
from tests.lakes import Crash
from tests.worlds import OUTSIDE, World, make_world, once

STUDIES = ("sleep", "cycle")


def without(family: Family, *columns: str) -> Family:
    """The family as it was before it had these columns."""
    left = [field for field in family.schema if field.name not in columns]
    assert len(left) == len(family.schema) - len(columns)
    return Family(family.name, pa.schema(left), family.sort_key)


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """From now on this is an older version, until it is undone: two tables lack columns."""
    monkeypatch.setitem(FAMILIES, "observation", without(OBSERVATION, "released", "app_version"))
    monkeypatch.setitem(FAMILIES, "quarantine", without(QUARANTINE, "released"))
    circumstances._versions.cache_clear()
    return monkeypatch


def become_new(older: pytest.MonkeyPatch) -> None:
    older.undo()
    circumstances._versions.cache_clear()


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    made = make_world(tmp_path, broker.bootstrap, partitions=1)
    made.consent(made.link("ann"), made.grant("ann", "sleep"), made.grant("ann", "cycle"))
    made.publish(made.reading("ann", range(10)), made.reading("ann", [OUTSIDE]))
    return made


def die_at(world: World, step: str) -> None:
    """A driver that dies at the first such step after it has taken over."""

    def crash(found: str) -> None:
        if found == step:
            raise Crash(found)

    with pytest.raises(Crash):
        world.work(on_step=crash)


@pytest.mark.parametrize("step", ["planned", "ran", "append.done", "apply.committed", "told"])
def test_a_plan_in_flight_is_brought_to_its_end_by_the_new_version(
    world: World, older: pytest.MonkeyPatch, step: str
) -> None:
    world.work()
    world.publish(world.reading("ann", range(10, 20)))
    die_at(world, step)
    become_new(older)
    world.publish(world.reading("ann", range(20, 30)))
    said: list[str] = []
    world.work(say=said.append)
    world.assert_sound()
    for study in STUDIES:
        assert world.landed(study) == once(range(30))
        assert world.landed(study, "quarantine") == once([OUTSIDE])
        assert {value for row in world.rows(study, "released, app_version") for value in row.values()} == {None}
    assert_of_this_version(world)
    assert any("gains app_version, released" in line for line in said)
    assert any("versions.columns" in line for line in said)
    widened = len(world.entries(Kind.WIDEN))
    world.work()
    assert len(world.entries(Kind.WIDEN)) == widened == 4


def assert_of_this_version(world: World) -> None:
    """Every table has its family's columns, by its log and in each of its files."""
    for study in STUDIES:
        for name in ("observation", "quarantine"):
            handle = open_table(world.store, f"study={study}/{name}")
            assert handle is not None
            assert set(columns_of(handle).names) == set(FAMILIES[name].schema.names)
    with world.driver() as driver:
        for table in driver.tables.names():
            for file in driver.tables.live_files(table):
                assert footer(world.store, file.path).schema.equals(FAMILIES[table.split("/")[1]].schema)


def test_changed_settings_are_told_before_the_start_at_it_and_in_its_entry(world: World) -> None:
    """Once: whoever starts it again has changed nothing."""
    world.work()
    content = yaml.safe_load(world.config.read_text(encoding="utf-8"))
    content.setdefault("limits", {})["hold_hours"] = 48.0
    world.config.write_text(yaml.safe_dump(content), encoding="utf-8")
    line = "limits.hold_hours: 72.0 -> 48.0"
    assert json.loads(world.execute("settings", "diff", "--json").stdout) == {"changed": [line]}
    assert line in world.execute("settings", "diff").stdout
    for changed in ([line], []):
        done = world.execute("run", "--once")
        assert done.returncode == 0 and (line in done.stdout + done.stderr) == bool(changed)
        assert world.entries(Kind.TAKEOVER)[-1].cause.get("changed", []) == changed
        assert json.loads(world.execute("settings", "diff", "--json").stdout) == {"changed": []}


@pytest.mark.parametrize("step", ["apply.table", "apply.committed", "apply.done"])
def test_an_upgrade_that_is_cut_short_goes_on(world: World, older: pytest.MonkeyPatch, step: str) -> None:
    world.work()
    become_new(older)
    for _ in range(3):  # dies in its first entry each time: a table's columns, or files of one
        with pytest.raises(Crash):
            die_in_upgrade(world, step)
    world.work()
    assert_of_this_version(world)
    world.assert_sound()
    for study in STUDIES:
        assert world.landed(study) == once(range(10))


def die_in_upgrade(world: World, step: str) -> None:
    def crash(found: str) -> None:
        if found == step and world.ledger.head().kind != Kind.TAKEOVER:  # type: ignore[union-attr]
            raise Crash(found)

    with world.driver(on_step=crash):
        pass


def test_columns_of_another_kind_are_refused_in_words(world: World, older: pytest.MonkeyPatch) -> None:
    kind = pa.schema([f if f.name != "modality" else pa.field("modality", pa.int8()) for f in OBSERVATION.schema])
    world.work()
    become_new(older)
    older.setitem(FAMILIES, "observation", Family("observation", kind, OBSERVATION.sort_key))
    circumstances._versions.cache_clear()
    try:
        with pytest.raises(OtherColumns, match="was made by another version"), world.driver():
            pass
    finally:
        become_new(older)
