"""The law through the whole run: one row lost or doubled anywhere, and nothing is committed."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

from infra.local_kafka import Address
from pipelines import landing, stages
from pipelines.blocks import Block
from pipelines.cli import execute
from pipelines.driver import Driver
from pipelines.entries import Kind
from pipelines.law import LawBroken
from pipelines.replay import replay_ranges
from pipelines.rows import Rows
from pipelines.wanted import parse_ranges
from tests.worlds import World, make_world, once


@pytest.fixture(scope="module")
def world(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two studies; ann is in both, bob in one, cat's consent is for something else, dan is unlinked."""
    made = make_world(tmp_path_factory.mktemp("law"), broker.bootstrap)
    links = [made.link(person) for person in ("ann", "bob", "cat")]
    grants = [made.grant("ann", "sleep"), made.grant("ann", "cycle"), made.grant("bob", "sleep")]
    made.consent(*links, *grants, made.grant("cat", "cycle", metrics=("steps_interval",)))
    return made


numbers = count(0, 100)


@pytest.fixture
def waiting(world: World) -> list[int]:
    """New readings of everybody, published and not yet read; the numbers of ann's."""
    first = next(numbers)
    batches = {
        person: range(first + 20 * i, first + 20 * i + 20) for i, person in enumerate(("ann", "bob", "cat", "dan"))
    }
    world.publish(*(world.reading(person, own) for person, own in batches.items()))
    return list(batches["ann"])


def once_only(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The change is made to the first that it can be made to, and to no other."""
    done: list[bool] = []

    def changed(item: Any) -> Any:
        if done:
            return item
        done.append(True)
        return change(item)

    return changed


def shorter(block: Block) -> Block:
    return Block(block.meta, {**block.parts, "readings": block.readings.slice(1)})


def doubled(block: Block) -> Block:
    rows = np.arange(block.readings.num_rows)
    return Block(block.meta, {**block.parts, "readings": block.readings.take(np.append(rows, rows[-1]))})


def before_decode(patch: pytest.MonkeyPatch) -> None:
    """A record is lost between the reader and the decoder."""
    real, lose = stages.decode_block, once_only(lambda records: records.slice(1))
    patch.setattr(stages, "decode_block", lambda raw, *rest: cut(real, lose(raw), *rest))


def cut(real: Any, raw: Any, topic: str, partition: int, received: Any, *rest: Any) -> Any:
    return real(raw, topic, partition, received[-raw.num_rows :], *rest)


def before_fan_out(patch: pytest.MonkeyPatch, change: Callable[[Block], Block] = shorter) -> None:
    """A reading is lost between the verdicts on messages and the one on readings."""
    real, lose = stages.normalise, once_only(change)

    def losing(block: Block, *rest: Any) -> Any:
        blocks, pointers = real(block, *rest)
        return [lose(one) for one in blocks], pointers

    patch.setattr(stages, "normalise", losing)


def inside_fan_out(patch: pytest.MonkeyPatch, change: Callable[[Block], Block] = shorter) -> None:
    """A reading is lost on its way into a study."""
    real, lose = stages.study_block, once_only(change)
    patch.setattr(stages, "study_block", lambda *arguments: lose(real(*arguments)))


def after_fan_out(patch: pytest.MonkeyPatch) -> None:
    """A row is lost while the rows of a file are gathered."""
    real, lose = landing.join, once_only(lambda rows: rows.take(np.arange(1, len(rows))))
    patch.setattr(landing, "join", lambda blocks: lose(real(blocks)))


def while_sorting(patch: pytest.MonkeyPatch) -> None:
    """A row is lost while they are put in order."""

    def losing(rows: Rows) -> Rows:
        return lose(real(rows))

    real, lose = landing.ordered, once_only(lambda rows: rows.take(np.arange(1, len(rows))))
    patch.setattr(landing, "ordered", losing)


def in_the_file(patch: pytest.MonkeyPatch) -> None:
    """A row is lost by the writer, while the ledger would be told of all."""
    real, lose = landing.write_sorted, once_only(lambda content: content.slice(1))
    patch.setattr(landing, "write_sorted", lambda content, *rest: real(lose(content), *rest))


LOSSES = [
    before_decode,
    before_fan_out,
    lambda patch: before_fan_out(patch, doubled),
    inside_fan_out,
    lambda patch: inside_fan_out(patch, doubled),
    after_fan_out,
    while_sorting,
    in_the_file,
]
NAMES = [
    *("before decode", "before fan-out", "doubled before it", "inside fan-out", "doubled inside it", "after fan-out"),
    *("while sorting", "in the file"),
]


@pytest.mark.parametrize("lose", LOSSES, ids=NAMES)
def test_a_lost_row_stops_the_commit_and_the_next_run_lands_all(
    lose: Callable[[pytest.MonkeyPatch], None], world: World, waiting: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = world.landed("cycle")
    with world.driver() as driver:
        before = driver.ledger.head()
        with monkeypatch.context() as patch:
            lose(patch)
            with pytest.raises(LawBroken, match="the run is not committed"):
                driver.cycle()
        assert driver.ledger.head() == before and world.landed("cycle") == landed
        driver.cycle()
    assert world.landed("cycle") == landed + once(waiting)


def test_the_command_says_so_and_ends_with_1(
    world: World, waiting: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        inside_fan_out(patch)
        assert execute(["run", "--once", "--json", "--config", str(world.config)]) == 1
    said = capsys.readouterr()
    assert '"kind": "ingest"' not in said.out
    assert "considered by" in said.err and "run again" in said.err
    assert execute(["run", "--once", "--config", str(world.config)]) == 0
    assert world.landed("cycle")[waiting[0]] == 1


def test_a_loss_in_a_redrive_and_in_a_replay_stops_them_too(
    world: World, waiting: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.work()
    world.consent(world.link("dan"), world.grant("dan", "cycle"))
    before = len(world.entries(Kind.INGEST, Kind.REDRIVE, Kind.REPLAY))
    for begin in (
        lambda driver: driver.cycle(),
        lambda driver: replay_ranges(driver, parse_ranges([f"{world.topic}/0"])),
    ):
        with world.driver() as driver, monkeypatch.context() as patch:
            inside_fan_out(patch)
            with pytest.raises(LawBroken):
                begin(driver)
    assert len(world.entries(Kind.INGEST, Kind.REDRIVE, Kind.REPLAY)) == before
    with world.driver() as driver:
        driver.cycle()
        assert sum(driver.holds.open_readings().values()) == 0
        replay_ranges(driver, parse_ranges([f"{world.topic}/0"]))
    assert set(world.landed("cycle").values()) == {1}


def test_a_file_that_vanishes_before_the_commit_stops_it(
    world: World, waiting: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(step: str) -> None:
        if step == "ran":
            newest = max(
                world.settings.lake.glob("study=cycle/observation/month=*/*.parquet"), key=lambda p: p.stat().st_mtime
            )
            newest.unlink()

    head = world.ledger.head()
    driver = Driver(world.settings, on_step=vanish)
    try:
        driver.start()
        with pytest.raises((LawBroken, OSError)):
            driver.cycle()
    finally:
        driver.close()
    assert head is not None and [e for e in world.entries(Kind.INGEST) if e.n > head.n] == []
    world.work()
    assert world.landed("cycle")[waiting[0]] == 1


def test_the_entry_says_what_its_files_hold(world: World, waiting: list[int]) -> None:
    (entry,) = [entry for entry in world.work() if entry.kind == Kind.INGEST]
    rows = {table: sum(file.rows for file in change.add) for table, change in entry.tables.items()}
    counts: Any = entry.counts
    assert rows["study=cycle/observation"] == counts["studies"]["cycle"]["landed"]
    assert rows["study=sleep/observation"] == counts["studies"]["sleep"]["landed"] == 40
    assert counts["studies"]["cycle"]["withheld"] == {"R_NO_AUTHORITY": 20}
    world.assert_sound()
    assert [text for text in world.leavings() if "no entry names it" in text] == []
