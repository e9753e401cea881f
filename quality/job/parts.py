"""A study's people, some after others, so that what is in memory at once does not grow with the study.

All rows of a person are in one part: what is judged by person, series or device is judged part by part and added up.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pyarrow as pa

from quality.desk import LakeDesk
from quality.job.times import moment
from schemas.families import READING_FAMILIES

PART_ROWS = 400_000
"""Rows of a part, where no bucket alone has more: some 100 MB while they are judged."""
OF_PART = " AND pbucket BETWEEN ? AND ?"
"""What narrows a question to a part, and lets files be passed over; its parameters are the part."""


class Part(NamedTuple):
    """The people whose `pbucket` is from `first` to `last`, both of them in it."""

    first: int
    last: int


EVERYBODY = Part(-(1 << 15), (1 << 15) - 1)


def parts_of_day(desk: LakeDesk, study: str, day: int) -> list[Part]:
    """The parts of a day (UTC, counted from 1970); none where it has no reading."""
    of_family = "SELECT pbucket FROM {} WHERE start >= ? AND start < ?"
    rows = " UNION ALL ".join(map(of_family.format, READING_FAMILIES))
    sql = f"SELECT pbucket, count(*) AS n FROM ({rows}) GROUP BY pbucket ORDER BY pbucket"
    return list(cut(desk.query(study, sql, [moment(day), moment(day + 1)] * len(READING_FAMILIES))))


def cut(sizes: pa.Table) -> Iterator[Part]:
    """Parts of all people by how many rows, `n`, each `pbucket` has, in the order of these; none of no rows."""
    first, last, held = EVERYBODY.first, None, 0
    pairs: Iterable[tuple[int, int]] = zip(
        sizes.column("pbucket").to_pylist(), sizes.column("n").to_pylist(), strict=True
    )
    for bucket, rows in pairs:
        if last is not None and held + rows > PART_ROWS:
            yield Part(first, last)
            first, held = last + 1, 0
        last, held = bucket, held + rows
    if last is not None:
        yield Part(first, EVERYBODY.last)
