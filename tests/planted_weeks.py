"""Five weeks of twelve people, sparsely measured, for the defects that take weeks to be seen; told as the demo's pilot."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pipelines.demo.batches import SECOND, Batch, Source
from pipelines.demo.cast import DAY, HOUR, MINUTE
from pipelines.demo.defects import By
from pipelines.demo.people import HEART, SKIN
from pipelines.demo.pilot import Pilot, beats, instants, participants

DAYS, PEOPLE = 35, 12
METRICS = (HEART, SKIN)
_OLD, _NEW = Source("watch", "Pace 1", "1.4.0"), Source("watch", "Pace 1", "1.5.0")
_RENEWED, _WARM_DAY, _SHORT_DAYS, _NIGHTS_MOVED = 33, 20, range(7, 11), 31

FOUND = {
    (By.JOB, "TM-05"): DAYS - 4,  # from the fifth day on
    (By.JOB, "TM-08"): DAYS - _NIGHTS_MOVED - 2,  # from the third night on
    (By.JOB, "PL-07"): 1,
    (By.JOB, "PL-08"): DAYS - _RENEWED,
    (By.JOB, "WT-01"): len(_SHORT_DAYS),
    (By.JOB, "WT-02"): 1,
}
"""A clock that loses ten seconds a day, nights that lie six hours later, a day that is warmer for everybody, a new firmware
that measures four degrees more, and somebody who wears the watch for nine hours on four days of a week.
"""


def weeks(monday: int, study: str, seed: int, planted: bool) -> Pilot:
    """The five weeks from a Monday on (days since 1970, UTC), with these defects or without."""
    people, devices = participants(study, METRICS, PEOPLE, (monday, DAYS), seed, study)
    batches = [
        batch
        for number, device in enumerate(devices)
        for day in range(DAYS)
        for batch in _day(number, device.subject, monday, day, np.random.default_rng([seed, number, day]))
    ]
    found = [_with_defects(batch, batch.day - monday) for batch in batches] if planted else batches
    return Pilot(study, monday, DAYS, people, devices, tuple(found))


def _day(person: int, subject: str, monday: int, day: int, rng: np.random.Generator) -> Iterator[Batch]:
    begin, source = (monday + day) * DAY, _NEW if day >= _RENEWED else _OLD
    often, hourly = (np.arange(begin, begin + DAY, step) for step in (10 * MINUTE, HOUR))
    yield instants(person, subject, source, HEART, often, beats(often, rng, noise=0.3))
    yield instants(person, subject, source, SKIN, hourly, 33 + rng.normal(0, 0.3, len(hourly)))


def _with_defects(batch: Batch, day: int) -> Batch:
    if batch.person == 0:
        return replace(batch, received_us=batch.received_us + day * 10 * SECOND)
    if (batch.person, batch.metric) == (1, HEART) and day >= _NIGHTS_MOVED:
        return replace(batch, value=np.roll(batch.value, 36))
    if (batch.person, batch.metric) == (2, HEART) and day in _SHORT_DAYS:
        return batch.pick(slice(0, 54))
    if batch.metric == SKIN and (day == _WARM_DAY or day >= _RENEWED):
        return replace(batch, value=batch.value + 4)
    return batch
