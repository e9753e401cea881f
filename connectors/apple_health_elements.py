"""Apple Health, the elements: what expat's handlers gather of `Record`, `Workout` and `ActivitySummary`.

This runs once an element, so it only appends: a record is its dictionary of attributes, and what lies inside it goes
into two lists by the record's row. Times, numbers and devices are read later, a batch at a time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple, TypeVar
from xml.parsers import expat

from connectors.formats import FileRefused

Attributes = dict[str, str]

ROOT = "HealthData"
SUMMARY = "ActivitySummary"
SUMMARY_SOURCE = "Apple Health"
BEAT, BEAT_UNIT = "InstantaneousBeatsPerMinute", "count/min"
ZONE_KEY, ENTERED_KEY = "HKTimeZone", "HKWasUserEntered"
HARMLESS_KEYS = frozenset(
    {
        "HKAlgorithmVersion", "HKAppleDeviceCalibrated", "HKAppleECGAlgorithmVersion", "HKAverageMETs",
        "HKBloodGlucoseMealTime", "HKBodyTemperatureSensorLocation", "HKHeartRateSensorLocation", "HKIndoorWorkout",
        "HKInsulinDeliveryReason", "HKLapLength", "HKMenstrualCycleStart", "HKMetadataKeyHeartRateMotionContext",
        "HKMetadataKeyHeartRateRecoveryActivityType", "HKPhysicalEffortEstimationType", "HKQuantityClampedToLowerBound",
        "HKQuantityClampedToUpperBound", "HKSwimmingLocationType", "HKSwimmingStrokeStyle", "HKVO2MaxTestType",
        "HKWaterSalinity",
    }
)  # fmt: skip
"""Metadata that says how something was measured, and nothing of the person, an account or a place."""

MOST_DEPTH = 32

_WANTED_KEYS = HARMLESS_KEYS | {ZONE_KEY, ENTERED_KEY}
_STATISTICS = ("sum", "average", "minimum", "maximum")
_WORKOUT_FACTS = ("duration", "totalDistance", "totalEnergyBurned", "totalSwimmingStrokeCount", "totalFlightsClimbed")
_RINGS = ("activeEnergyBurned", "appleMoveTime", "appleMoveMinutes", "appleExerciseTime", "appleStandHours")
_NOTHING_LOST = frozenset({"Me", "HeartRateVariabilityMetadataList"})  # who the person is; what holds the beats
_KNOWN = frozenset(
    {"Correlation", "ClinicalRecord", "Audiogram", "VisionPrescription", "WorkoutRoute", "WorkoutActivity"}
)
OTHERS = "other elements"


Entry = tuple[int, str, str]
"""A metadata entry that is wanted: the row of its record, key, value."""

RawPart = tuple[int, str | None, str | None, str | None, str | None, str | None, str | None]
"""A fact nested in a record: the record's row, type, value, unit, start, end, and the time of day of a beat."""


class Taken(NamedTuple):
    """Records, each as its attributes, with the byte at which it begins, and what lies inside them, in their order.

    `summaries` are the rows that are about a whole day.
    """

    rows: list[Attributes]
    places: list[int]
    metadata: list[Entry]
    parts: list[RawPart]
    summaries: list[int]


class Refusal(Exception):
    """What a handler will not read on from; the text says why."""


class Elements:
    """The handlers, and what they have gathered since it was last taken."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self._parser = parser
        self._depth = 0
        self._inside = False
        self._offset = ""
        self._begin()
        self.unread: Counter[str] = Counter()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end

    def __len__(self) -> int:
        """Records gathered, or an eighth of their parts where that is more: what decides when a batch is full."""
        return max(len(self._rows), len(self._parts) // 8)

    @property
    def since(self) -> int | None:
        """The byte at which the first record begins that is not taken; None where there is none."""
        return self._places[0] if self._places else None

    @property
    def open_at(self) -> int | None:
        """The byte at which the record begins whose end has not been seen."""
        return self._places[-1] if self._inside and self._depth > 1 else None

    def take(self) -> Taken:
        """The records that are whole; one that is still open stays, with what it has so far."""
        taken, is_open = self._taken, self.open_at is not None
        self._begin()
        if is_open:
            self._keep_last(taken)
        return taken

    def _begin(self) -> None:
        self._taken = Taken([], [], [], [], [])
        self._rows, self._places, self._metadata, self._parts, self._summaries = self._taken

    def _keep_last(self, taken: Taken) -> None:
        last = len(taken.rows) - 1
        self._rows.append(taken.rows.pop())
        self._places.append(taken.places.pop())
        self._metadata.extend((0, *one[1:]) for one in _cut(taken.metadata, last))
        self._parts.extend((0, *one[1:]) for one in _cut(taken.parts, last))
        if taken.summaries[-1:] == [last]:
            self._summaries.append(0)
            taken.summaries.pop()

    def _start(self, name: str, attributes: Attributes) -> None:
        self._depth = depth = self._depth + 1
        if depth == 2:
            if name == "Record":
                self._rows.append(attributes)
                self._places.append(self._parser.CurrentByteIndex)
                self._inside = True
            else:
                self._top(name, attributes)
        elif depth == 3 and self._inside:
            if name == "MetadataEntry":
                if (key := attributes.get("key", "")) in _WANTED_KEYS:
                    self._metadata.append((len(self._rows) - 1, key, attributes.get("value", "")))
            else:
                self._child(name, attributes)
        elif depth == 4 and name == BEAT and self._inside:
            bpm, clock = attributes.get("bpm"), attributes.get("time")
            self._parts.append((len(self._rows) - 1, BEAT, bpm, BEAT_UNIT, None, None, clock))
        elif depth == 1 and name != ROOT:
            raise FileRefused(f"this is no Apple Health export: its root is not {ROOT}")
        elif depth > MOST_DEPTH:
            raise Refusal("its elements lie inside each other too deeply")

    def _end(self, _: str) -> None:
        self._depth -= 1

    def _top(self, name: str, attributes: Attributes) -> None:
        """An element beside the records: a workout and a day's summary become records, others are only counted."""
        self._inside = name in ("Workout", SUMMARY)
        if name == "Workout":
            self._add(attributes, attributes.get("workoutActivityType"))
            self._facts(attributes, _WORKOUT_FACTS)
        elif name == SUMMARY:
            day = attributes.get("dateComponents", "")
            self._summaries.append(len(self._rows))
            midnight = f"{day} 00:00:00 {self._offset}"
            self._add({"sourceName": SUMMARY_SOURCE, "startDate": midnight, "endDate": midnight}, SUMMARY)
            self._facts(attributes, _RINGS)
            self._facts(attributes, [f"{ring}Goal" for ring in _RINGS])
        elif name == "ExportDate":
            self._offset = attributes.get("value", "").rpartition(" ")[2]
        else:
            self._count(name)

    def _add(self, attributes: Attributes, kind: str | None) -> None:
        if kind is not None:
            attributes["type"] = kind
        self._rows.append(attributes)
        self._places.append(self._parser.CurrentByteIndex)

    def _facts(self, attributes: Attributes, names: Iterable[str]) -> None:
        """Facts that are attributes: a goal is in the unit of what it is a goal of."""
        for name in names:
            if (value := attributes.get(name)) is not None:
                self._part(name, value, attributes.get(f"{name.removesuffix('Goal')}Unit"))

    def _child(self, name: str, attributes: Attributes) -> None:
        """What lies inside a record beside metadata and beats."""
        if name == "WorkoutStatistics":
            self._statistics(attributes)
        elif name == "WorkoutEvent":
            date, kind = attributes.get("date"), attributes.get("type")
            self._part(kind, attributes.get("duration"), attributes.get("durationUnit"), date, date)
        else:
            self._count(name)

    def _statistics(self, attributes: Attributes) -> None:
        """Each of a workout's figures about one quantity, as `<type>/<statistic>`; its own times only where they differ."""
        times = attributes.get("startDate"), attributes.get("endDate")
        whole = self._rows[-1].get("startDate"), self._rows[-1].get("endDate")
        start, end = (None, None) if times == whole else times
        for statistic in _STATISTICS:
            if (value := attributes.get(statistic)) is not None:
                kind = attributes.get("type")
                self._part(kind and f"{kind}/{statistic}", value, attributes.get("unit"), start, end)

    def _part(
        self, kind: str | None, value: str | None, unit: str | None, start: str | None = None, end: str | None = None
    ) -> None:
        self._parts.append((len(self._rows) - 1, kind, value, unit, start, end, None))

    def _count(self, name: str) -> None:
        """An element that is not read, by its name where that is one of Apple's: others could hold anything."""
        if name not in _NOTHING_LOST:
            self.unread[name if name in _KNOWN else OTHERS] += 1


_Inside = TypeVar("_Inside", Entry, RawPart)


def _cut(entries: list[_Inside], last: int) -> list[_Inside]:
    """Take what belongs to the last row off the end of a list that is in the order of rows."""
    at = bisect_left(entries, last, key=itemgetter(0))
    cut = entries[at:]
    del entries[at:]
    return cut
