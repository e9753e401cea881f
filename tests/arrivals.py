"""All that can happen to a record in a cycle, round after round; and whether everything of it happened once.

The world is one study's, with one partition and `compact_files` of 3, so that a round is ingested, redriven, compacted
and judged.
"""

from collections import Counter
from contextlib import closing

from pipelines.holds import Holds
from pipelines.vault import vault_of
from tests.worlds import OUTSIDE, World, once

STUDY = "sleep"
WORLD = {"studies": [STUDY], "partitions": 1, "compact_files": 3}
_LATE = 10_000
_GARBAGE = (b"nobody", b"no message")


class Arrivals:
    """Of each round one reading lands, one goes to quarantine, one is of somebody whom nobody knows until the next
    round, and a record is no message."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rounds = 0
        world.consent(world.link("ann"), world.grant("ann", STUDY))

    def come(self) -> None:
        """A round."""
        world, n = self._world, self._rounds
        self._make_known()
        late = world.reading(f"late{n}", [n + _LATE])
        world.publish(world.reading("ann", [n]), world.reading("ann", [n + OUTSIDE]), late, _GARBAGE)
        self._rounds += 1

    def _make_known(self) -> None:
        """Who came last with what nobody may have yet."""
        if self._rounds:
            name = f"late{self._rounds - 1}"
            self._world.consent(self._world.grant(name, STUDY), self._world.link(name))

    def settle(self) -> None:
        """The last round's person is known too, and a driver works everything off."""
        self._make_known()
        self._world.work()

    def assert_once(self) -> None:
        """Everything has landed, waits for a steward or was told, once; the holds add up, and nothing is left over."""
        world, rounds = self._world, range(self._rounds)
        assert world.landed(STUDY) == once([*rounds, *(n + _LATE for n in rounds)])
        assert world.landed(STUDY, "quarantine") == once(n + OUTSIDE for n in rounds)
        # a driver that ended between telling and knowing of it tells again, as the same entry's
        told = {(row["offset"], row["entry"]) for row in world.rejected()}
        assert Counter(offset for offset, _ in told) == once(4 * n + 3 for n in rounds)
        world.assert_sound()
        # what compaction replaced is kept for its readers for a while
        assert [left for left in world.leavings() if "no entry names it" in left] == []
        with closing(vault_of(world.settings)) as vault, closing(Holds(vault, 1, 1)) as holds:
            assert holds.open_readings() == {}
            found = holds.totals()
            assert 0 < found.opened == found.released and found.expired == 0
            assert list(vault.store.list("runs/")) == []
