"""Pictures as SVG text: a sparkline, a trend, a heat map. Each has a title and a description for who does not see it.

Nothing in them is a style or a script: colours come from classes (`line`, `warning`, `alarm`, `axis`, `cell`) of the page
that they are set in, so that they also follow its dark scheme. A value that is None is a gap.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

Value = float | None


class Box(NamedTuple):
    """Where something is drawn, in the picture's units."""

    left: float
    top: float
    width: float
    height: float


class Cell(NamedTuple):
    """A cell of a heat map: how full it is (0 to 1, None where nothing is published), and what it says in words."""

    share: Value
    words: str


def sparkline(name: str, values: Sequence[Value], title: str, description: str) -> str:
    """A small trend without axes; `name` tells it from other pictures of the page."""
    box = Box(2, 3, 116, 22)
    drawn = _lines(values, max(_greatest(values), 1e-9), box, "line")
    return _picture(name, "sparkline", 120, 28, title, description, drawn)


def trend(
    name: str,
    values: Sequence[Value],
    labels: Sequence[str],
    title: str,
    description: str,
    levels: Mapping[str, float] | None = None,
) -> str:
    """Shares over time, with the first and last label; `levels` are thresholds by class (`warning`, `alarm`)."""
    levels = levels or {}
    box = Box(56, 12, 572, 150)
    top = max(_greatest(values), *levels.values(), 1e-9) * 1.1
    drawn = _axes(box, top, labels)
    for kind, level in levels.items():
        y = box.top + box.height * (1 - level / top)
        ends = f'x1="{box.left}" x2="{box.left + box.width}" y1="{_number(y)}" y2="{_number(y)}"'
        drawn += f'<line class="{kind}" {ends}/>' + _label(box.left + 6, y - 4, "start", f"{kind} {percent(level)}")
    return _picture(name, "trend", 640, 190, title, description, drawn + _lines(values, top, box, "line"))


def heat_map(
    name: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    title: str,
    description: str,
) -> str:
    """`cells[row][column]` as squares in five shades; empty with a dashed edge where nothing is published."""
    side, left, top = 18, 170, 8
    width, height = left + side * len(columns) + 8, top + side * len(rows) + 24
    drawn = "".join(
        f'<text class="label" x="{left - 6}" y="{top + side * i + 13}" text-anchor="end">{escape(row)}</text>'
        + "".join(_square(left + side * j, top + side * i, side - 2, cell) for j, cell in enumerate(cells[i]))
        for i, row in enumerate(rows)
    )
    if columns:
        bottom = top + side * len(rows) + 14
        ends = ((left, "start", columns[0]), (left + side * len(columns), "end", columns[-1]))
        drawn += "".join(_label(x, bottom, anchor, text) for x, anchor, text in ends[: len(columns)])
    return _picture(name, "heat-map", width, height, title, description, drawn)


def percent(share: Value) -> str:
    """A share as people read it; a dash where there is none. Small ones keep two digits that say something."""
    if share is None:
        return "–"
    value = share * 100
    if value == 0 or value >= 10:
        return f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 1 else f"{value:.2g} %"


def _picture(name: str, kind: str, width: float, height: float, title: str, description: str, drawn: str) -> str:
    return (
        f'<svg class="{kind}" role="img" viewBox="0 0 {_number(width)} {_number(height)}" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{escape(name)}-title">{escape(title)}</title>'
        f'<desc id="{escape(name)}-desc">{escape(description)}</desc>{drawn}</svg>'
    )


def _lines(values: Sequence[Value], top: float, box: Box, kind: str) -> str:
    """One line for each run without a gap; a run of one value is a dot."""
    step = box.width / max(len(values) - 1, 1)
    drawn = ""
    for run in _runs(values):
        points = [(box.left + step * i, box.top + box.height * (1 - value / top)) for i, value in run]
        if len(points) == 1:
            drawn += f'<circle class="{kind}" cx="{_number(points[0][0])}" cy="{_number(points[0][1])}" r="1.5"/>'
        else:
            path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
            drawn += f'<polyline class="{kind}" fill="none" points="{path}"/>'
    return drawn


def _runs(values: Sequence[Value]) -> Iterator[list[tuple[int, float]]]:
    run: list[tuple[int, float]] = []
    for i, value in enumerate(values):
        if value is None:
            if run:
                yield run
            run = []
        else:
            run.append((i, value))
    if run:
        yield run


def _axes(box: Box, top: float, labels: Sequence[str]) -> str:
    bottom, right = box.top + box.height, box.left + box.width
    drawn = f'<path class="axis" fill="none" d="M{box.left} {box.top}V{bottom}H{right}"/>'
    drawn += _label(box.left - 6, box.top + 8, "end", percent(top)) + _label(box.left - 6, bottom, "end", percent(0))
    if labels:
        drawn += _label(box.left, bottom + 18, "start", labels[0])
    if len(labels) > 1:
        drawn += _label(right, bottom + 18, "end", labels[-1])
    return drawn


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text class="label" x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def _square(x: float, y: float, side: float, cell: Cell) -> str:
    shade = "none" if cell.share is None else str(min(int(cell.share * 5), 4))
    return (
        f'<rect class="cell shade-{shade}" x="{_number(x)}" y="{_number(y)}" width="{_number(side)}" '
        f'height="{_number(side)}"><title>{escape(cell.words)}</title></rect>'
    )


def _greatest(values: Sequence[Value]) -> float:
    return max((value for value in values if value is not None), default=0.0)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
