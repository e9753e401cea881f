"""The register as the driver has it: followed on this machine, and kept with the vault now and then.

What it follows it could read again, so it is kept at most once a minute: a register of many people is large, and a
minute is short beside the days for which Kafka keeps even what it forgets, the events of kits. It is kept under the
number of records that it has read, which only grows, whoever reads them.
"""

import time

from pipelines.consent.register import FILE, Register
from pipelines.vault import Vault

KEEP_EVERY_S = 60.0


class KeptRegister(Register):
    """The register of a driver; `close` it, after `keep`."""

    def __init__(self, vault: Vault) -> None:
        super().__init__(vault.own(FILE))
        self._vault = vault
        self._kept, self._kept_at = self.version, -KEEP_EVERY_S
        if vault.newest(FILE) is not None:
            self.go_on_apart()

    def keep(self) -> None:
        """Keep it, unless it knows nothing new."""
        if self.version != self._kept:
            self._kept, self._kept_at = self.version, time.monotonic()
            self._vault.keep(FILE, sum(self.positions().values()), self._db)

    def keep_now_and_then(self) -> None:
        """Keep it, if it was not for a while."""
        if time.monotonic() - self._kept_at >= KEEP_EVERY_S:
            self.keep()
