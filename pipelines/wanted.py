"""Records that somebody names: TOPIC, TOPIC/PARTITION or TOPIC/PARTITION:FIRST-LAST, both ends in it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pipelines.entries import RequestRefused

_TEXT = re.compile(r"([a-z0-9.-]+?)(?:/(\d{1,9})(?::(\d{1,18})-(\d{1,18}))?)?", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """Records of a topic, of one partition of it, or some offsets of that (both ends in it)."""

    topic: str
    partition: int | None = None
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        partition = "" if self.partition is None else f"/{self.partition}"
        return f"{self.topic}{partition}" + ("" if self.first is None else f":{self.first}-{self.last}")


class _Selection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    ranges: tuple[str, ...] = Field(min_length=1)


def parse_ranges(texts: Iterable[str]) -> list[Wanted]:
    """What the texts name; RequestRefused where one is none of the three forms."""
    found = []
    for text in texts:
        match = _TEXT.fullmatch(text)
        if match is None:
            raise RequestRefused("--replay takes TOPIC, TOPIC/PARTITION or TOPIC/PARTITION:FIRST-LAST")
        topic, *numbers = match.groups()
        found.append(Wanted(topic, *(None if n is None else int(n) for n in numbers)))
    return found


def selection(wanted: Iterable[Wanted]) -> dict[str, JsonValue]:
    """The records as a request names them."""
    return {"ranges": [str(item) for item in wanted]}


def wanted_of(selected: Mapping[str, JsonValue]) -> list[Wanted]:
    """What `selection` named; RequestRefused where it is something else."""
    try:
        return parse_ranges(_Selection.model_validate(selected).ranges)
    except ValidationError:
        raise RequestRefused("it does not name the records to be judged again") from None
