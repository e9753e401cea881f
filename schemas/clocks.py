"""The zone of a message's clock: which names are zones, and when a message must say one."""

from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from schemas.reasons import Reason, Rejected


def clock_zone(local: bool, offset_min: int | None, zone: str | None, assumed: str | None) -> ZoneInfo | None:
    """The zone whose rules place a message's times; None where it states an offset, or counts in UTC and has no zone.

    A zone that the message names goes before the one `assumed` for its partner. Rejected where the name is none of the
    IANA's, or local times have neither zone nor offset.
    """
    if offset_min is not None:
        return None
    name = zone or assumed
    if name is not None:
        return iana_zone(name)
    if local:
        raise Rejected(Reason.ZONE, "zone", "a zone or an offset_min for local times")
    return None


@lru_cache(maxsize=1024)
def iana_zone(name: str) -> ZoneInfo:
    """The zone of that name; Rejected for any other text, path names among them."""
    if name not in _names():
        raise Rejected(Reason.ZONE, "zone", "the name of an IANA time zone, such as Europe/Madrid")
    return ZoneInfo(name)


def is_zone(name: str | None) -> bool:
    """Whether it is the name of a zone of the IANA's."""
    return name in _names()


@cache
def _names() -> frozenset[str]:
    """The IANA's names; what a machine calls its own zone, or the lack of one, means something else elsewhere."""
    return frozenset(available_timezones() - {"localtime", "Factory"})
