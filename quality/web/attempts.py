"""How often somebody may try a password: after some wrong ones there is a wait, which doubles with each further one.

Both the name and the address are counted, so that neither many names from one address nor one name from many addresses
gets further. A wait has an end, so that nobody keeps a steward out for good by guessing at their name.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

FREE = {"name": 5, "address": 20}
"""So many wrong ones before the first wait."""
LONGEST_S = 300.0
FORGOTTEN_S = 3600.0
MOST = 10_000
"""So many names and addresses are remembered, those that tried last."""


class _Tries(NamedTuple):
    wrong: int
    last: float


class Attempts:
    """Counts wrong passwords. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, address: str) -> float:
        """How many seconds to wait before the next try; 0 where it may be now, which counts as wrong until it is right.

        Counting before the password is looked at leaves nothing to win by trying many at one moment.
        """
        with self._lock:
            now, keys = self._clock(), _keys(name, address)
            wait = max(self._wait(key, now) for key in keys)
            if wait <= 0:
                for key in keys:
                    self._tries[key] = _Tries(self._known(key, now).wrong + 1, now)
                    self._tries.move_to_end(key)
                while len(self._tries) > MOST:
                    self._tries.popitem(last=False)
            return max(wait, 0.0)

    def right(self, name: str, address: str) -> None:
        """The password was right: the name starts anew, and the address has one wrong one less."""
        with self._lock:
            of_name, of_address = _keys(name, address)
            self._tries.pop(of_name, None)
            if known := self._tries.get(of_address):
                self._tries[of_address] = known._replace(wrong=known.wrong - 1)

    def _known(self, key: tuple[str, str], now: float) -> _Tries:
        known = self._tries.get(key, _Tries(0, now))
        return known if now - known.last < FORGOTTEN_S else _Tries(0, now)

    def _wait(self, key: tuple[str, str], now: float) -> float:
        known = self._known(key, now)
        beyond = known.wrong - FREE[key[0]]
        return 0.0 if beyond < 0 else known.last + min(2.0 ** min(beyond, 30), LONGEST_S) - now


def _keys(name: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("name", name[:100]), ("address", address)
