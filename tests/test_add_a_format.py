"""The guide "Add a format": its module is as short as it claims. That it works is in `integration/test_add_a_format.py`."""

from tests.foreign_format import EXAMPLES

MOST_LINES = 60


def test_it_is_as_short_as_the_guide_says() -> None:
    assert len((EXAMPLES / "withings_weight.py").read_text(encoding="utf-8").splitlines()) <= MOST_LINES
