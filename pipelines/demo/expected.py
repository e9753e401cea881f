"""What must come of the demo's world, counted from the story alone: nothing here asks the pipeline.

The sums over all ledger entries must equal these, study by study and reason by reason.
"""

from collections.abc import Iterator

import numpy as np

from pipelines.demo.bad_messages import Bad
from pipelines.demo.expected_doors import judge_doors
from pipelines.demo.expected_pilot import judge_pilot
from pipelines.demo.messages import Message
from pipelines.demo.people import HEART, Choice, Wearer, Windows
from pipelines.demo.signals import Flags, Signal
from pipelines.demo.tally import Expected, StudySums
from pipelines.demo.world import World
from schemas.reasons import Code


def expected(of: World) -> Expected:
    """The sums of a world whose four acts were published and run to the end."""
    sums = Expected()
    let_in: dict[tuple[int, str], Flags] = {}
    for act in of.acts:
        for record in act.records:
            sums.records += 1
            if isinstance(record, Bad):
                _refuse(record, sums)
            else:
                _judge(record, sums, let_in)
    judge_doors(of.doors, sums)
    judge_pilot(of.pilot, sums)
    return sums


def _refuse(record: Bad, sums: Expected) -> None:
    sums.records_rejected += record.readings == 0
    sums.readings += record.readings
    sums.readings_rejected += record.readings
    sums.rejected[record.reason] += record.readings or 1


def _judge(message: Message, sums: Expected, let_in: dict[tuple[int, str], Flags]) -> None:
    signal = message.signal
    sums.readings += len(signal)
    intact = ~message.broken if len(message.broken) else np.ones(len(signal), dtype=bool)
    if message.reason is not None:
        sums.rejected[message.reason] += int((~intact).sum())
        sums.readings_rejected += int((~intact).sum())
    nobodys = intact.copy()
    for wearer in message.device.wearers if message.device.linked_in is not None else ():
        own = intact & _worn(signal, wearer)
        nobodys &= ~own
        _judge_wearer(message, wearer, own, sums, let_in)
    sums.held += int(nobodys.sum())


def _worn(signal: Signal, wearer: Wearer) -> Flags:
    """Which readings lie wholly in the time in which the device was theirs."""
    worn = np.ones(len(signal), dtype=bool)
    if wearer.from_us is not None:
        worn &= signal.start >= wearer.from_us
    if wearer.to_us is not None:
        worn &= (signal.end <= wearer.to_us) & (signal.start < wearer.to_us)
    return worn


def _judge_wearer(
    message: Message, wearer: Wearer, own: Flags, sums: Expected, let_in: dict[tuple[int, str], Flags]
) -> None:
    choices = wearer.person.choices
    known = max(message.device.linked_in or 0, min(choice.known_from for choice in choices))
    if message.act < known:  # it waits until somebody says whose it is, or what they agreed to
        sums.held += int(own.sum())
        sums.released += int(own.sum())
    act = max(message.act, known)
    for choice in choices:
        if choice.known_from <= act:
            _judge_choice(message, choice, act, own, sums.studies.setdefault(choice.study, StudySums()), let_in)


def _judge_choice(
    message: Message, choice: Choice, act: int, own: Flags, sums: StudySums, let_in: dict[tuple[int, str], Flags]
) -> None:
    count = int(own.sum())
    if not count:
        return
    sums.considered += count
    windows = choice.may[act].get(message.metric)
    if windows is None:
        sums.withheld[Code.NO_AUTHORITY] += count
        return
    covered = own & _covered(message.signal, windows)
    if (outside := count - int(covered.sum())) > 0:
        sums.withheld[Code.OUTSIDE_WINDOW] += outside
    _settle(message, choice.study, covered, sums, let_in)


def _covered(signal: Signal, windows: Windows) -> Flags:
    """Which readings lie wholly in one of the windows; an instant takes a microsecond."""
    end = np.maximum(signal.end, signal.start + 1)
    covered = np.zeros(len(signal), dtype=bool)
    for from_us, to_us in windows:
        covered |= (from_us <= signal.start) & (end <= to_us)
    return covered


def _settle(
    message: Message, study: str, covered: Flags, sums: StudySums, let_in: dict[tuple[int, str], Flags]
) -> None:
    """Duplicate, quarantined or landed."""
    signal, origin = message.signal, message.resent or message
    before = let_in.get((id(origin), study), np.zeros(len(signal), dtype=bool))
    changed = message.changed if len(message.changed) else np.zeros(len(signal), dtype=bool)
    repeated = covered & before & ~changed
    fresh = covered & ~repeated
    landed = fresh & ~signal.impossible
    sums.duplicate += int(repeated.sum())
    sums.quarantined += int((fresh & signal.impossible).sum())
    sums.landed += int(landed.sum())
    sums.flagged += int((landed & (signal.unlikely | before)).sum())  # another value for the same record is flagged
    sums.revised += int((fresh & before).sum())
    let_in[id(origin), study] = before | covered
    if message.metric == HEART:
        for day, number, total in _by_day(signal.pick(landed)):
            had = sums.heart.get(day, (0, 0.0))
            sums.heart[day] = (had[0] + number, had[1] + total)


def _by_day(signal: Signal) -> Iterator[tuple[str, int, float]]:
    days = signal.start.astype("datetime64[us]").astype("datetime64[D]")
    for day in np.unique(days):
        values = signal.value[days == day]
        yield str(day), len(values), float(values.sum())
