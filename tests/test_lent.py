"""What one bundle at a time may use."""

from itertools import count

import pytest

from pipelines.lent import Lent


def test_nobody_has_what_another_has_and_what_is_given_back_is_lent_again() -> None:
    lent: Lent[int] = Lent()
    numbers = count()
    with lent.lend("a", lambda: next(numbers)) as first, lent.lend("a", lambda: next(numbers)) as second:
        assert (first, second) == (0, 1)
    with lent.lend("a", lambda: next(numbers)) as again, lent.lend("b", lambda: next(numbers)) as other:
        assert again in (0, 1) and other == 2
    assert sorted(lent.clear()) == [0, 1, 2] and list(lent.clear()) == []


def test_what_somebody_failed_with_is_not_lent_again() -> None:
    lent: Lent[int] = Lent()
    with pytest.raises(KeyError), lent.lend("a", lambda: 0):
        raise KeyError
    assert list(lent.clear()) == []
