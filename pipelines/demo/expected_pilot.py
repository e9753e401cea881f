"""What must come of the pilot, counted from its story alone, as `expected` counts that of the others."""

from pipelines.demo.batches import Batch
from pipelines.demo.defects import RELEASED, By, found_in
from pipelines.demo.people import HEART
from pipelines.demo.pilot import Pilot
from pipelines.demo.tally import Expected, StudySums


def judge_pilot(pilot: Pilot, sums: Expected) -> None:
    """Add the pilot's sums."""
    own = sums.studies.setdefault(pilot.study, StudySums())
    for batch in pilot.batches:
        sums.records += 1
        sums.readings += len(batch)
        if batch.waits:
            sums.held += len(batch)
        else:
            _judge(batch, own)
    own.released += RELEASED if pilot.defects else 0
    sums.recalled += sum(count for (by, _), count in found_in(pilot.defects).items() if by == By.RECALL)


def _judge(batch: Batch, own: StudySums) -> None:
    own.considered += len(batch)
    if batch.withheld is not None:
        own.withheld[batch.withheld] += len(batch)
        return
    if batch.repeats:
        own.duplicate += len(batch)
        return
    held = int(batch.held_back.sum())
    own.quarantined += held
    own.landed += len(batch) - held
    own.flagged += int(batch.flagged.sum())
    if batch.metric == HEART:
        _add_hearts(batch, own)


def _add_hearts(batch: Batch, own: StudySums) -> None:
    landed = ~batch.held_back if len(batch.held_back) else slice(None)
    start, value = batch.start[landed], batch.value[landed]
    day = str(start[:1].astype("datetime64[us]").astype("datetime64[D]")[0])
    number, total = own.heart.get(day, (0, 0.0))
    own.heart[day] = number + len(start), total + float(value.sum())
