"""Units of laboratories: the table contradicts neither itself nor the catalogue, nor, where it can tell, pint."""

import pint
import pytest

from schemas import lab_units
from schemas.lab_units import LabUnitsError, is_known, spellings, ucum
from schemas.metrics import catalogue


@pytest.mark.parametrize(
    ("sent", "unit"),
    [
        ("mmol/L", "mmol/L"),
        ("mmol/l", "mmol/L"),
        (" mmol/L ", "mmol/L"),
        ("µmol/L", "umol/L"),
        ("μmol/l", "umol/L"),
        ("10^9/L", "10*9/L"),
        ("giga.l-1", "10*9/L"),
        ("x10E3/µL", "10*3/uL"),
        ("K/uL", "10*3/uL"),
        ("IU/L", "[IU]/L"),
        ("copies/mL", "{copies}/mL"),
        ("mEq/L", "meq/L"),
        ("mmHg", "mm[Hg]"),
        ("mL/min/1.73 m2", "mL/min/{1.73_m2}"),
        ("%", "%"),
        ("year", "a"),
        ("kU/L", None),
        ("pH", None),
        ("mmol", None),
        ("MG/l", None),
        ("", None),
    ],
)
def test_a_spelling_is_the_unit_that_somebody_reviewed_or_none(sent: str, unit: str | None) -> None:
    assert ucum(sent) == unit


def test_a_spelling_never_stands_for_two_units() -> None:
    with pytest.raises(LabUnitsError, match="ug/l"):
        lab_units.parse("units: {ug/L: [ug/l], mg/L: [µg/l]}")
    with pytest.raises(LabUnitsError, match="mg/L"):
        lab_units.parse("units: {mg/L: [], g/L: [mg/L]}")


def test_no_spelling_means_another_unit_in_the_catalogue() -> None:
    """What a metric takes as it stands, or as a synonym, is not another unit here."""
    for quantity in catalogue().quantities.values():
        for sent, conversion in quantity.conversions.items():
            other = spellings().get(sent)
            if other is not None and other in quantity.conversions:
                same = quantity.conversions[other]
                assert (same.exact_factor, same.exact_offset) == (conversion.exact_factor, conversion.exact_offset), (
                    sent
                )


def test_a_unit_is_known_where_the_table_or_the_catalogue_names_it() -> None:
    assert is_known("mmol/L")
    assert is_known("{MET-min}") == any("{MET-min}" in q.units for q in catalogue().quantities.values())
    assert not is_known("mmol/l") or any("mmol/l" in q.units for q in catalogue().quantities.values())
    assert not is_known("zorg")


def test_pint_finds_spellings_to_be_the_same_unit_where_it_can_tell() -> None:
    """Pint reads other spellings than UCUM's, and some as another unit: it is asked where its dimension is the same."""
    registry, told = pint.get_application_registry(), 0  # made once a process
    for sent, unit in spellings().items():
        try:
            found, wanted = (registry.Quantity(1, registry.parse_units(text)) for text in (sent, unit))
        except Exception:  # noqa: S112 - its tokenizer raises of every kind
            continue
        if sent != unit and found.dimensionality == wanted.dimensionality:
            told += 1
            assert found.to(wanted.units).magnitude == pytest.approx(1.0), (sent, unit)
    assert told > 30
