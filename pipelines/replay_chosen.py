"""Replay of rows that wait in quarantine: their records are found by their origins and judged again.

A steward names the rows as for a decision. Only the study's key tells from which records they came, so the driver finds
them, and the request names none.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from pipelines.chosen_rows import chosen_stretches
from pipelines.decided import Selected, looked_at, table_of, valid
from pipelines.driver import Driver
from pipelines.entries import RequestRefused
from pipelines.keys import StudyKey, topic_hash
from pipelines.plan import partition_of
from pipelines.progress import Progress
from pipelines.replay import replay
from pipelines.requests import Change
from pipelines.wanted import Wanted, selection
from quality.chosen import Counted

MOST_PIECES = 200
"""Each is a plan and an entry. Where there are more, what lies between the nearest is judged again besides."""

Place = tuple[str, int]
"""A topic and a partition."""


def replay_any(driver: Driver, selected: Mapping[str, JsonValue]) -> Change:
    """The first plan of a replay, of records that are named or of rows that wait."""
    return replay_chosen(driver, selected) if "study" in selected else replay(driver, selected)


def replay_chosen(driver: Driver, selected: Mapping[str, JsonValue]) -> Change:
    """The first plan of the chosen rows' records; RequestRefused where the rows are not those that were looked at."""
    asked = Selected.of(selected)
    if asked.study not in driver.studies:
        raise RequestRefused("it names a study that is not registered")
    chosen, decisions = valid(Counted, asked.about), table_of(driver, asked.study)
    found = looked_at(driver, asked.study, chosen, decisions)
    distinct = set[bytes]()
    for part in found.parts:
        for _, rows in chosen_stretches(driver, part, ["origin"]):
            distinct |= set(rows.column("origin").unique().to_pylist())
    change = replay(driver, selection(_ranges(driver, driver.keys.key(asked.study), distinct)))
    said = {"study": asked.study, "rows": found.chosen.rows, "by": asked.by, "reason": asked.reason}
    return change._replace(cause={**change.cause, **said})


def _ranges(driver: Driver, key: StudyKey, tokens: Iterable[bytes]) -> list[Wanted]:
    """The records behind the origins, as few ranges as are allowed."""
    topics = {topic_hash(topic): topic for topic, _ in map(partition_of, Progress.of(driver.ledger.head()).offsets)}
    offsets: dict[Place, list[int]] = {}
    for token in tokens:
        of_topic, partition, offset = key.coordinates(token)
        if of_topic not in topics:
            raise RequestRefused("some of these rows came from a topic that is not read any more")
        offsets.setdefault((topics[of_topic], partition), []).append(offset)
    places = {place: np.unique(found) for place, found in sorted(offsets.items())}
    widest = _bridged(places.values())
    return [
        Wanted(topic, partition, int(piece[0]), int(piece[-1]))
        for (topic, partition), found in places.items()
        for piece in np.split(found, np.flatnonzero(np.diff(found) > widest) + 1)
    ]


def _bridged(partitions: Iterable[npt.NDArray[np.int64]]) -> int:
    """The widest step from a record to the next that leaves few enough pieces; 1 where all of them may stand alone."""
    steps = [np.diff(found) for found in partitions]
    wide = np.sort(np.concatenate([step[step > 1] for step in steps]))
    too_many = len(wide) + len(steps) - MOST_PIECES
    return 1 if too_many <= 0 or not len(wide) else int(wide[min(too_many, len(wide)) - 1])
