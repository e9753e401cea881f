"""Days and moments as the job counts them, and as a question to the lake takes them."""

from datetime import UTC, datetime, timedelta

from quality.job.segments import DAY_US


def moment(day: int) -> datetime:
    """When a day that is counted from 1970 begins, UTC."""
    return instant(day * DAY_US)


def instant(microseconds: int) -> datetime:
    """A time as a query takes it, UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
