"""Mapping files: what they say fits the catalogue, and a mistake in one is named with its place."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.formats import formats
from schemas.export_mappings import MAPPINGS, ExportMapping, MappingError, export_mapping, read_mapping
from schemas.metrics import catalogue

GOOD: dict[str, Any] = {
    "format": "acme",
    "version": 1,
    "units": {"bpm": "/min"},
    "unit_patterns": {"beats? per min(ute)?": "/min"},
    "types": {
        "HR": {"metric": "heart_rate", "units": {"hz": "/s"}},
        "Sleep": {"metric": "sleep_stage", "codes": {"2": "deep"}},
    },
    "parts": {"HR": {"metric": "rr_interval"}},
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "acme.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def changed(*places: str, to: Any) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    inner = content
    for place in places[:-1]:
        inner = inner[place]
    inner[places[-1]] = to
    return content


@pytest.fixture
def mapping(tmp_path: Path) -> ExportMapping:
    return read_mapping(written(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("unit", "wanted"), [("bpm", "/min"), ("hz", "/s"), ("beat per minute", "/min"), ("furlong", "furlong"), (None, "")]
)
def test_a_unit_is_looked_up_at_the_type_then_the_format_and_else_left(
    mapping: ExportMapping, unit: str | None, wanted: str
) -> None:
    rule = mapping.rule("HR", False, unit)
    assert rule is not None and (rule.metric.code, rule.unit) == ("heart_rate", wanted)


def test_a_part_is_not_a_record_and_what_is_not_named_is_unmapped(mapping: ExportMapping) -> None:
    part = mapping.rule("HR", True, "ms")
    assert part is not None and part.metric.code == "rr_interval"
    assert mapping.rule("Sleep", True, None) is None and mapping.rule("hr", False, None) is None


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (changed("types", "HR", to={"metric": "no_such_metric"}), "types.HR"),
        (changed("types", "HR", to={"metric": "acceleration"}), "types.HR"),
        (changed("types", "HR", to={"metric": "heart_rate", "codes": {"a": "deep"}}), "types.HR"),
        (changed("types", "Sleep", to={"metric": "sleep_stage"}), "types.Sleep"),
        (changed("types", "Sleep", "codes", to={"2": "snoring"}), "types.Sleep"),
        (changed("types", "HR", "units", to={"hz": "kg"}), "types.HR"),
        (changed("version", to=0), "version"),
        (changed("format", to="other"), "format"),
        (changed("surprise", to=1), "surprise"),
        ("no mapping", "acme.yaml"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, content: Any, place: str) -> None:
    with pytest.raises(MappingError, match=place):
        read_mapping(written(tmp_path, content))


@pytest.mark.parametrize("path", [one.mapping for one in formats().values() if one.mapping], ids=lambda p: str(p.stem))
def test_every_unit_of_a_shipped_mapping_is_one_that_some_metric_knows(path: Path) -> None:
    mapping = export_mapping(path)
    assert mapping.format == path.stem
    known = {unit for metric in catalogue().metrics.values() for unit in metric.units}
    assert {*mapping.units.values(), *mapping.unit_patterns.values()} <= known


def test_the_shipped_mappings_are_part_of_the_distribution() -> None:
    root = MAPPINGS.parents[1]
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    packed = {file for pattern in data["schemas"] for file in (root / "schemas").glob(pattern)}
    assert {*MAPPINGS.glob("*.yaml")} <= packed
