"""HL7 v2, the trailers: whether files and batches (FHS … FTS, BHS … BTS) end as they say."""

from collections.abc import Iterator

from connectors.formats import Partial
from connectors.hl7v2_lines import Line

_INSIDE = {"FHS": "BHS", "BHS": "MSH"}
_HEADER_OF = {"FTS": "FHS", "BTS": "BHS"}


class Trailers:
    """Whether files and batches end as their trailers say: one that does not was cut short."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._counts = {"MSH": 0, "BHS": 0}
        self._short: Partial | None = None

    def see(self, name: str, line: Line) -> None:
        """Take note of a header or trailer."""
        if name in _INSIDE:
            if name in self._open:
                self._cut(line, "a file or batch begins before the one before it has ended")
            self._open.add(name)
            self._counts[_INSIDE[name]] = 0
        if name in _HEADER_OF:
            header = _HEADER_OF[name]
            self._open.discard(header)
            if _count(line) > self._counts[_INSIDE[header]]:
                self._cut(line, "the trailer counts more than there is before it")
        elif name in self._counts:
            self._counts[name] += 1

    def partial(self) -> Iterator[Partial]:
        """What was cut short, if anything was."""
        if self._short is None and self._open:
            self._short = Partial("the end of the file", "it has no trailer, so it may have been cut short")
        if self._short:
            yield self._short

    def _cut(self, line: Line, why: str) -> None:
        self._short = self._short or Partial(f"line {line.number}", why)


def _count(trailer: Line) -> int:
    """What a trailer counts; 0 where it says nothing."""
    said = trailer.content[4:].split(trailer.content[3:4] or b"|")[0].strip()
    return int(said) if said.isdigit() and len(said) < 10 else 0
