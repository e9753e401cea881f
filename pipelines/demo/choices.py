"""The ways in which people of the demo world decide: each returns what they say and what follows from it.

Two clocks: authority is asked when a reading is received (in the demo always today), coverage when it was taken.
Times are microseconds, UTC.
"""

from pipelines.demo.people import NEVER, Choice, Event, May, Windows

NOTHING: May = {}


def _each(metrics: tuple[str, ...], windows: Windows) -> May:
    return dict.fromkeys(metrics, windows)


def agreed(study: str, metrics: tuple[str, ...], since: int) -> Choice:
    """Agreed once; what was taken before is not covered."""
    may = _each(metrics, ((since, NEVER),))
    return Choice(study, (Event("grant", since, metrics),), (may, may))


def narrowed(study: str, metrics: tuple[str, ...], since: int, at: int, left: tuple[str, ...]) -> Choice:
    """Took metrics back some days ago: none of their readings arrives in time."""
    may = _each(left, ((since, NEVER),))
    return Choice(study, (Event("grant", since, metrics), Event("narrow", at, left)), (may, may))


def narrows(study: str, metrics: tuple[str, ...], since: int, left: tuple[str, ...]) -> Choice:
    """Takes metrics back between the acts: what has landed stays, nothing follows."""
    said = Event("grant", since, metrics), Event("narrow", None, left, act=1)
    return Choice(study, said, (_each(metrics, ((since, NEVER),)), _each(left, ((since, NEVER),))))


def paused(study: str, metrics: tuple[str, ...], since: int, gap_from: int, gap_to: int) -> Choice:
    """Paused and resumed: the readings of the gap never land."""
    said = Event("grant", since, metrics), Event("pause", gap_from), Event("resume", gap_to)
    may = _each(metrics, ((since, gap_from), (gap_to, NEVER)))
    return Choice(study, said, (may, may))


def expired(study: str, metrics: tuple[str, ...], since: int, until: int) -> Choice:
    """Agreed to be measured until a day; what was measured before it may still arrive."""
    may = _each(metrics, ((since, until),))
    return Choice(study, (Event("grant", since, metrics, collect_until=until),), (may, may))


def renewed(study: str, metrics: tuple[str, ...], since: int, until: int, at: int, retro_from: int) -> Choice:
    """Let it expire and agreed again, for a part of the time between too: expiry is no objection."""
    first = Event("grant", since, metrics, collect_until=until)
    again = Event("grant", at, metrics, retro_from=retro_from)
    may = _each(metrics, ((since, until), (retro_from, NEVER)))
    return Choice(study, (first, again), (may, may))


def withdrew(study: str, metrics: tuple[str, ...], since: int, at: int) -> Choice:
    """Left some days ago: what arrives afterwards is withheld, whenever it was taken."""
    said = Event("grant", since, metrics), Event("withdraw", at, mode="keep")
    return Choice(study, said, (NOTHING, NOTHING))


def withdraws(study: str, metrics: tuple[str, ...], since: int) -> Choice:
    """Leaves between the acts, and lets the study keep what it has."""
    said = Event("grant", since, metrics), Event("withdraw", None, mode="keep", act=1)
    return Choice(study, said, (_each(metrics, ((since, NEVER),)), NOTHING))


def agrees_late(study: str, metrics: tuple[str, ...], retro_from: int) -> Choice:
    """Agrees for the first time in the second act, and for some days back: what waited is judged by that."""
    said = (Event("grant", None, metrics, retro_from=retro_from, act=1),)
    return Choice(study, said, (NOTHING, _each(metrics, ((retro_from, NEVER),))))
