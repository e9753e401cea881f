"""How often somebody may try a password: after some wrong ones there is a wait, which doubles with each further one.

Both the name and the address are counted, so that neither many names from one address nor one name from many addresses
gets further. That alone would let anybody keep a steward out, by failing under their name. So a browser in which that
steward has signed in before is counted by itself: what others do under the name, or from the same address, is no matter
to it. A wait has an end.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

FREE = {"name": 5, "address": 20, "browser": 5}
"""So many wrong ones before the first wait."""
LONGEST_S = 300.0
FORGOTTEN_S = 3600.0
MOST = 10_000
"""So many names, addresses and browsers are remembered, those that tried last."""
ONE_HOUSEHOLD = 64
"""Bits of an IPv6 address that a whole household or machine shares: the others it chooses as it likes."""


class _Tries(NamedTuple):
    wrong: int
    last: float


class Attempts:
    """Counts wrong passwords. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, address: str, browser: str | None = None) -> float:
        """How many seconds to wait before the next try; 0 where it may be now, which counts as wrong until it is right.

        `browser` is one in which that name has signed in before. Counting before the password is looked at leaves nothing
        to win by trying many at one moment.
        """
        with self._lock:
            now, keys = self._clock(), _keys(name, address, browser)
            wait = max(self._wait(key, now) for key in keys)
            if wait <= 0:
                for key in keys:
                    self._tries[key] = _Tries(self._known(key, now).wrong + 1, now)
                    self._tries.move_to_end(key)
                while len(self._tries) > MOST:
                    self._tries.popitem(last=False)
            return max(wait, 0.0)

    def right(self, name: str, address: str, browser: str | None = None) -> None:
        """The password was right: name or browser start anew, and the address has one wrong one less."""
        with self._lock:
            for key in _keys(name, address, browser):
                if key[0] != "address":
                    self._tries.pop(key, None)
                elif known := self._tries.get(key):
                    self._tries[key] = known._replace(wrong=known.wrong - 1)

    def _known(self, key: tuple[str, str], now: float) -> _Tries:
        known = self._tries.get(key, _Tries(0, now))
        return known if now - known.last < FORGOTTEN_S else _Tries(0, now)

    def _wait(self, key: tuple[str, str], now: float) -> float:
        known = self._known(key, now)
        beyond = known.wrong - FREE[key[0]]
        return 0.0 if beyond < 0 else known.last + min(2.0 ** min(beyond, 30), LONGEST_S) - now


def _keys(name: str, address: str, browser: str | None) -> Sequence[tuple[str, str]]:
    return [("browser", browser)] if browser else [("name", name[:100]), ("address", _network(address))]


def _network(address: str) -> str:
    """Whom an address stands for: of IPv6 the network of a household, of IPv4 in IPv6's clothes the address itself."""
    try:
        at = ip_address(address)
    except ValueError:  # a proxy may know none
        return address[:100]
    if not isinstance(at, IPv6Address):
        return str(at)
    return str(at.ipv4_mapped or ip_network((int(at), ONE_HOUSEHOLD), strict=False))
