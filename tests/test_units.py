"""Conversions: exact, reversible, and what pint says of them where pint can judge."""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.metrics import Metric, catalogue
from schemas.units import Conversion, conversion, exact

# UCUM's atoms as they appear in the catalogue, prefixes included, and pint's words for them. `g` is the gram in both.
ATOMS = {
    "%": "percent",
    "1": "dimensionless",
    "10*12": "teracount",
    "10*3": "kilocount",
    "10*6": "megacount",
    "10*9": "gigacount",
    "Cel": "degC",
    "Hz": "1/second",
    "J": "joule",
    "K": "kelvin",
    "L": "liter",
    "S": "siemens",
    "V": "volt",
    "U": "enzyme_unit",
    "[Cal]": "kilocalorie",
    "[IU]": "count",
    "[degF]": "degF",
    "[ft_i]": "foot",
    "[g]": "standard_gravity",
    "[in_i]": "inch",
    "[lb_av]": "pound",
    "[mi_i]": "mile",
    "[stone_av]": "stone",
    "[yd_i]": "yard",
    "a": "year",
    "cal": "calorie",
    "cm": "centimeter",
    "d": "day",
    "dL": "deciliter",
    "deg": "degree",
    "dl": "deciliter",
    "fL": "femtoliter",
    "fmol": "femtomole",
    "g": "gram",
    "h": "hour",
    "k[IU]": "kilocount",
    "kJ": "kilojoule",
    "kPa": "kilopascal",
    "kcal": "kilocalorie",
    "kU": "kiloenzyme_unit",
    "kg": "kilogram",
    "km": "kilometer",
    "l": "liter",
    "m": "meter",
    "mU": "millienzyme_unit",
    "m[IU]": "millicount",
    "m[g]": "millistandard_gravity",
    "mL": "milliliter",
    "mS": "millisiemens",
    "mV": "millivolt",
    "meq": "millimole",
    "mg": "milligram",
    "min": "minute",
    "ml": "milliliter",
    "mm": "millimeter",
    "mm[Hg]": "millimeter_Hg",
    "mmol": "millimole",
    "mo": "month",
    "mol": "mole",
    "ms": "millisecond",
    "ng": "nanogram",
    "nkat": "nanokatal",
    "nmol": "nanomole",
    "pg": "picogram",
    "pmol": "picomole",
    "rad": "radian",
    "s": "second",
    "u[IU]": "microcount",
    "uL": "microliter",
    "uS": "microsiemens",
    "uV": "microvolt",
    "ug": "microgram",
    "ukat": "microkatal",
    "um": "micrometer",
    "umol": "micromole",
    "us": "microsecond",
    "wk": "week",
}
# pH is a logarithm, and an assay's own unit is a mass of nothing: pint has none that a factor could be compared with.
BEYOND_PINT = {"[pH]", "[arb'U]/mL"}
DIFFERENCES = {"degC": "delta_degC", "degF": "delta_degF"}

# Below this a float has fewer digits.
SMALLEST = 1e-300

SENT = [(metric, unit) for metric in catalogue().metrics.values() for unit in (*metric.units, *metric.synonyms)]


def converting(metric: Metric, unit: str) -> Conversion:
    found = metric.conversion(unit)
    assert found is not None
    return found


def of_quantities() -> Iterator[tuple[Metric, str]]:
    """Each unit of each quantity once, with one metric that has it."""
    seen: set[int] = set()
    for metric in catalogue().metrics.values():
        if id(metric.quantity) not in seen:
            seen.add(id(metric.quantity))
            yield from ((metric, unit) for unit in metric.units)


def in_pint(ucum: str) -> str:
    """A UCUM expression in pint's words; KeyError for an atom that is not in the table above."""
    plain = re.sub(r"(^|/)\{[^}]*\}", r"\g<1>1", ucum)
    plain = re.sub(r"\{[^}]*\}", "", plain)
    parts = re.split(r"([/.()])", f"1{plain}" if plain.startswith("/") else plain)
    return "".join(_word(part) for part in parts if part)


def _word(part: str) -> str:
    if part in "/.()":
        return part.replace(".", "*")
    power = re.fullmatch(r"([a-z]+)([2-9])", part)
    return f"{ATOMS[power[1]]}**{power[2]}" if power else ATOMS[part]


@pytest.fixture(scope="module")
def registry() -> "pint.ApplicationRegistry[Any]":
    return pint.get_application_registry()  # made once a process


def test_every_listed_unit_is_known_ucum() -> None:
    """What is not UCUM, or means something else there, belongs under synonyms: this fails for `bpm` or `degF`."""
    for _, unit in of_quantities():
        if unit not in BEYOND_PINT:
            in_pint(unit)


@pytest.mark.parametrize(("metric", "unit"), [pytest.param(m, u, id=f"{m.code}-{u}") for m, u in of_quantities()])
def test_pint_agrees(metric: Metric, unit: str, registry: "pint.UnitRegistry[Any]") -> None:
    ours = converting(metric, unit)
    if unit in BEYOND_PINT:
        assert ours.identity
        return
    sent, canonical = in_pint(unit), in_pint(metric.unit)
    if _needs_more_than_units(metric, unit, registry):
        return
    if metric.unit == "K":
        sent, canonical = DIFFERENCES.get(sent, sent), DIFFERENCES.get(canonical, canonical)
    for value in (0.0, 1.0, 98.6):
        theirs = registry.Quantity(value, sent).to(canonical).magnitude
        exactly = Fraction(value) * ours.exact_factor + ours.exact_offset
        assert theirs == pytest.approx(float(exactly), rel=1e-12, abs=1e-11)


def _needs_more_than_units(metric: Metric, unit: str, registry: "pint.UnitRegistry[Any]") -> bool:
    """Where a conversion needs knowledge beyond units, which its source must tell; or that a count is for one day.

    Of haemoglobin, mmol/mol and % have one dimension, and an equation between them.
    """
    dimensions = {registry.Unit(in_pint(one)).dimensionality for one in (unit, metric.unit)}
    if len(dimensions) == 1 and unit != "mmol/mol":
        return False
    per_day = metric.unit == "{steps}/d" and not unit.endswith("/d")
    assert per_day or metric.quantity.units[unit].source
    return True


# IUPAC's abridged atomic weights.
WEIGHTS = {
    "C": 12.011, "H": 1.008, "N": 14.007, "O": 15.999, "S": 32.06, "P": 30.974, "I": 126.904, "Co": 58.933,
    "Ca": 40.078, "Mg": 24.305, "Fe": 55.845, "Zn": 65.38,
}  # fmt: skip
# Proteins: no formula is told.
WITHOUT_FORMULA = {"haemoglobin monomer", "dimer"}
MOLAR = [
    pytest.param(metric, unit, source.partition("molar mass of ")[2].split(", "), id=f"{metric.code}-{unit}")
    for metric, unit in of_quantities()
    if "molar mass of" in (source := metric.quantity.units[unit].source or "")
]


@pytest.mark.parametrize(("metric", "unit", "told"), MOLAR)
def test_a_molar_mass_is_that_of_its_formula_and_gives_the_factor(
    metric: Metric, unit: str, told: list[str], registry: "pint.UnitRegistry[Any]"
) -> None:
    substance, formula, mass = told[0], told[-2], told[-1].removesuffix(" g/mol")
    if substance.removeprefix("the ") not in WITHOUT_FORMULA:
        assert re.fullmatch(r"([A-Z][a-z]?[0-9]*)+", formula)
        atoms = re.findall(r"([A-Z][a-z]?)([0-9]*)", formula)
        assert sum(WEIGHTS[atom] * int(count or 1) for atom, count in atoms) == pytest.approx(float(mass), abs=6e-4)
    molar = registry.Quantity(float(mass), "gram/mole")
    sent, canonical = registry.Quantity(1.0, in_pint(unit)), in_pint(metric.unit)
    grams = sent * molar if "mol/" in unit or unit == "fmol" else sent / molar
    assert grams.to(canonical).magnitude == pytest.approx(converting(metric, unit).factor, rel=1e-12)


def test_glucose_goes_by_its_molar_mass(registry: "pint.UnitRegistry[Any]") -> None:
    """pint cannot turn mmol/L into mg/dL; with the molar mass of C6H12O6 written out it must agree with us."""
    sent = registry.Quantity(5.5, "millimole/liter")
    with pytest.raises(pint.DimensionalityError):
        sent.to("milligram/deciliter")
    grams = sent * registry.Quantity(180.156, "gram/mole")
    ours = converting(catalogue().metrics["glucose_cgm"], "mmol/L")
    assert float(ours.to_canonical(np.array([5.5]))[0]) == pytest.approx(
        grams.to("milligram/deciliter").magnitude, rel=1e-14
    )
    # Six carbons, twelve hydrogens, six oxygens: IUPAC's abridged atomic weights.
    assert float(ours.exact_factor) * 10 == pytest.approx(6 * 12.011 + 12 * 1.008 + 6 * 15.999, abs=1e-3)


def test_glycated_haemoglobin_follows_the_master_equation() -> None:
    ours = converting(catalogue().metrics["hba1c"], "mmol/mol")
    assert ours.to_canonical(np.array([48.0, 53.0])).round(1).tolist() == [6.5, 7.0]


def test_known_points() -> None:
    def canonical(code: str, unit: str, value: float) -> float:
        return float(converting(catalogue().metrics[code], unit).to_canonical(np.array([value]))[0])

    assert canonical("skin_temperature", "[degF]", 98.6) == pytest.approx(37.0, abs=1e-13)
    assert canonical("skin_temperature", "K", 306.15) == pytest.approx(33.0, abs=1e-12)
    assert canonical("skin_temperature_deviation", "[degF]", 1.8) == pytest.approx(1.0)
    assert canonical("acceleration", "[g]", 1.0) == 9.80665
    assert canonical("acceleration", "g", 1.0) == 9.80665
    assert canonical("blood_pressure_systolic", "kPa", 16.0) == pytest.approx(120.01, abs=0.001)
    assert canonical("spo2", "1", 0.97) == 97.0
    assert canonical("height", "m", 1.78) == 178.0
    assert canonical("heart_rate", "count/s", 1.2) == 72.0
    assert canonical("gyroscope", "rad/s", math.pi) == 180.0
    assert canonical("active_energy", "kJ", 4.184) == 1.0


def test_units_that_would_be_misread_are_refused() -> None:
    refused = {
        "heart_rate": ["", "Cel", "BPM", "min", "/h"],
        "skin_temperature": ["C", "F", "cel", "%"],
        "weight": ["[g]", "mg", "pounds"],
        "acceleration": ["kg", "mg", "G"],
        "glucose_cgm": ["mmol", "mg", "g/L", "%"],
        "hba1c": ["1", "mmol/L"],
        "steps_interval": ["/min", "{beats}"],
        "sleep_stage": ["", "min"],
    }
    taken = [
        (code, unit) for code, units in refused.items() for unit in units if catalogue().metrics[code].conversion(unit)
    ]
    assert not taken


def test_g_is_gravity_for_acceleration_alone() -> None:
    assert converting(catalogue().metrics["weight"], "g").exact_factor == Fraction(1, 1000)
    taking = {metric.code for metric, unit in SENT if unit == "g"}
    assert taking == {"acceleration", "weight", "lean_mass"}


def test_a_synonym_converts_like_its_unit() -> None:
    for metric, unit in SENT:
        stands_for = converting(metric, metric.synonyms.get(unit, unit))
        ours = converting(metric, unit)
        assert (ours.exact_factor, ours.exact_offset) == (stands_for.exact_factor, stands_for.exact_offset)
        assert ours.unit == metric.unit


def test_identities_leave_every_bit() -> None:
    values = np.array([0.1, -0.0, 5e-324, 1.7976931348623157e308])
    identities = [converting(metric, unit) for metric, unit in SENT if converting(metric, unit).identity]
    assert {metric.code for metric, unit in SENT if converting(metric, unit).identity} == set(catalogue().codes)
    for ours in identities:
        assert ours.to_canonical(values) is values
        assert ours.to_sent(values) is values


@given(st.sampled_from(range(len(SENT))), st.floats(min_value=-1e9, max_value=1e9))
def test_there_and_back(number: int, value: float) -> None:
    ours = converting(*SENT[number])
    back = float(ours.to_sent(ours.to_canonical(np.array([value])))[0])
    # Where an offset is added, what is small beside it loses its last bits; the error stays relative to the offset.
    size = max(abs(value), abs(ours.offset / ours.factor))
    assert abs(back - value) <= 1e-12 * size + SMALLEST


@given(st.sampled_from(range(len(SENT))), st.floats(min_value=-1e9, max_value=1e9))
def test_floats_stay_by_the_exact_numbers(number: int, value: float) -> None:
    ours = converting(*SENT[number])
    true = Fraction(value) * ours.exact_factor + ours.exact_offset
    size = abs(Fraction(value) * ours.exact_factor) + abs(ours.exact_offset)
    assert abs(Fraction(float(ours.to_canonical(np.array([value]))[0])) - true) <= size * Fraction(
        1, 10**15
    ) + Fraction(5e-324)


def test_ranges_hold_in_every_unit_sent() -> None:
    """A value a little inside a limit, sent in any unit, is inside; a little outside is outside."""
    for metric, unit in SENT:
        ours = converting(metric, unit)
        for bounds in filter(None, (metric.hard, metric.plausible)):
            slack = 1e-9 * max(abs(bounds.low), abs(bounds.high))
            inside = ours.to_canonical(ours.to_sent(np.array([bounds.low + slack, bounds.high - slack])))
            outside = ours.to_canonical(ours.to_sent(np.array([bounds.low - slack, bounds.high + slack])))
            assert bounds.low <= inside[0] < inside[1] <= bounds.high
            assert outside[0] < bounds.low and bounds.high < outside[1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", Fraction(1)),
        ("-160/9", Fraction(-160, 9)),
        ("1/4.184", Fraction(125, 523)),
        ("18.0156", Fraction(45039, 2500)),
    ],
)
def test_exact_numbers(text: str, number: Fraction) -> None:
    assert exact(text) == number


@pytest.mark.parametrize("text", ["", "a", "1/", "/2", "-", "1e3", "1 / 2", "1/2/3", "nan", "inf"])
def test_numbers_that_are_not_exact(text: str) -> None:
    with pytest.raises(ValueError, match="neither a decimal"):
        exact(text)


def test_a_factor_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="divide by 0"):
        exact("1/0")
    with pytest.raises(ValueError, match="above 0"):
        conversion("x", "y", "-1", "0")
