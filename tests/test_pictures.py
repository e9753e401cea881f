"""Pictures: well-formed SVG that says in words what it shows, with gaps, and without style or script."""

import re
from xml.etree import ElementTree

import pytest

from quality.pictures import Cell, heat_map, percent, sparkline, trend

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('&')</script>"
PICTURES = {
    "sparkline": sparkline("s", [0.1, None, 0.3], HOSTILE, HOSTILE),
    "trend": trend("t", [0.1, 0.2], [HOSTILE, "b"], HOSTILE, HOSTILE, {"warning": 0.1, "alarm": 0.3}),
    "heat-map": heat_map("h", [HOSTILE], ["a", "b"], [[Cell(0.5, HOSTILE), Cell(None, "few")]], HOSTILE, HOSTILE),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_svg_with_its_title_and_description(kind: str) -> None:
    root = ElementTree.fromstring(PICTURES[kind])
    named = root.attrib["aria-labelledby"].split()
    assert root.tag == f"{SVG}svg" and root.attrib["class"] == kind and root.attrib["role"] == "img"
    assert [root.find(f".//*[@id='{one}']").text for one in named] == [HOSTILE, HOSTILE]  # type: ignore[union-attr]
    assert not re.search(r"<script|\sstyle=|<style|\son\w+=|href", PICTURES[kind])


def test_a_gap_is_not_bridged() -> None:
    root = ElementTree.fromstring(sparkline("s", [0.1, 0.2, None, 0.3], "", ""))
    assert len(root.findall(f"{SVG}polyline")) == 1 and len(root.findall(f"{SVG}circle")) == 1


def test_thresholds_are_drawn_where_they_are() -> None:
    root = ElementTree.fromstring(trend("t", [0.5], ["a"], "", "", {"alarm": 1.0}))
    (alarm,) = root.findall(f"{SVG}line[@class='alarm']")
    (dot,) = root.findall(f"{SVG}circle")
    assert float(alarm.attrib["y1"]) < float(dot.attrib["cy"])


@pytest.mark.parametrize("values", [[], [None, None], [0.0, 0.0]])
def test_nothing_to_draw_is_a_picture_too(values: list[float | None]) -> None:
    ElementTree.fromstring(sparkline("s", values, "", ""))
    ElementTree.fromstring(trend("t", values, [], "", ""))


def test_a_heat_map_has_five_shades_and_none() -> None:
    cells = [[Cell(share, "") for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, None)]]
    root = ElementTree.fromstring(heat_map("h", ["a"], list("abcdefg"), cells, "", ""))
    shades = [rect.attrib["class"].split("-")[1] for rect in root.iter(f"{SVG}rect")]
    assert shades == ["0", "1", "2", "3", "4", "4", "none"]


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, "–"), (0, "0 %"), (1, "100 %"), (0.123, "12 %"), (0.0123, "1.2 %"), (0.000123, "0.012 %")],
)
def test_a_share_as_people_read_it(share: float | None, said: str) -> None:
    assert percent(share) == said
