"""Days and moments as they are counted since 1970, as dates, and as a question to the lake takes them."""

from datetime import UTC, date, datetime, timedelta

from quality.job.segments import DAY_US

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day_number(day: date) -> int:
    """A date as days since 1970."""
    return day.toordinal() - EPOCH.toordinal()


def as_day(number: int) -> date:
    """The date of a day that is counted from 1970."""
    return date.fromordinal(EPOCH.toordinal() + number)


def moment(day: int) -> datetime:
    """When a day that is counted from 1970 begins, UTC."""
    return instant(day * DAY_US)


def instant(microseconds: int) -> datetime:
    """A time as a query takes it, UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def micros(at: datetime) -> int:
    """A moment as microseconds since 1970, UTC."""
    return (at - EPOCH) // timedelta(microseconds=1)
