"""How long devices were worn, how many days of a week count, and of whom nothing came."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.checks import Check
from quality.desk import LakeDesk
from quality.job.blocks import Windows, worn_minutes
from quality.job.overlaps import MINUTES, minutes_covered
from quality.job.parts import OF_PART, Part, cut
from quality.job.readings import Readings
from quality.job.results import Answers, Name, answered, coarser
from quality.job.segments import DAY_US, MINUTE_US, Array, codes, groups_of, integers, people_in, runs_of
from quality.job.times import moment
from schemas.families import READING_FAMILIES

HEART = "heart_rate"
WEEK = 7
_LIVE = """SELECT pseudonym, since, until FROM enrolled"""
_PRESENT = (
    "SELECT DISTINCT pseudonym, epoch_us(start) // 86400000000 AS day FROM {family} WHERE start >= ? AND start < ?"
)
_MINUTES = """
SELECT DISTINCT pseudonym, epoch_us(start) // 60000000 AS minute FROM observation
WHERE metric = ? AND start >= ? AND start < ?"""
_SIZES = """
SELECT pbucket, least(count(*), count(DISTINCT pseudonym) * 7 * 1440) AS n FROM observation
WHERE metric = ? AND start >= ? AND start < ? GROUP BY pbucket ORDER BY pbucket"""


@dataclass(frozen=True)
class Enrolled:
    """Who has had a live consent, from and until when, microseconds (UTC): one row each [n] for a stretch of time."""

    pseudonym: list[str]
    since: Array
    until: Array

    def between(self, since: int, until: int) -> list[str]:
        """Who had one at some moment of [since, until)."""
        return self._chosen((self.since < until) & (self.until > since))

    def throughout(self, since: int, until: int) -> list[str]:
        """Who had one all the time."""
        return self._chosen((self.since <= since) & (self.until >= until))

    def on(self, day: int) -> list[str]:
        return self.between(day * DAY_US, (day + 1) * DAY_US)

    def _chosen(self, rows: Array) -> list[str]:
        return sorted({self.pseudonym[row] for row in np.flatnonzero(rows).tolist()})


def read_enrolled(desk: LakeDesk, study: str) -> Enrolled:
    table = desk.query(study, _LIVE)
    latest = np.iinfo(np.int64).max
    return Enrolled(
        table.column("pseudonym").to_pylist(),
        integers(table.column("since")),
        integers(table.column("until"), latest),
    )


def wear_time(readings: Readings, windows: Windows | None, day: int, wear: Check, still: Check | None) -> Answers:
    """WT-01: people with less wear than makes a day valid. Measured: hours.

    A minute counts in which a heart rate was measured by any source; one counts until the next, for `carry_min` at most.
    Where a person has acceleration only, what was not still counts, and must last `continuous_hours`. Not applicable to
    people who sent something else only.
    """
    people = np.unique(readings.person)
    minutes = heart_minutes(readings, day, round(wear.number("carry_min")))
    hearts, hours = minutes > 0, minutes / 60
    moved = np.zeros(len(readings.pseudonyms))
    if windows is not None and still is not None:
        np.maximum.at(moved, windows.person, worn_minutes(windows, still) / 60)
    with_blocks = np.zeros(len(readings.pseudonyms), dtype=bool)
    with_blocks[windows.person if windows is not None else []] = True
    worn = np.where(hearts, hours, moved)
    least = np.where(hearts, wear.number("valid_hours"), wear.number("continuous_hours"))
    applies = (hearts | with_blocks)[people]
    return _of_people(wear, day, people, applies, (worn < least)[people], worn[people])


def heart_minutes(readings: Readings, day: int, carry_min: int) -> Array:
    """[people] minutes of the day with a heart rate."""
    hearts = readings.of_metrics((HEART,))
    minute = (hearts.start - day * DAY_US) // MINUTE_US
    until = minute + 1
    pairs = hearts.series.pairs()
    until[:-1] = np.where(pairs & (minute[1:] - minute[:-1] <= carry_min), minute[1:], until[:-1])
    until = np.maximum(until, minute + 1)
    total = np.zeros(len(readings.pseudonyms))
    people = runs_of(hearts.person)
    if people.total:
        total[hearts.person[people.begins]] = minutes_covered(people.of_row, minute, until, people.total)
    return total


def valid_days(desk: LakeDesk, study: str, monday: int, enrolled: Enrolled, wear: Check, check: Check) -> Answers:
    """WT-02: people with too few valid days in a week, of those who were enrolled all the week. Measured: days.

    Judged by the heart rate, as wear time is; not applicable to people without any in the week: silence is another check.
    """
    asked = enrolled.throughout(monday * DAY_US, (monday + WEEK) * DAY_US)
    days = np.full(len(asked), -1, dtype=np.int64)
    for part in cut(desk.query(study, _SIZES, [HEART, moment(monday), moment(monday + WEEK)])):
        pseudonyms, counted = _valid_days_of(desk, study, monday, part, wear)
        place = _places(pseudonyms, asked)
        days[place[place >= 0]] = counted[place >= 0]
    few = days < check.number("valid_days")
    return _of_people(check, monday, np.arange(len(asked)), days >= 0, few, days.astype(np.float64))


def _valid_days_of(desk: LakeDesk, study: str, monday: int, part: Part, wear: Check) -> tuple[list[str], Array]:
    """A part's people of whom there is a heart rate in the week, and how many of its days are valid of each."""
    table = desk.query(study, _MINUTES + OF_PART, [HEART, moment(monday), moment(monday + WEEK), *part])
    person, pseudonyms = codes(table.column("pseudonym"))
    minute = integers(table.column("minute")) - monday * MINUTES
    order = np.lexsort((minute, person))
    person, minute = person[order], minute[order]
    gap = np.append(minute[1:] - minute[:-1], MINUTES)
    same = np.append((person[1:] == person[:-1]) & (minute[1:] // MINUTES == minute[:-1] // MINUTES), False)
    counted = np.where(same & (gap <= wear.number("carry_min")), gap, 1)
    group, first = groups_of(person, minute // MINUTES) if len(person) else (person, person)
    worn = np.bincount(group, counted, minlength=len(first))
    valid = worn >= wear.number("valid_hours") * 60
    return pseudonyms, np.bincount(person[first], valid, minlength=len(pseudonyms)).astype(np.int64)


@dataclass(frozen=True)
class Presence:
    """On which days, counted from 1970, of whom anything came: one row a person and day [n]."""

    pseudonyms: list[str]
    person: Array
    day: Array

    def last_until(self, day: int) -> Array:
        """[people] the last day up to this one with a reading, -1 for none."""
        last = np.full(len(self.pseudonyms), -1, dtype=np.int64)
        seen = self.day <= day
        np.maximum.at(last, self.person[seen], self.day[seen])
        return last


def read_presence(desk: LakeDesk, study: str, first: int, last: int) -> Presence:
    """Of whom there are readings on the days from the first to the last."""
    sql = " UNION ".join(_PRESENT.format(family=family) for family in READING_FAMILIES)
    table = desk.query(study, sql, [moment(first), moment(last + 1)] * len(READING_FAMILIES))
    person, pseudonyms = codes(table.column("pseudonym"))
    return Presence(pseudonyms, person.astype(np.int64), integers(table.column("day")))


def silent(presence: Presence, enrolled: Enrolled, day: int, check: Check) -> Answers:
    """WT-03: people who are enrolled and of whom nothing has come for `silent_days`, this day among them.

    Measured: for how many days. Not applicable to people who have not been enrolled for so long without a break.
    """
    silent_days, lost_days = round(check.number("silent_days")), round(check.number("lost_days"))
    asked = enrolled.throughout((day + 1) * DAY_US - 1, (day + 1) * DAY_US)
    long = set(enrolled.throughout((day + 1 - silent_days) * DAY_US, (day + 1) * DAY_US))
    place = _places(asked, presence.pseudonyms)
    last = presence.last_until(day)
    seen = np.where(place >= 0, last[np.maximum(place, 0)] if len(last) else -1, -1)
    idle = np.where(seen >= 0, day - seen, lost_days)
    applies = np.array([pseudonym in long for pseudonym in asked], dtype=bool)
    return _of_people(check, day, np.arange(len(asked)), applies, idle >= silent_days, idle.astype(np.float64))


class Coverage:
    """How many of the people who are enrolled on a day sent anything, in all and by metric, added up over parts."""

    def __init__(self, enrolled: Enrolled, day: int) -> None:
        self._asked, self._day = pa.array(enrolled.on(day), pa.string()), day
        self._there: dict[Name, int] = {Name(): 0}

    @property
    def enrolled(self) -> int:
        """How many are enrolled."""
        return len(self._asked)

    def add(self, readings: Readings) -> None:
        """Add a part."""
        found = pc.index_in(pa.array(readings.pseudonyms, pa.string()), self._asked)
        is_enrolled = found.is_valid().to_numpy(zero_copy_only=False)[readings.person]
        metrics, of_name = coarser(readings.names, lambda name: Name(family=name.family, metric=name.metric))
        group = of_name[readings.name] + 1 if metrics else readings.name
        for names, groups in (([Name()], np.zeros_like(group)), ([Name(), *metrics], group)):
            there = people_in(readings.person, groups, is_enrolled)
            for name in names:
                self._there.setdefault(name, 0)
            for name, count in zip(names, there.tolist(), strict=False):
                self._there[name] += count

    def answers(self, check: Check) -> Answers:
        """WT-04: enrolled people of whom nothing is there that day, of any metric and of each. Measured: the share that is."""
        names = list(self._there) if self.enrolled else []
        there, everybody = np.array([self._there[name] for name in names], dtype=np.int64), self.enrolled
        asked = np.full(len(names), everybody, dtype=np.int64)
        nobody = np.zeros_like(asked)
        return Answers(
            check.id,
            self._day,
            names,
            np.arange(len(names)),
            np.full(len(names), -1),
            asked,
            asked - there,
            nobody,
            there / max(1, everybody),
            people=asked,
        )


def _places(wanted: list[str], among: list[str]) -> Array:
    """[wanted] the place of each among others, -1 where it is not."""
    found = pc.index_in(pa.array(wanted, pa.string()), pa.array(among, pa.string()))
    return np.asarray(found.fill_null(-1)).astype(np.int64)


def _of_people(check: Check, day: int, people: Array, applies: Array, fails: Array, measured: Array) -> Answers:
    name = np.zeros(len(people), dtype=np.int64)
    return answered(check.id, day, [Name()], name, people, applies=applies, fails=fails, measured=measured)
