"""The metric catalogue: what it refuses, what it holds, and that the page lists it."""

import doctest
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.catalogue_page import METRICS
from schemas.generated_page import PAGE
from schemas.metrics import CATALOGUE, CatalogueError, Metric, catalogue, is_loinc, parse

SMALL: dict[str, Any] = {
    "categories": {"general": {"title": "all", "by_name_only": False}},
    "quantities": {
        "rate": {
            "unit": "/min",
            "units": {"/min": {"factor": "1"}, "/s": {"factor": "60"}},
            "synonyms": {"bpm": "/min"},
        }
    },
    "metrics": [
        {
            "code": "pulse",
            "title": "Pulse",
            "family": "observation",
            "kind": "instant",
            "value": "number",
            "quantity": "rate",
            "category": "general",
            "loinc": "8867-4",
            "hard": {"low": 20, "high": 300, "source": "x"},
            "plausible": {"low": 25, "high": 240, "source": "x", "check": "PL-01"},
        }
    ],
}


def changed(**fields: Any) -> bytes:
    """The small catalogue with fields of its one metric changed (None takes one away)."""
    row = {name: value for name, value in (SMALL["metrics"][0] | fields).items() if value is not None}
    return yaml.safe_dump(SMALL | {"metrics": [row]}).encode()


def quantity(**fields: Any) -> bytes:
    return yaml.safe_dump(SMALL | {"quantities": {"rate": SMALL["quantities"]["rate"] | fields}}).encode()


def of_laboratory(*rows: dict[str, Any]) -> bytes:
    """The small catalogue with these results, each like its one metric but for what is said."""
    small = SMALL["metrics"][0] | {"family": "lab_result"}
    return yaml.safe_dump(SMALL | {"metrics": [small | row for row in rows]}).encode()


def test_a_result_is_found_by_each_of_its_codes() -> None:
    found = parse(of_laboratory({"code": "a", "loinc_also": ["8893-0"]}, {"code": "b", "loinc": "2345-7"}))
    results = {code: found.of_loinc(code) for code in ("8867-4", "8893-0", "2345-7", "718-7")}
    assert {code: metric and metric.code for code, metric in results.items()} == {
        "8867-4": "a",
        "8893-0": "a",
        "2345-7": "b",
        "718-7": None,
    }


def test_a_sensors_code_is_no_laboratorys() -> None:
    """A sensor and a laboratory may share a code (the pH of urine): only the laboratory's metric is found by it."""
    sensor = SMALL["metrics"][0]
    both = [sensor, sensor | {"code": "a", "family": "lab_result"}]
    found = parse(yaml.safe_dump(SMALL | {"metrics": both}).encode())
    metric = found.of_loinc("8867-4")
    assert metric is not None and metric.code == "a"
    assert parse(changed()).of_loinc("8867-4") is None
    assert catalogue().of_loinc("8867-4") is None


def test_a_sound_catalogue_is_read() -> None:
    found = parse(changed())
    assert found.codes == ("pulse",)
    assert found.index == {"pulse": 0}
    metric = found.get("pulse")
    assert metric is not None
    assert (metric.unit, metric.units, metric.synonyms) == ("/min", ("/min", "/s"), {"bpm": "/min"})
    assert found.get("pulses") is None


RATE = {"limit": 5, "source": "x"}
REFUSED = {
    "plausible outside hard": (changed(plausible={"low": 10, "high": 240, "source": "x", "check": "PL-01"}), "inside"),
    "plausible without hard": (changed(hard=None), "inside"),
    "range upside down": (changed(hard={"low": 300, "high": 20, "source": "x"}), "low must be below high"),
    "range without a source": (changed(hard={"low": 20, "high": 300}), "pulse.hard.source"),
    "range of no number": (changed(hard={"low": float("nan"), "high": 300, "source": "x"}), "pulse.hard.low"),
    "plausible without its check": (
        changed(plausible={"low": 25, "high": 240, "source": "x"}),
        "pulse.plausible.check",
    ),
    "wrong check digit": (changed(loinc="8867-5"), "check digit"),
    "wrong check digit among others": (changed(family="lab_result", loinc_also=["8867-5"]), "check digit"),
    "other codes of a sensor": (changed(loinc_also=["8893-0"]), "a laboratory's results and answers"),
    "other codes beside none": (
        changed(family="lab_result", loinc=None, loinc_note="x", loinc_also=["8893-0"]),
        "beside a loinc",
    ),
    "a code for two results": (of_laboratory({"code": "a"}, {"code": "b"}), "8867-4 names two metrics"),
    "a code for a result and an answer": (
        of_laboratory({"code": "a", "loinc_also": ["8893-0"]}, {"code": "b", "loinc": "8893-0", "family": "answer"}),
        "8893-0 names two metrics",
    ),
    "a code twice for one result": (of_laboratory({"code": "a", "loinc_also": ["8867-4"]}), "8867-4 names two metrics"),
    "no LOINC and no word why": (changed(loinc=None), "loinc_note"),
    "codes on a number": (changed(codes={"a": "x"}), "codes"),
    "a code without codes": (changed(value="code", hard=None, plausible=None), "codes"),
    "a range on a code": (changed(value="code", codes={"a": "x"}), "only a number"),
    "text outside narrative": (changed(value="text", hard=None, plausible=None), "narrative"),
    "a block outside waveform": (changed(kind="block"), "waveform"),
    "a rate at an instant": (changed(hard_per_second=RATE), "intervals"),
    "plausible rate above the hard one": (
        changed(
            kind="interval", hard_per_second=RATE, plausible_per_minute={"limit": 301, "source": "x", "check": "PL-04"}
        ),
        "plausible rate",
    ),
    "channels outside a block": (changed(channels={"x": {"low": 0, "high": 1, "source": "x"}}), "channels"),
    "unknown family": (changed(family="thing"), "pulse.family"),
    "unknown field": (changed(modality="sensed"), "pulse.modality"),
    "unknown quantity": (changed(quantity="speed"), "pulse.quantity"),
    "unknown category": (changed(category="secret"), "category"),
    "code in capitals": (changed(code="Pulse"), "code"),
    "canonical unit not allowed": (quantity(unit="Hz"), "canonical unit must be one"),
    "canonical unit scaled": (quantity(unit="/s"), "convert to itself"),
    "synonym of nothing": (quantity(synonyms={"bpm": "Hz"}), "stand for one"),
    "synonym that is a unit": (quantity(synonyms={"/s": "/min"}), "must not be one"),
    "empty unit": (quantity(units={"/min": {"factor": "1"}, "": {"factor": "1"}}), "rate.units"),
    "unit with a blank": (quantity(units={"/min": {"factor": "1"}, "per s": {"factor": "1"}}), "rate.units"),
    "factor of nothing": (quantity(units={"/min": {"factor": "1"}, "/s": {"factor": "sixty"}}), "neither a decimal"),
    "factor as a float": (quantity(units={"/min": {"factor": "1"}, "/s": {"factor": 60.0}}), "factor"),
    "factor zero": (quantity(units={"/min": {"factor": "1"}, "/s": {"factor": "0"}}), "above 0"),
    "metric twice": (yaml.safe_dump(SMALL | {"metrics": SMALL["metrics"] * 2}).encode(), "pulse is listed twice"),
    "metrics no list": (yaml.safe_dump(SMALL | {"metrics": 3}).encode(), "metrics"),
    "row no mapping": (yaml.safe_dump(SMALL | {"metrics": [3]}).encode(), "metric 1"),
    "empty file": (b"", "the whole"),
    "key twice": (b"categories: {}\ncategories: {}\n", "twice"),
    "not YAML": (b"{", "not YAML"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    content, message = REFUSED[name]
    with pytest.raises(CatalogueError, match=message):
        parse(content)


def test_check_digit() -> None:
    """A right code passes; every change of one digit is found, and so is what only looks like a code."""
    assert is_loinc("39106-0")
    code = "104642-4"
    for place, old in enumerate(code):
        for new in "0123456789":
            if old != "-" and new != old:
                assert not is_loinc(code[:place] + new + code[place + 1 :])
    assert not any(is_loinc(bad) for bad in ("88674", "8867-", "-4", "8867-4 ", "\u0668867-4", "LA15475-9"))


def test_the_version_follows_the_content() -> None:
    assert parse(changed()).version == parse(changed()).version
    assert parse(changed()).version != parse(changed(title="Pulses")).version
    assert catalogue().version == parse(CATALOGUE.read_bytes()).version


def test_it_is_read_once_and_travels_to_workers() -> None:
    assert catalogue() is catalogue()
    assert pickle.loads(pickle.dumps(catalogue())).metrics == catalogue().metrics


def test_codes_keep_their_order() -> None:
    found = catalogue()
    assert found.codes[0] == "heart_rate"
    assert [found.index[code] for code in found.codes] == list(range(len(found.codes)))


# What consent, the gate and the connectors rely on: category, range, plausible range and check.
FACTS = [
    ("heart_rate", "general", (20, 300), (25, 240, "PL-01")),
    ("spo2", "general", (50, 100), (70, 100, "PL-02")),
    ("body_temperature", "general", (34, 45), (34, 43, "PL-03")),
    ("skin_temperature", "general", (15, 45), (15, 45, "PL-03")),
    ("skin_temperature_deviation", "general", (-8, 8), None),
    ("steps_24h", "general", (0, 100_000), (0, 60_000, "PL-04")),
    ("eda", "general", (0, 100), (0.01, 60, "PL-05")),
    ("glucose_cgm", "general", (39, 501), (39.6, 400, "PL-05")),
    ("battery_level", "general", (0, 100), (0, 100, "PL-09")),
    ("ppg", "general", None, None),
    ("vaginal_ph", "reproductive", (3, 8.5), None),
    ("location", "location", (-180, 180), None),
    ("phq9_total", "mental_health", (0, 27), None),
    ("hba1c", "laboratory", (4, 15), None),
    ("glucose_serum", "laboratory", (1, 2000), (20, 600, "PL-05")),
    ("oestradiol", "reproductive", (0, 50_000), None),
    ("nugent_score", "reproductive", (0, 10), None),
    ("pregnancy_status", "reproductive", None, None),
    ("chlamydia_trachomatis", "sexual_health", None, None),
    ("age_at_collection", "background", (0, 130), None),
]


@pytest.mark.parametrize(("code", "category", "hard", "plausible"), FACTS)
def test_ranges_and_category(code: str, category: str, hard: Any, plausible: Any) -> None:
    metric = catalogue().metrics[code]
    assert metric.category == category
    assert (metric.hard and (metric.hard.low, metric.hard.high)) == hard
    likely = metric.plausible
    assert (likely and (likely.low, likely.high, likely.check)) == plausible


def test_steps_have_a_limit_by_time() -> None:
    steps = catalogue().metrics["steps_interval"]
    assert steps.hard_per_second is not None and steps.hard_per_second.limit == 5
    assert steps.plausible_per_minute is not None
    assert (steps.plausible_per_minute.limit, steps.plausible_per_minute.check) == (300, "PL-04")


def test_every_number_has_a_hard_range_unless_its_scale_is_the_devices_own() -> None:
    without = [code for code, metric in catalogue().metrics.items() if metric.value == "number" and metric.hard is None]
    assert without == ["ppg"]


def test_a_position_has_a_range_for_each_channel() -> None:
    channels = catalogue().metrics["location"].channels
    assert {name: (bounds.low, bounds.high) for name, bounds in channels.items()} == {
        "latitude": (-90, 90),
        "longitude": (-180, 180),
    }


def test_sleep_stages() -> None:
    stages = catalogue().metrics["sleep_stage"].codes
    assert set(stages) == {"awake", "light", "deep", "rem", "asleep_unspecified", "in_bed"}


def test_what_a_grant_by_category_never_covers() -> None:
    by_name = {name for name, category in catalogue().categories.items() if category.by_name_only}
    assert by_name == {"genetic", "location", "narrative", "reproductive", "sexual_health"}


def test_infections_and_reproductive_health_are_named_one_by_one() -> None:
    """No grant by category covers them, in whatever family they come."""
    categories, metrics = catalogue().categories, catalogue().metrics
    for code in (
        "hiv",
        "hpv_16",
        "syphilis_reagin",
        "amh",
        "hcg_urine_test",
        "bacterial_vaginosis",
        "vaginal_fluid_ph",
    ):
        assert categories[metrics[code].category].by_name_only, code


def test_alike_results_have_the_same_codes() -> None:
    """What analysts compare is told in the same words: whatever is found or not is detected or not_detected."""
    found = [metric for metric in catalogue().of_laboratories if "detected" in metric.codes]
    assert len(found) > 20
    assert {tuple(metric.codes) for metric in found} == {("detected", "not_detected", "equivocal", "invalid")}


def loinc_of(code: str) -> str | None:
    return catalogue().metrics[code].loinc


def test_loinc_traps() -> None:
    """A difference is no temperature, a nominal finding no number, RMSSD no SDNN; day codes only where a day is counted."""
    assert loinc_of("skin_temperature") is None
    assert loinc_of("skin_temperature_deviation") is None
    assert loinc_of("hrv_rmssd") is None
    assert "39106-0" not in {metric.loinc for metric in catalogue().metrics.values()}
    day_codes = {"41950-7", "41979-6", "41953-1", "41957-2", "93819-1"}
    days = {metric.kind for metric in catalogue().metrics.values() if metric.loinc in day_codes}
    assert days == {"daily_total"}
    # Seen, but not verified.
    codes = {code for metric in catalogue().metrics.values() for code in metric.loincs}
    assert not {"8637-1", "93819-1", "101433-1", "69937-1", "6568-0"} & codes
    # Names what it is not taken for: choriogonadotropin, not AMH; urea by mass, not its nitrogen.
    assert "83086-9" not in codes
    urea = catalogue().of_loinc("3091-6")
    assert urea is not None and urea.code == "urea"


def test_the_page_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert METRICS.main(["--check"]) == 0, capsys.readouterr().err


def test_the_page_lists_every_metric_unit_and_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in reversed(page.splitlines()) if line.startswith("| `")}
    quoted = set(re.findall("`([^`\n]+)`", page))
    for metric in catalogue().metrics.values():
        assert metric.title in rows[metric.code]
        assert set(_words(metric)) <= quoted


def _words(metric: Metric) -> list[str]:
    return [*metric.units, *metric.synonyms, *metric.codes]


def test_the_pages_example_gives_what_it_says() -> None:
    tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert tried.attempted >= 5
    assert tried.failed == 0


def test_a_stale_page_is_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{METRICS.begin}\nstale list\n{METRICS.end}\nafter\n", encoding="utf-8")
    assert METRICS.main(["--check", "--page", str(page)]) == 1
    assert "--write" in capsys.readouterr().err
    assert METRICS.main(["--write", "--page", str(page)]) == 0
    assert METRICS.main(["--check", "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "stale list" not in text


def test_a_page_without_a_place_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{METRICS.end}{METRICS.begin}", encoding="utf-8")
    assert METRICS.main(["--write", "--page", str(page)]) == 1
    assert "once each" in capsys.readouterr().err
