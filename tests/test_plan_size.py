"""The size of a plan: shared evenly, capped in records and bytes, learned from the last plans, and never nothing."""

from typing import Any

import pytest

from pipelines.entries import Entry
from pipelines.files import describe, new_key, table_key
from pipelines.halt import PlanTooLarge
from pipelines.plan_size import LAST, MB, UNKNOWN_BYTES, Cut, PlanSize, capped, in_turn
from pipelines.settings import Limits
from schemas.families import OBSERVATION
from tests.lakes import Driver, rows

A, B, C = (f"acme.sensor-reading.v1/{number}" for number in range(3))
OTHER = "beta.sensor-reading.v1/0"
TOPIC = "acme.sensor-reading.v1"
ROWS = rows(OBSERVATION, 1)


def size_of(**limits: int) -> PlanSize:
    return PlanSize(Limits(**{"plan_records": 1000, "plan_mb": 100, "plan_files": 100, **limits}))


def taken(cut: Cut) -> dict[str, tuple[int, int]]:
    return {item.key: (item.start, item.end) for item in cut.ranges}


@pytest.fixture
def driver(tmp_path: Any) -> Driver:
    return Driver(tmp_path)


def entry(driver: Driver, cut: Cut, files: int = 0, record_bytes: float = 0, crossed: float = 0, **more: Any) -> Entry:
    """The entry of a plan that read records of so many bytes, each of ten readings, of which `crossed` went to studies."""
    records = cut.cause["records"]
    counts = {
        "topics": {TOPIC: {"records": records, "bytes": round(records * record_bytes)}} if record_bytes else {},
        "readings": {"decoded": records * 10},
        "studies": {"sleep": {"considered": round(records * 10 * (crossed + 1)), "withheld": {"R": records * 10}}},
    }
    table, own = table_key("sleep", "observation"), (driver.ledger.next_n, driver.ledger.epoch)
    written = [describe(new_key(table, "2025-01", *own), ROWS, 1_000) for _ in range(files)]  # nobody opens them
    made = driver.entry(written, counts=counts, **more)
    return made.model_copy(update={"cause": cut.cause})


# -- shares


def test_everything_is_taken_where_it_fits() -> None:
    cut = size_of().cut({A: 5, B: 7}, {A: 10, B: 7, C: 20})
    assert taken(cut) == {A: (5, 10), C: (0, 20)}
    assert cut.cause == {"records": 25}


def test_nothing_is_taken_of_nothing() -> None:
    assert size_of().cut({}, {A: 0}) == Cut([], {}, {"records": 0})
    assert size_of().cut({A: 3}, {A: 3}).ranges == []


def test_records_are_shared_evenly_and_what_one_leaves_goes_to_the_others() -> None:
    cut = size_of(plan_records=90).cut({}, {A: 10, B: 1000, C: 1000})
    assert taken(cut) == {A: (0, 10), B: (0, 40), C: (0, 40)}
    assert cut.cause == {"records": 90, "left": 1920, "cut_by": "plan_records"}


@pytest.mark.parametrize("records", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("most_bytes", [1, 1_000, 10**9])
def test_the_caps_hold_and_never_stall(records: int, most_bytes: int) -> None:
    """Each partition gives something; more than its bytes allow only where a single record is more."""
    costs = {A: 1.0, B: 10.0, OTHER: 10_000.0}
    backlog = in_turn({A: 50, B: 500, OTHER: 5}, 0, records)
    found = capped(backlog, costs, records, most_bytes)
    assert len(found) == min(3, records) and all(1 <= found[key] <= backlog[key] for key in found)
    assert sum(found.values()) <= records
    spent = sum(count * costs[key] for key, count in found.items() if count > 1)
    assert spent <= most_bytes


def test_few_records_are_given_to_all_partitions_in_turn() -> None:
    size = size_of(plan_records=2)
    begin, ends, given = {A: 0, B: 0, C: 0}, {A: 4, B: 100, C: 100}, []
    for _ in range(6):
        cut = size.cut(begin, ends)
        given.append(sorted(taken(cut)))
        begin |= {item.key: item.end for item in cut.ranges}
    assert given == [[A, B], [A, C], [B, C]] * 2
    assert begin == {A: 4, B: 4, C: 4}


# -- bytes


def test_a_first_plan_of_an_unknown_topic_is_neither_the_largest_nor_tiny() -> None:
    cut = size_of(plan_records=10**6, plan_mb=64).cut({}, {A: 10**6})
    assert taken(cut) == {A: (0, 64 * MB // UNKNOWN_BYTES)}
    assert cut.cause["cut_by"] == "plan_mb" and cut.cause["records"] + cut.cause["left"] == 10**6


def test_a_topic_costs_what_its_records_were_and_another_stays_unknown(driver: Driver) -> None:
    size = size_of()
    size.learn(entry(driver, size.cut({}, {A: 100}), record_bytes=MB))
    assert taken(size.cut({}, {A: 1000})) == {A: (0, 100)}
    assert taken(size.cut({}, {OTHER: 1000})) == {OTHER: (0, 1000)}
    shared = taken(size.cut({}, {A: 1000, B: 1000, OTHER: 100}))
    assert shared == {A: (0, 46), B: (0, 47), OTHER: (0, 100)}


def test_the_dearest_of_the_last_plans_counts(driver: Driver) -> None:
    size = size_of(plan_records=10**6)
    for record_bytes in (1_000, MB, *[10_000] * (LAST - 1)):
        size.learn(entry(driver, size.cut({}, {A: 10}), record_bytes=record_bytes))
    assert taken(size.cut({}, {A: 10**6})) == {A: (0, 100)}
    size.learn(entry(driver, size.cut({}, {A: 10}), record_bytes=10_000))
    assert taken(size.cut({}, {A: 10**6})) == {A: (0, 100 * MB // 10_000)}


def test_what_goes_to_many_studies_counts_so_many_times_and_to_none_once(driver: Driver) -> None:
    size = size_of()
    size.learn(entry(driver, size.cut({}, {A: 10}), record_bytes=MB, crossed=4))
    assert taken(size.cut({}, {A: 1000})) == {A: (0, 25)}
    idle = size_of()
    idle.learn(entry(driver, idle.cut({}, {A: 10}), record_bytes=MB, crossed=0))
    assert taken(idle.cut({}, {A: 1000})) == {A: (0, 100)}


def test_a_record_larger_than_the_cap_goes_through_alone_and_unbounded(driver: Driver) -> None:
    size = size_of(plan_mb=1)
    size.learn(entry(driver, size.cut({}, {A: 1}), record_bytes=8 * MB))
    cut = size.cut({}, {A: 1000})
    assert taken(cut) == {A: (0, 1)} and cut.bounds == {}


def test_a_run_may_read_twice_what_was_estimated(driver: Driver) -> None:
    size = size_of()
    assert size.cut({}, {A: 1000}).bounds == {"most_files": 100, "most_bytes": 200 * MB}
    size.learn(entry(driver, size.cut({}, {A: 10}), record_bytes=MB, crossed=4))
    assert size.cut({}, {A: 1000}).bounds["most_bytes"] == 50 * MB
    size.learn(entry(driver, size.cut({}, {A: 10}), record_bytes=80 * MB, crossed=4))
    two = size.cut({}, {A: 1000, B: 1000})
    assert two.bounds["most_bytes"] == 2 * (80 + 80) * MB, "one of each, which is more than the cap"


def test_a_backlog_is_as_much_as_a_plan_by_records_or_by_bytes(driver: Driver) -> None:
    size = size_of()
    assert not size.is_full({A: 500, B: 499}) and size.is_full({A: 500, B: 500})
    size.learn(entry(driver, size.cut({}, {A: 10}), record_bytes=MB))
    assert not size.is_full({A: 99}) and size.is_full({A: 99, B: 1})


# -- files


def test_a_plan_of_too_many_files_is_halved_with_words_down_to_one_record_that_is_not_bounded() -> None:
    size = size_of(plan_records=9)
    said, sizes = [], []
    while (cut := size.cut({}, {A: 100})).bounds:
        sizes.append(cut.cause["records"])
        said.append(size.shrink(PlanTooLarge(cut.cause["records"], "files")))
    assert sizes == [9, 4, 2] and taken(cut) == {A: (0, 1)}
    assert cut.cause == {"records": 1, "left": 99, "cut_by": "plan_files", "shrunk": [1, "plan_files"]}
    assert said[0] == (
        "the plan of 9 records would write more than 100 files (limits.plan_files): "
        "nothing of it is committed, and the next one takes 4"
    )


def test_half_of_a_plan_is_half_of_what_it_took_not_of_what_it_might_have() -> None:
    size = size_of()
    size.shrink(PlanTooLarge(20, "bytes"))
    cut = size.cut({}, {A: 1000})
    assert cut.cause == {"records": 10, "left": 990, "cut_by": "plan_mb", "shrunk": [10, "plan_mb"]}


def test_it_stays_small_while_plans_are_full_of_files_and_grows_back_twofold(driver: Driver) -> None:
    size = size_of(plan_records=100)
    size.shrink(PlanTooLarge(20, "files"))
    takes = []
    for files in (100, 51, 50, 20, 20, 0, 0):
        cut = size.cut({}, {A: 1000})
        takes.append(cut.cause["records"])
        size.learn(entry(driver, cut, files))
    assert takes == [10, 10, 10, 20, 40, 80, 100]
    assert size.cut({}, {A: 1000}).cause == {"records": 100, "left": 900, "cut_by": "plan_records"}


def test_a_plan_of_little_tells_only_as_much_about_a_large_one(driver: Driver) -> None:
    size = size_of()
    size.shrink(PlanTooLarge(200, "files"))
    size.learn(entry(driver, size.cut({}, {A: 2}), 2))
    assert size.cut({}, {A: 1000}).cause["records"] == 100
    size.learn(entry(driver, size.cut({}, {A: 2}), 1))
    assert size.cut({}, {A: 1000}).cause["records"] == 200


def test_a_plan_of_nothing_teaches_nothing(driver: Driver) -> None:
    size = size_of()
    size.shrink(PlanTooLarge(200, "files"))
    size.learn(entry(driver, size.cut({A: 5}, {A: 5})))
    assert size.cut({}, {A: 1000}).cause["records"] == 100


# -- memory


def test_another_driver_learns_the_same_from_the_ledger(driver: Driver) -> None:
    size, past = size_of(), []
    size.shrink(PlanTooLarge(200, "files"))
    for files in (90, 40, 70):
        past.append(entry(driver, size.cut({}, {A: 1000, B: 500}), files, record_bytes=MB / 2, crossed=2))
        size.learn(past[-1])
    limits = Limits(plan_records=1000, plan_mb=100, plan_files=100)
    assert PlanSize(limits, past).cut({}, {A: 1000}) == size.cut({}, {A: 1000})
    assert PlanSize(limits).cut({}, {A: 1000}) != size.cut({}, {A: 1000})


def test_entries_of_other_kinds_and_older_versions_teach_nothing(driver: Driver) -> None:
    size = size_of()
    size.learn(driver.ledger.read(1))
    size.learn(entry(driver, size.cut({}, {A: 10}), record_bytes=MB, kind="redrive"))
    old = entry(driver, size.cut({}, {A: 10}))
    size.learn(old.model_copy(update={"counts": {k: v for k, v in old.counts.items() if k != "topics"}}))
    assert size.cut({}, {A: 10_000}) == size_of().cut({}, {A: 10_000})


def test_a_cap_that_was_lowered_meanwhile_goes_before_what_was_remembered(driver: Driver) -> None:
    size = size_of()
    size.shrink(PlanTooLarge(200, "files"))
    past = [entry(driver, size.cut({}, {A: 1000}), 100)]
    assert PlanSize(Limits(plan_records=30), past).cut({}, {A: 1000}).cause["cut_by"] == "plan_records"
