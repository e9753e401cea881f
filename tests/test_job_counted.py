"""The gate's counts with the people behind them: each once, by the rows that stand, and nobody where these disagree."""

import random
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from quality.checks import checks
from quality.desk import StudyFacts
from quality.gate import BITS
from quality.job import parts
from quality.job.judge import judge_days
from quality.job.results import GATE
from quality.job.times import as_day
from schemas.families import CHECK_COUNT, CHECK_RESULT, DECISION, LAB_RESULT, OBSERVATION, QUARANTINE
from tests import planted
from tests.desks import FakeDesk
from tests.lakes import rows as filled
from tests.planted import FIRST, MINUTE, at
from tests.recount import recount

Row = dict[str, Any]
STRATUM = ("partner", "family", "metric", "device_model", "firmware")
LATE, EARLY = 1 << BITS["PL-01"], 1 << BITS["TM-10"]


def observed(who: str, count: int, flags: int = 0, hour: float = 8, **columns: Any) -> pa.Table:
    """Heart rates of one person, a minute apart."""
    start = [at(FIRST, hour) + n * MINUTE for n in range(count)]
    bucket = int(who.removeprefix("p"))
    said = {"start": start, "end": start, "metric": "heart_rate", "pseudonym": who, "pbucket": bucket, "flags": flags}
    return planted.rows("observation", count, **{**said, **columns})


def counts_of(rows: Iterable[Row], **more: Any) -> pa.Table:
    """The table of counts that the gate makes of such rows."""
    found = []
    for (*stratum, day, check), numbers in recount(rows).items():
        counted = dict(zip(("n_eval", "n_fail", "n_na"), map(int, numbers), strict=True))
        named = dict(zip(STRATUM, stratum, strict=True))
        found.append({**named, "start": day, "check": check, "version": 1, "entry": 1, **counted, **more})
    table = pa.Table.from_pylist(found, CHECK_COUNT.schema.set(5, pa.field("start", pa.date32())))
    return table.cast(CHECK_COUNT.schema)


def seen_by(tables: dict[str, pa.Table]) -> list[Row]:
    """The rows that the gate has counted."""
    found = [{**row, "family": row.get("family", name)} for name, table in tables.items() for row in table.to_pylist()]
    return [row for row in found if row["start"].date() == as_day(FIRST)]


def judged(tables: dict[str, pa.Table], **more: pa.Table) -> list[Row]:
    """What the job finds of the gate's counts that day."""
    lake = {**tables, "check_count": counts_of(seen_by(tables)), **more}
    desk = FakeDesk({"s": StudyFacts("s")}, {"s": lake})
    found = judge_days(desk, "s", [as_day(FIRST)], {}, None)
    assert found.results.schema == CHECK_RESULT.schema
    return [row for row in found.results.to_pylist() if row["judge"] == GATE]


def whole(found: list[Row], check: str) -> tuple[int, ...]:
    """Of all strata: evaluated and failed, then people: evaluated, failing, passing, and how often one was evaluated."""
    (row,) = [row for row in found if row["check"] == check and row["family"] is None]
    names = ("n_eval", "n_fail", "people", "people_failing", "people_passing", "most_of_one")
    return tuple(row[name] for name in names)


def test_forty_rows_that_fail_are_one_person_s() -> None:
    tables = {
        "observation": pa.concat_tables([observed("p0", 40, LATE), *(observed(f"p{n}", 5) for n in range(1, 20))])
    }
    assert whole(judged(tables), "PL-01") == (135, 40, 20, 1, 19, 40)


def test_who_is_in_several_strata_is_one_person_in_all_of_them() -> None:
    watch = [observed(f"p{n}", 3, LATE, device_model="watch") for n in range(4)]
    ring = [observed(f"p{n}", 2, device_model="ring", hour=9) for n in range(2, 6)]
    found = judged({"observation": pa.concat_tables([*watch, *ring])})
    assert whole(found, "PL-01") == (20, 12, 6, 4, 4, 5)
    models = {row["device_model"]: row for row in found if row["check"] == "PL-01" and row["family"]}
    assert [models[name]["people"] for name in ("watch", "ring")] == [4, 4]
    assert [models[name]["people_failing"] for name in ("watch", "ring")] == [4, 0]
    assert [models[name]["most_of_one"] for name in ("watch", "ring")] == [3, 2]


def in_quarantine(count: int, **columns: Any) -> pa.Table:
    """Rows of observations that are held back."""
    place = QUARANTINE.schema.get_field_index("family")
    return filled(QUARANTINE, count, **columns).set_column(
        place, QUARANTINE.schema.field(place), pa.array(["observation"] * count)
    )


def some_rows(seed: int) -> dict[str, pa.Table]:
    """A day's rows of seven people, of several families and sources, with whatever a check may need, or without."""
    rng = random.Random(seed)
    start = [at(FIRST, rng.randrange(24)) for _ in range(120)]
    common = {
        "pseudonym": [f"p{rng.randrange(7)}" for _ in start],
        "start": start,
        "end": [one + rng.randrange(2) * MINUTE for one in start],
        "offset_min": [rng.choice([None, 60]) for _ in start],
        "device_model": [rng.choice([None, "A"]) for _ in start],
        "firmware": [rng.choice([None, "1.0.0"]) for _ in start],
        "partner": [rng.choice(["acme", "beat"]) for _ in start],
        "source": ["x"] * len(start),
    }
    common["pbucket"] = [int(who[1:]) for who in common["pseudonym"]]
    metrics = [rng.choice(["heart_rate", "steps_interval", "sleep_stage"]) for _ in start]
    collected = [rng.choice([None, one]) for one in start]
    lab = {"specimen64": [rng.choice([None, 7]) for _ in start], "collected": collected, "arrived": collected}
    flags = [rng.choice([0, 0, EARLY, LATE if metric == "heart_rate" else 0]) for metric in metrics]
    results = {**lab, "metric": ["potassium"] * len(start), "flags": [f & EARLY for f in flags]}
    held = {**lab, "metric": metrics, "flags": [f | (m != "sleep_stage") for f, m in zip(flags, metrics, strict=True)]}
    return {
        "observation": filled(OBSERVATION, len(start), **common, metric=metrics, flags=flags),
        "lab_result": filled(LAB_RESULT, len(start), **common, **results),
        "quarantine": in_quarantine(20, **{name: of[:20] for name, of in {**common, **held}.items()}),
    }


def by_person(rows: list[Row]) -> Iterator[tuple[tuple[Any, ...], dict[str, tuple[int, int]]]]:
    """Each stratum's check, and all of a check's, with each person's rows: how many were evaluated, and failed."""
    people = sorted({row["pseudonym"] for row in rows})
    sums: dict[tuple[Any, ...], dict[str, tuple[int, int]]] = {}
    for who in people:
        for (*stratum, _, check), (evaluated, failed, _) in recount(r for r in rows if r["pseudonym"] == who).items():
            for key in ((*stratum, check), (*[None] * len(STRATUM), check)):
                before = sums.setdefault(key, {}).get(who, (0, 0))
                sums[key][who] = (before[0] + evaluated, before[1] + failed)
    yield from sums.items()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("part_rows", [1, 10**6])
def test_people_are_those_whom_the_rows_name(seed: int, part_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", part_rows)
    tables = some_rows(seed)
    names = ("people", "people_failing", "people_passing", "most_of_one")
    found = {
        (*(row[name] for name in STRATUM), row["check"]): tuple(row[name] for name in names) for row in judged(tables)
    }
    wanted = {
        key: (
            sum(evaluated > 0 for evaluated, _ in of.values()),
            sum(failed > 0 for _, failed in of.values()),
            sum(evaluated > failed for evaluated, failed in of.values()),
            max(evaluated for evaluated, _ in of.values()),
        )
        for key, of in by_person(seen_by(tables))
    }
    assert found == wanted


def test_whoever_is_in_quarantine_alone_is_known_too() -> None:
    times = {"start": [at(FIRST, 1)] * 3, "end": [at(FIRST, 1)] * 3}
    said = {"pseudonym": ["a", "a", "b"], "metric": ["heart_rate"] * 3, "flags": [1] * 3, "partner": ["acme"] * 3}
    tables = {"quarantine": in_quarantine(3, **times, **said)}
    assert whole(judged(tables), "PL-00") == (3, 3, 2, 2, 0, 2)


def test_behind_a_count_that_the_rows_do_not_bear_out_stands_nobody() -> None:
    """An entry may come between the questions: then more was counted than is read, or less."""
    tables = {"observation": pa.concat_tables([observed(f"p{n}", 5, LATE * (n < 3)) for n in range(6)])}
    assert whole(judged(tables), "PL-01")[2:5] == (6, 3, 4 - 1)
    more = seen_by(tables) + seen_by({"observation": observed("p9", 1)})
    failed = seen_by(tables) + seen_by({"observation": observed("p9", 1, LATE)})
    for rows in (more, failed, seen_by(tables)[1:]):
        assert whole(judged(tables, check_count=counts_of(rows)), "PL-01")[2:5] == (0, 0, 0)


def test_readings_too_few_to_be_compared_are_of_nobody() -> None:
    """PL-06 judges messages of enough readings: only who sent such a one stands behind it."""
    least = round(checks()["PL-06"].number("least_readings"))
    tables = {
        "observation": pa.concat_tables(
            [
                observed("p0", least, metric="skin_temperature", origin=[b"long"] * least),
                observed("p1", 1, metric="skin_temperature", origin=[b"short"]),
            ]
        )
    }
    rows = counts_of(seen_by(tables)).to_pylist()
    rows = [{**row, "n_eval": least, "n_na": 1} if row["check"] == "PL-06" else row for row in rows]
    counts = pa.Table.from_pylist(rows, CHECK_COUNT.schema)
    assert whole(judged(tables, check_count=counts), "PL-06") == (least, 0, 1, 0, 1, least)


# -- after a sign-off


def signed(entry: int) -> pa.Table:
    about = f'{{"day": "{as_day(FIRST)}"}}'
    return filled(DECISION, 1, kind=["sign-off"], about=[about], entry=[entry])


@pytest.mark.parametrize(("found_in", "stays"), [(4, False), (6, True)])
def test_results_of_a_day_that_is_signed_off_stay_as_they_were_found_next(found_in: int, stays: bool) -> None:
    observation = pa.concat_tables([observed(f"p{n}", 5) for n in range(6)])
    earlier = filled(
        CHECK_RESULT, 2, 0, at(FIRST), judge=["gate", "job"], check=["PL-01", "TM-09"], entry=[found_in] * 2
    )  # fmt: skip
    lake = {
        "observation": observation,
        "check_count": counts_of(seen_by({"observation": observation})),
        "decision": signed(5),
        "check_result": earlier,
    }
    desk = FakeDesk({"s": StudyFacts("s")}, {"s": lake})
    some = {name: checks()[name] for name in ("TM-09", "UQ-03")}
    found = judge_days(desk, "s", [as_day(FIRST)], some, None)
    told = {(row["judge"], row["check"]) for row in found.results.to_pylist()}
    assert (("gate", "PL-01") not in told) is (("job", "TM-09") not in told) is stays
    assert ("job", "UQ-03") in told or not any(check == "UQ-03" for _, check in told), "it was not found before"
    assert (as_day(FIRST) not in found.counted) is (("TM-09", as_day(FIRST)) not in found.replaced) is stays
    assert ("UQ-03", as_day(FIRST)) in found.replaced and as_day(FIRST) in found.summarised
