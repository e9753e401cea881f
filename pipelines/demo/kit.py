"""The whole way of a kit: what happens to it, who activates it, and what the laboratory finds, corrects and takes back."""

import json
import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pipelines.demo.laboratory import (
    BLOOD,
    HAS_SYMPTOMS,
    LOW_FERRITIN,
    NO_HPV,
    SWAB,
    Report,
    Result,
    ResultFile,
    Specimen,
    acidity,
    share,
)
from pipelines.demo.people import NORTH_LAB
from pipelines.entries import rfc3339
from schemas.barcodes import issue_many
from schemas.registry import KIT

EARLY, FINAL, WRONG = RESULT_FILES = "results-early.hl7", "results.hl7", "results-in-error.hl7"

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_LOT, _SHELF_LIFE_DAYS = "VS-2604", 400


@dataclass(frozen=True)
class Kit:
    """A kit whose way ends at `end` (microseconds, UTC).

    `posted` are its events up to the laboratory's door, `early` what the laboratory reports before anybody has said
    whose the kit is; then come its activation, what is `final`, and what is `wrong`.
    """

    barcode: str
    ship_token: str
    member: str
    end: int

    # -- what happens to it

    @property
    def posted(self) -> list[str]:
        """From the packer's table to the laboratory's, as `wellspring kits publish` takes it: JSON, an event a line."""
        expires = rfc3339(self.end + _SHELF_LIFE_DAYS * _DAY)[:10]
        return [
            self._event("packed", self.end - 30 * _DAY, lot=_LOT, lot_expires=expires),
            self._event("sent", self.end - 9 * _DAY, ship_token=self.ship_token),
            self._event("collected", self._collected, site="genitals"),
            self._event("posted", self._collected + 3 * _HOUR),
            self._event("received", self._arrived, laboratory=NORTH_LAB),
        ]

    @property
    def resulted(self) -> list[str]:
        """Its activation, which came late, and its results."""
        return [
            self._event("activated", self.end - 2 * _MINUTE),
            self._event("resulted", self.end - _MINUTE, laboratory=NORTH_LAB),
        ]

    @property
    def activation(self) -> list[str]:
        """The link by which the member says that the kit is theirs, as the consent authority publishes it."""
        link = {"kind": "link", "link_id": "kit-1", "partner": KIT, "subject": self.barcode, "member": self.member}
        return [json.dumps({**link, "from": None, "to": None})]

    def _event(self, kind: str, at_us: int, **details: Any) -> str:
        return json.dumps({"barcode": self.barcode, "event": kind, "when": rfc3339(at_us), **details})

    # -- what the laboratory finds

    @property
    def early(self) -> ResultFile:
        return ResultFile(EARLY, (self._report(1, _DAY, SWAB, acidity("4.6", "P")),))

    @property
    def final(self) -> ResultFile:
        """All results, and soon afterwards a correction."""
        swab = self._report(2, 80 * _SECOND, SWAB, acidity("4.6", "F"), NO_HPV, HAS_SYMPTOMS)
        blood = self._report(3, 80 * _SECOND, BLOOD, LOW_FERRITIN, share("5.4", "F"))
        return ResultFile(FINAL, (swab, blood, self._report(4, 40 * _SECOND, SWAB, acidity("4.4", "C"))))

    @property
    def wrong(self) -> ResultFile:
        """One of the results was somebody else's."""
        return ResultFile(WRONG, (self._report(5, 20 * _SECOND, BLOOD, share("5.4", "W")),))

    @property
    def files(self) -> tuple[ResultFile, ...]:
        return self.early, self.final, self.wrong

    def _report(self, number: int, before: int, specimen: Specimen, *results: Result) -> Report:
        """A report that is sent so many microseconds before the end."""
        sent = self.end - before
        return Report(number, self.barcode, specimen, self._collected, self._arrived, sent, results)

    @property
    def _collected(self) -> int:
        return self.end - 6 * _DAY

    @property
    def _arrived(self) -> int:
        return self.end - 3 * _DAY


def kit(seed: int, member: str, end: int) -> Kit:
    """The member's kit. Its barcode is issued as any other, but for chance, which the seed decides."""
    chance = random.Random(f"kit-{seed}")
    (barcode,) = issue_many(1, chance.choice)
    return Kit(barcode, str(UUID(int=chance.getrandbits(128), version=4)), member, end)
