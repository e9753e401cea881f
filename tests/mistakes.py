"""Mistakes that a test makes in the catalogue, for a replay to mend."""

import dataclasses
from typing import Any

import pytest

from pipelines import normalise
from schemas.mappings import Mapping


def shift_by(patch: pytest.MonkeyPatch, offset: float) -> None:
    """A mistake in the catalogue: every heart rate is this much too high."""
    right = normalise.mapping

    def wrong(*words: Any) -> Mapping:
        return dataclasses.replace(right(*words), offset=offset if words[0] == "heart_rate" else 0.0)

    patch.setattr(normalise, "mapping", wrong)
    patch.setattr(normalise, "_judge", normalise._judge.__wrapped__)  # it remembers what mappings said
