"""The quality job on a real broker: what has landed is judged, and judges the next messages as a whole."""

import json

import pytest

from infra.local_kafka import Address
from pipelines.entries import Kind
from pipelines.follow import work_off
from tests.worlds import HOUR, Message, World, make_world

METRIC, KILOGRAM, POUND = "weight", "kg", "[lb_av]"
PEOPLE = ("ann", "bob", "cat")
STUDY = "sleep"


@pytest.fixture(scope="module")
def world(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three people who weigh themselves; nothing is said of fewer than two."""
    made = make_world(tmp_path_factory.mktemp("judging"), broker.bootstrap, studies=(STUDY,))
    (made.folder / "studies.yaml").write_text(f"studies: [{{id: {STUDY}, smallest_cell: 2}}]\n", encoding="utf-8")
    for person in PEOPLE:
        made.consent(made.link(person), made.grant(person, STUDY, metrics=(METRIC,)))
    return made


def weights(world: World, person: str, *values: float, unit: str = KILOGRAM, hour: int = 0) -> Message:
    """A message of weights a second apart, so many hours after the first ones."""
    start = world.start_of(0) + hour * HOUR
    return world.reading(person, range(len(values)), values=[*values], start=start, metric=METRIC, unit=unit)


def work(world: World) -> list[str]:
    """A driver works off everything there is; the kinds of its entries."""
    kinds: list[str] = []
    with world.driver(on_entry=lambda entry: kinds.append(str(entry.kind))) as driver:
        work_off(driver)
    return kinds


def test_a_mixed_up_unit_is_held_back_once_days_have_been_judged(world: World) -> None:
    world.publish(*(weights(world, person, *[68.0 + n] * 6) for n, person in enumerate(PEOPLE)))
    assert work(world) == [Kind.INGEST, Kind.JUDGE]
    summary = world.rows(STUDY, "level, metric, people, median", "day_summary")
    assert {"level": "metric", "metric": METRIC, "people": 3, "median": 69.0} in summary

    in_pounds = [150.0, 150.4, 149.8, 150.2, 151.0]  # and the device said kilograms
    world.publish(weights(world, "ann", *in_pounds, hour=1), weights(world, "bob", *[69.5] * 5, hour=1))
    assert work(world) == [Kind.INGEST, Kind.JUDGE]
    held = world.rows(STUDY, "value, flags", "quarantine")
    assert sorted(row["value"] for row in held) == sorted(in_pounds)
    assert {row["flags"] & 1 << 8 for row in held} == {1 << 8}
    assert len(world.rows(STUDY, "value")) == 18 + 5

    counts = world.rows(STUDY, "n_eval, n_fail, n_na, entry", "check_count")
    assert counts
    answers = [
        (row["n_eval"], row["n_fail"], row["n_na"])
        for row in sorted(
            world.rows(STUDY, 'entry, "check", n_eval, n_fail, n_na', "check_count"), key=lambda r: r["entry"]
        )
        if row["check"] == "PL-06"
    ]
    assert [sum(column) for column in zip(*answers, strict=True)] == [10, 5, 18]
    world.assert_sound()


def test_pounds_that_say_so_are_no_mistake(world: World) -> None:
    before = len(world.rows(STUDY, "value", "quarantine"))
    world.publish(weights(world, "cat", *[152.0] * 5, unit=POUND, hour=2))
    work(world)
    assert len(world.rows(STUDY, "value", "quarantine")) == before


def test_a_day_has_one_answer_however_often_it_is_judged(world: World) -> None:
    results = (
        'SELECT judge, "check", start, family, partner, metric, device_model, firmware, count(*) AS n '
        "FROM sleep_check_result GROUP BY ALL HAVING n > 1"
    )
    ended = world.execute("lake", "sql", results, "--json")
    assert (ended.returncode, ended.stdout) == (0, "")
    day = world.rows(STUDY, "start", "day_summary")[0]["start"].date().isoformat()
    assert world.execute("quality", "run", "--study", "nobody", "--day", day).returncode == 1
    assert world.execute("quality", "run", "--study", STUDY, "--day", "yesterday").returncode == 2
    left = world.execute("quality", "run", "--study", STUDY, "--day", day, "--no-wait", "--json")
    assert json.loads(left.stdout)["selection"]["about"] == {"day": day}
    assert work(world) == [Kind.JUDGE]
    assert world.execute("lake", "sql", results, "--json").stdout == ""


def test_the_status_says_how_far_it_has_come(world: World) -> None:
    ended = world.execute("quality", "status", "--json")
    told = json.loads(ended.stdout)
    assert (told["days_left"], told["last_failure"]) == ({}, None)
    assert told["judged_through"] > 0
    assert "days left: none" in world.execute("quality", "status").stderr


def test_suites_judge_a_day_again_and_count_what_the_gate_counted(world: World) -> None:
    day = min(row["start"] for row in world.rows(STUDY, "start")).date().isoformat()
    ended = world.execute("quality", "suites", "--study", STUDY, "--day", day, "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["differences"], told["failures"], told["whole"]) == ([], [], ["observation"])
    assert {"PL-00", "TM-10"} <= {one["check"] for one in told["checks"]}
    kept = world.rows(STUDY, 'judge, "check", n_eval', "check_result")
    assert {row["check"] for row in kept if row["judge"] == "suite" and row["n_eval"]} >= {"PL-00", "TM-04"}
    world.assert_sound()
    assert world.execute("quality", "suites", "--study", STUDY, "--day", "1999-01-01").returncode == 0
    assert world.execute("quality", "suites", "--study", "nobody").returncode == 1
