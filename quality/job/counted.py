"""The gate's counts of a day, with how many people stand behind them: from the rows that stand there now.

The gate counts rows, and a plan does not know who comes again in the next. So people are counted here, once the day has
been read. Whether a check applied says the count itself, since ranges may have changed since. Where rows and counts do
not agree, as while an entry comes in between, nobody is said to stand behind the count: then it is not told.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from quality.applicable import ALWAYS, Condition, conditions, of_rows
from quality.checks import checks
from quality.desk import LakeDesk
from quality.job.parts import OF_PART, Part
from quality.job.readings import strata_of
from quality.job.results import GATE, Name
from quality.job.segments import DAY_US, Array, codes, groups_of, integers
from quality.job.times import moment
from quality.message_checks import UNITS
from schemas.families import FAMILIES, QUARANTINE, READING_FAMILIES

_NONE, _ALL, _SOME = 1, 2, 3
"""To which rows of a stratum a check applied; 0 where it was not counted there."""
_STRATUM = ", ".join(Name._fields)
_COUNTS = f"""
SELECT {_STRATUM}, "check", max(version) AS version, CAST(sum(n_eval) AS BIGINT) AS n_eval,
  CAST(sum(n_fail) AS BIGINT) AS n_fail, CAST(sum(n_na) AS BIGINT) AS n_na
FROM check_count WHERE start >= ? AND start < ? GROUP BY ALL"""
_ROWS = """
SELECT partner, {family} AS family, metric, device_model, firmware, pseudonym, flags, {conditions}, count(*) AS n
FROM {view} WHERE start >= ? AND start < ?{part} GROUP BY ALL"""
_COMPARED = """
coalesce(metric IN ({metrics}) AND origin IN (
  SELECT origin FROM {view} WHERE start >= ? AND start < ?{part} AND metric IN ({metrics})
  GROUP BY origin HAVING count(*) >= {least}), false)"""
_CONDITIONS: tuple[Condition, ...] = tuple(sorted(conditions() - {ALWAYS}))
_VIEWS = {**{name: f"{name}_all" for name in READING_FAMILIES}, QUARANTINE.name: QUARANTINE.name}


class GateCounts:
    """How the gate's checks went on a day by stratum and in all, and the people behind it, added up over parts."""

    def __init__(self, counts: pa.Table) -> None:
        """`counts` is what `read_counts` gives."""
        known = counts.filter(pa.array([name in checks() for name in counts.column("check").to_pylist()], pa.bool_()))
        place, self._names = strata_of(known)
        which, self._checks = codes(known.column("check"))
        shape = len(self._checks), len(self._names)
        self._sums = np.zeros((*shape, 3), dtype=np.int64)
        for number, name in enumerate(("n_eval", "n_fail", "n_na")):
            self._sums[which, place, number] = integers(known.column(name))
        self._version = np.zeros(shape, dtype=np.int64)
        self._version[which, place] = integers(known.column("version"))
        self._applied = _applied(self._sums, which, place)
        self._seen = np.zeros(len(self._names), dtype=np.int64)
        self._failed = np.zeros(shape, dtype=np.int64)
        self._people = np.zeros((*shape, 3), dtype=np.int64)
        self._most = np.zeros(shape, dtype=np.int64)
        self._people_in_all = np.zeros((len(self._checks), 3), dtype=np.int64)
        self._most_in_all = np.zeros(len(self._checks), dtype=np.int64)

    @property
    def anything(self) -> bool:
        """Whether anything was counted."""
        return bool(self._checks)

    def add(self, rows: pa.Table) -> None:
        """Add a part, as `read_rows` gives it. Each person is in one part."""
        stratum, names = strata_of(rows)
        known = {name: place for place, name in enumerate(self._names)}
        place = np.array([known.get(name, -1) for name in names], dtype=np.int64)[stratum]
        chosen = place >= 0
        if not chosen.any():
            return
        rows, place = rows.filter(pa.array(chosen)), place[chosen]
        part = _Rows(rows, place)
        self._seen += np.bincount(place, part.count, minlength=len(self._names)).astype(np.int64)
        for number, check in enumerate(self._checks):
            self._add(number, check, part)

    def _add(self, number: int, check: str, part: "_Rows") -> None:
        applied = self._applied[number][part.stratum]
        failed = (part.flags & checks()[check].mask != 0) & (applied > _NONE)
        judged = (applied == _ALL) | ((applied == _SOME) & (failed | part.fulfils(of_rows(checks()[check]))))
        self._failed[number] += np.bincount(part.stratum, part.count * failed, minlength=len(self._names)).astype(
            np.int64
        )
        of_pair = [np.bincount(part.pair, part.count * rows).astype(np.int64) for rows in (judged, failed)]
        for kind, some in enumerate(_kinds(*of_pair)):
            self._people[number, :, kind] += np.bincount(part.stratum_of_pair[some], minlength=len(self._names))
        np.maximum.at(self._most[number], part.stratum_of_pair, of_pair[0])
        in_all = [np.bincount(part.person_of_pair, rows).astype(np.int64) for rows in of_pair]
        self._people_in_all[number] += [int(some.sum()) for some in _kinds(*in_all)]
        self._most_in_all[number] = max(self._most_in_all[number], in_all[0].max(initial=0))

    def results(self, day: int) -> Iterator[dict[str, Any]]:
        """The rows of CHECK_RESULT of the day: a row a stratum and check, and a row a check that names no stratum."""
        common = {"judge": GATE, "start": day * DAY_US, "measure": None, "entry": 0}
        agrees = (self._sums[:, :, 0] + self._sums[:, :, 2] == self._seen) & (self._sums[:, :, 1] == self._failed)
        for number, check in enumerate(self._checks):
            own = np.flatnonzero(self._applied[number])
            whole = _told(
                self._sums[number].sum(axis=0),
                self._people_in_all[number],
                self._most_in_all[number],
                bool(agrees[number, own].all()),
            )
            version = int(self._version[number].max())
            yield {**common, **Name()._asdict(), "check": check, "version": version, **whole}
            for place in own.tolist():
                told = _told(
                    self._sums[number, place],
                    self._people[number, place],
                    self._most[number, place],
                    bool(agrees[number, place]),
                )
                version = int(self._version[number, place])
                yield {**common, **self._names[place]._asdict(), "check": check, "version": version, **told}


class _Rows:
    """Groups of alike rows of known strata: how many, of whom, and what they have; a pair is a stratum and a person."""

    def __init__(self, rows: pa.Table, stratum: Array) -> None:
        person, _ = codes(rows.column("pseudonym"))
        self.stratum, self._rows = stratum, rows
        self.count, self.flags = integers(rows.column("n")), integers(rows.column("flags"))
        self.pair, first = groups_of(stratum, person)
        self.stratum_of_pair, self.person_of_pair = stratum[first], person[first]

    def fulfils(self, condition: Condition) -> Array:
        """[n] which of them have what a check needs."""
        if condition == ALWAYS:
            return np.ones(len(self.stratum), dtype=bool)
        return np.asarray(self._rows.column(f"c{_CONDITIONS.index(condition)}"))


def _applied(sums: Array, which: Array, place: Array) -> Array:
    found = np.zeros(sums.shape[:2], dtype=np.int8)
    judged, rest = sums[which, place, 0] > 0, sums[which, place, 2] > 0
    found[which, place] = np.where(judged, np.where(rest, _SOME, _ALL), _NONE)
    return found


def _kinds(judged: Array, failed: Array) -> tuple[Array, Array, Array]:
    """Of which units anything was judged, failed, and passed."""
    return judged > 0, failed > 0, judged > failed


def _told(sums: Array, people: Array, most: Any, agrees: bool) -> dict[str, Any]:
    numbers = dict(zip(("n_eval", "n_fail", "n_na"), sums.tolist(), strict=True))
    names = ("people", "people_failing", "people_passing")
    behind = people.tolist() if agrees else [0] * len(names)
    return {**numbers, **dict(zip(names, behind, strict=True)), "most_of_one": int(most)}


def read_counts(desk: LakeDesk, study: str, day: int) -> pa.Table:
    """What the gate has counted of a day (UTC, counted from 1970), by stratum and check."""
    return desk.query(study, _COUNTS, [moment(day), moment(day + 1)])


def read_rows(desk: LakeDesk, study: str, day: int, part: Part) -> pa.Table:
    """Every row of a part's people that starts on the day, replaced ones and those in quarantine too, alike ones together."""
    texts, values = [], []
    for family, view in _VIEWS.items():
        said = ", ".join(f"{_condition(family, view, one)} AS c{i}" for i, one in enumerate(_CONDITIONS))
        name = "family" if family == QUARANTINE.name else f"'{family}'"
        texts.append(_ROWS.format(family=name, conditions=said, view=view, part=OF_PART))
        values += [moment(day), moment(day + 1), *part] * texts[-1].count("start >= ?")
    return desk.query(study, " UNION ALL ".join(texts), values)


def _condition(family: str, view: str, condition: Condition) -> str:
    """A condition in SQL, of a family's rows."""
    return " AND ".join(f"({' OR '.join(_has(family, view, name) for name in names)})" for names in condition)


def _has(family: str, view: str, name: str) -> str:
    if name == "lasting":
        return '"end" > start'
    if name == "compared":
        check = checks()[UNITS]
        if check.families and family not in (*check.families, QUARANTINE.name):
            return "false"
        metrics = ", ".join(f"'{metric}'" for metric in check.metrics)
        return _COMPARED.format(metrics=metrics, view=view, part=OF_PART, least=round(check.number("least_readings")))
    return f"{name} IS NOT NULL" if name in FAMILIES[family].schema.names else "false"
