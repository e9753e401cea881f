"""The demo's pilot: the same for the same day, and its defects are what its sums say."""

import json

import numpy as np
import pytest

from pipelines.demo.batches import Batch
from pipelines.demo.cast import DAY
from pipelines.demo.defects import DEFECTS, By, found_in
from pipelines.demo.expected_pilot import judge_pilot
from pipelines.demo.people import MOTION
from pipelines.demo.pilot import DAYS, METRICS, PEOPLE, Draft, Pilot, pilot
from pipelines.demo.tally import Expected
from quality.checks import checks
from schemas.contracts import decode
from schemas.series import series

FIRST = 20_500


@pytest.fixture(scope="module")
def planted() -> Pilot:
    return pilot(FIRST, 7, DEFECTS)


@pytest.fixture(scope="module")
def clean() -> Pilot:
    return pilot(FIRST, 7)


def test_the_same_day_and_seed_make_the_same_pilot(clean: Pilot, planted: Pilot) -> None:
    again = pilot(FIRST, 7)
    assert [one.value_bytes() for one in again.batches[::17]] == [one.value_bytes() for one in clean.batches[::17]]
    assert again.consent_lines() == clean.consent_lines()
    other = pilot(FIRST, 8)
    assert not {one.key for one in other.batches} & {one.key for one in clean.batches}
    days = {one.day for one in clean.batches}
    assert days == set(range(FIRST, FIRST + DAYS))
    assert max(one.received_us for one in planted.batches) < (FIRST + DAYS) * DAY + 60_000_000


def test_everybody_of_the_clean_pilot_sends_every_metric_every_day(clean: Pilot) -> None:
    sent = {(one.person, one.metric, one.day) for one in clean.batches}
    assert len(sent) == PEOPLE * len(METRICS) * DAYS
    assert not any(len(one.held_back) or len(one.flagged) or one.withheld for one in clean.batches)


def test_each_defect_changes_something(clean: Pilot) -> None:
    for defect in DEFECTS:
        draft = Draft(FIRST, clean.batches, clean.devices)
        defect.plant(draft)
        assert [*map(_told, draft.batches)] != [*map(_told, clean.batches)], defect.what


def _told(of: Batch) -> tuple[object, ...]:
    samples = 0 if of.counts is None else int(of.counts[:, 0].sum())
    return (
        of.subject,
        of.source,
        of.metric,
        of.received_us,
        of.offset_min,
        len(of),
        of.value.sum(),
        samples,
        of.start.tobytes(),
    )


def test_what_is_found_of_defects_is_what_their_batches_say(planted: Pilot) -> None:
    """The counts by check, and the marks on readings, are two accounts of the same."""
    sums, found = Expected(), found_in(DEFECTS)
    judge_pilot(planted, sums)
    own = sums.studies[planted.study]
    assert own.withheld.total() == found[By.WITHHELD, "CF-03"] + found[By.WITHHELD, "TM-02"]
    assert (sums.held, own.duplicate) == (found[By.HELD, "CF-04"], found[By.DUPLICATE, "UQ-01"])
    mild = 5  # of TM-04, flagged only
    held = {check: found[By.GATE, check] for check in ("PL-00", "PL-06", "TM-04")}
    assert own.quarantined == sum(held.values()) - mild
    impossible = 7 + found[By.GATE, "PL-09"]  # which are not plausible either
    flags = sum(n for (by, check), n in found.items() if by == By.GATE and check not in held) + mild
    assert own.flagged == flags - impossible
    assert sums.recalled == found[By.RECALL, "PL-06"]


def test_defects_are_of_checks_that_there_are() -> None:
    assert {check for _, check in found_in(DEFECTS)} <= {name for name, check in checks().items() if check.is_active}


def test_a_message_says_what_its_batch_is(planted: Pilot) -> None:
    for batch in planted.batches[::29]:
        fields = decode(batch.value_bytes(), "sensor-reading")
        found = series(fields)
        assert (fields["subject"], fields["metric"]) == (batch.subject, batch.metric)
        if batch.metric != MOTION:
            np.testing.assert_array_equal(found.start, batch.start)
            np.testing.assert_array_equal(found.values, batch.value)


def test_a_device_of_two_people_is_linked_to_both(planted: Pilot) -> None:
    shared = next(one for one in planted.batches if one.waits)
    links = [json.loads(line) for line in planted.consent_lines() if shared.subject in line]
    assert len({link["member"] for link in links}) == 2
    assert isinstance(shared, Batch)
