"""From a unit as sent to a metric's canonical unit, by exact numbers that a person reviewed; nothing is guessed.

UCUM is too easy to misread for a machine to judge: `g` is the gram, `C` the coulomb, and mmol/L says nothing about
mg/dL without a molar mass. So each metric lists the units it takes, and how each becomes the canonical one.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Float64s = npt.NDArray[np.float64]
Text = Annotated[str, StringConstraints(min_length=1)]
_EXACT = re.compile(r"-?[0-9]+(\.[0-9]+)?(/[0-9]+(\.[0-9]+)?)?")
Unit = Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=40)]


@dataclass(frozen=True, slots=True)
class Conversion:
    """canonical = sent * factor + offset; the Fractions are exact, the floats the nearest to them."""

    sent: str
    unit: str
    exact_factor: Fraction
    exact_offset: Fraction
    factor: float
    offset: float
    identity: bool

    def to_canonical(self, values: Float64s) -> Float64s:
        """Values [n] in the canonical unit; an identity returns the very array, bit for bit."""
        if self.identity:
            return values
        scaled = values * self.factor if self.exact_factor != 1 else values
        return scaled + self.offset if self.exact_offset else scaled

    def to_sent(self, values: Float64s) -> Float64s:
        """Canonical values [n] in the unit as sent, the inverse of `to_canonical` up to rounding."""
        if self.identity:
            return values
        shifted = values - self.offset if self.exact_offset else values
        return shifted / self.factor if self.exact_factor != 1 else shifted


def conversion(sent: str, unit: str, factor: str, offset: str) -> Conversion:
    """The conversion from `sent` to `unit`; ValueError unless both numbers are exact and the factor is above 0."""
    exact_factor, exact_offset = exact(factor), exact(offset)
    if exact_factor <= 0:
        raise ValueError(f"the factor of {sent} must be above 0")
    identity = exact_factor == 1 and exact_offset == 0
    return Conversion(sent, unit, exact_factor, exact_offset, float(exact_factor), float(exact_offset), identity)


def exact(text: str) -> Fraction:
    """A decimal, or a quotient of two: `18.0156`, `-160/9`, `1/4.184`; ValueError where it is neither."""
    if not _EXACT.fullmatch(text):
        raise ValueError("neither a decimal nor a quotient of two")
    numerator, _, denominator = text.partition("/")
    try:
        return Fraction(numerator) / Fraction(denominator or "1")
    except ZeroDivisionError:
        raise ValueError("a quotient must not divide by 0") from None


class Entry(BaseModel):
    """A part of the catalogue: what is not named is refused, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Factor(Entry):
    """canonical = sent * factor + offset, both exact: a decimal or a quotient of two."""

    factor: Text
    offset: Text = "0"
    source: Text | None = None


class Quantity(Entry):
    """A canonical unit and the units it may be sent in: `units` are UCUM, `synonyms` reviewed spellings of one of them."""

    unit: Unit
    units: dict[Unit, Factor]
    synonyms: dict[Unit, Unit] = Field(default_factory=dict)

    @cached_property
    def conversions(self) -> dict[str, Conversion]:
        """By unit as sent, synonyms included."""
        spelled = {unit: unit for unit in self.units} | self.synonyms
        return {
            sent: conversion(sent, self.unit, self.units[unit].factor, self.units[unit].offset)
            for sent, unit in spelled.items()
        }

    @model_validator(mode="after")
    def _converts(self) -> Self:
        if self.unit not in self.units:
            raise ValueError("the canonical unit must be one of the units")
        if self.synonyms.keys() & self.units.keys():
            raise ValueError("a synonym must not be one of the units")
        if not set(self.synonyms.values()) <= self.units.keys():
            raise ValueError("a synonym must stand for one of the units")
        if not self.conversions[self.unit].identity:
            raise ValueError("the canonical unit must convert to itself")
        return self
