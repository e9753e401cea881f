"""Apple Health, the devices: `<<HKDevice: 0x282a45810>, name:…, manufacturer:Apple, model:Watch, hardware:Watch2,4, …>`.

Name, local identifier and UDI of a device are its owner's or its own: they go no further than this module. The address
at the beginning is one of the exporting phone's memory and means nothing.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

_LONGEST = 2000
_LONGEST_PART = 100
_KEY = re.compile(r"(?:^|, )([A-Za-z][A-Za-z ]{0,30}):")


class Device(NamedTuple):
    """What a study may know of a device: its make, its model and the version of what runs on it."""

    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None


def device(description: str) -> Device:
    """The device that a description names; what it does not say is None.

    The model is the hardware's name where that says more of the same (`Watch6,2` beside `Watch`); elsewhere `hardware`
    is a revision or a number, and stays here.
    """
    _, found, rest = description.partition(">, ")
    return _parsed((rest if found else description.partition(", ")[2]).rstrip(">"))


def devices(column: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray, pa.StringArray]:
    """Manufacturer, model and firmware for a column of descriptions, null where there is none."""
    coded = column.dictionary_encode()
    parsed = [device(text) for text in coded.dictionary.to_pylist()]
    parts = zip(*parsed, strict=True) if parsed else ((), (), ())
    manufacturer, model, firmware = (pa.array(part, pa.string()).take(coded.indices) for part in parts)
    return manufacturer, model, firmware


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Device:
    if len(text) > _LONGEST:
        return Device()
    keys = list(_KEY.finditer(text))
    ends = [*(key.start() for key in keys[1:]), len(text)][: len(keys)]
    said = {key[1]: text[key.end() : end].strip() for key, end in zip(keys, ends, strict=True)}
    known = {key: value for key, value in said.items() if 0 < len(value) <= _LONGEST_PART}
    model, hardware = known.get("model"), known.get("hardware")
    if model and hardware and hardware.startswith(model):
        model = hardware
    return Device(known.get("manufacturer"), model, known.get("firmware") or known.get("software"))
