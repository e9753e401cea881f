"""What a metric and its unit, as sent, become in the catalogue's words: judged once a header, alike at every door."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from schemas.metrics import catalogue
from schemas.reasons import Reason, Rejected

FAMILIES = ("observation", "waveform")


@dataclass(frozen=True)
class Mapping:
    """What a (metric, unit) as sent becomes: value in `unit` = value as sent * factor + offset.

    `metric` is the metric's number in the catalogue. `interval`: a reading is about its whole interval, so that equally
    spaced ones end where the next begins. `codes` are those allowed, none for numbers.
    """

    metric: int
    family: str
    unit: str
    factor: float
    offset: float
    interval: bool
    codes: frozenset[str]

    @property
    def identity(self) -> bool:
        return self.factor == 1.0 and self.offset == 0.0

    def to_canonical(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Values [n] in the canonical unit; the very array where nothing changes, infinite where it cannot be held."""
        if self.identity:
            return values
        with np.errstate(over="ignore", invalid="ignore"):
            return values * self.factor + self.offset


@lru_cache(maxsize=4096)
def mapping(metric: str, unit: str, coded: bool, width: int, form: str) -> Mapping:
    """The mapping of a message's header, `form` one of regular, irregular, intervals; Rejected where there is none.

    `coded`: its values are codes. `width` is the number of its channels, 1 where it names none.
    """
    found = catalogue().get(metric)
    if found is None or found.family not in FAMILIES:
        raise Rejected(Reason.METRIC, "metric", "the code of a sensor metric of the catalogue")
    conversion = found.conversion(unit)
    if conversion is None:
        raise Rejected(Reason.UNIT, "unit", f"one of the metric's units: {', '.join(found.units)}")
    waveform = found.family == "waveform"
    if coded != (found.value == "code"):
        raise Rejected(Reason.CODE, "values", "codes for a metric of codes, numbers for one of numbers")
    if width > 1 and not waveform:
        raise Rejected(Reason.RAGGED, "channels", "one value a reading for this metric")
    if waveform and form == "intervals":
        raise Rejected(Reason.INTERVAL, "times", "regular or irregular times for a high-rate signal")
    return Mapping(
        metric=catalogue().index[metric],
        family=found.family,
        unit=conversion.unit,
        factor=conversion.factor,
        offset=conversion.offset,
        interval=found.kind in ("interval", "daily_total"),
        codes=frozenset(found.codes),
    )
