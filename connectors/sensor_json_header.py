"""sensor-json, the header: who, what and from where, judged once by the contract and the catalogue, then remembered."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.problems import LineError
from connectors.sensor_json_times import Moment, period_us
from schemas.headers import SensorHeader, Source, sensor_header
from schemas.mappings import Mapping, mapping
from schemas.metrics import catalogue
from schemas.reasons import Reason, Rejected

_TIME_BYTES = 16
_CODE_BYTES = 16

Form = Literal["instant", "interval", "series"]
_PIPELINE_FORM: dict[Form, str] = {"instant": "irregular", "interval": "intervals", "series": "regular"}


@dataclass(frozen=True, eq=False, slots=True)
class LineHeader:
    """What readings share that may go into one message; there is one object for each, so it is compared by identity.

    `base` is the message without its series, `key` the Kafka key, `period_us` the period of a series (0 for the other
    forms), `width` how many numbers a sample has, `identified` whether readings bring record ids; `waveform` and
    `interval` whether the metric is a signal, or about intervals; `local` whether times are a wall clock's; `codes` is
    empty where values are numbers; `plain`: any two readings may share a message; `sample_bytes` what a sample adds to
    a message, about.
    """

    base: dict[str, Any]
    key: bytes
    metric: str
    form: Form
    period_us: int
    width: int
    identified: bool
    waveform: bool
    local: bool
    interval: bool
    codes: frozenset[str]
    plain: bool
    sample_bytes: int

    @property
    def may_be_regular(self) -> bool:
        """Whether single readings at equally spaced moments may be sent as a start and a period, and mean the same.

        Of a metric about intervals they would then mean intervals. Of wall clock times only the first would be placed
        by the wall clock, which can change in between; not within a block, which lies within one minute.
        """
        return not self.interval and (self.waveform or not self.local)


class Shape:
    """The fields that a line has, and what follows from their names alone."""

    __slots__ = ("form", "identified", "period", "texts")

    def __init__(self, form: Form, names: tuple[str, ...]) -> None:
        self.form = form
        self.identified = "record_id" in names or "record_ids" in names
        self.period = next((name for name in ("period_us", "period_ms") if name in names), None)
        self.texts = itemgetter(
            "metric", "unit", *(n for n in ("subject", "modality", "zone", self.period) if n in names)
        )


class Headers:
    """The headers seen so far. A line whose header is known costs a look-up; another is judged.

    `subject` is of whom lines without a subject speak; with `needs_zone`, local times must bring a zone.
    """

    KEPT = 4096  # bounds what a stream of ever new headers can make us keep

    def __init__(self, subject: str | None, needs_zone: bool) -> None:
        self._subject = subject
        self._needs_zone = needs_zone
        self._known: dict[tuple[Any, ...], LineHeader] = {}

    def of(self, fields: dict[str, Any], shape: Shape, start: Moment) -> LineHeader:
        """The header of a line; LineError where a field of it is not what the contract or the catalogue say."""
        source, channels = fields["source"], fields.get("channels")
        if type(source) is dict:
            source = tuple(source.items())
        if channels is not None:
            channels = tuple(channels) if type(channels) is list else False
        _, local, offset_min = start
        key = (shape, shape.texts(fields), source, channels, local, offset_min)
        try:
            known = self._known.get(key)
        except TypeError:  # a list or an object where a text should be: it cannot be looked up, and will be refused
            known = None
        return known or self._judge(key, fields, shape, start)

    def _judge(self, key: tuple[Any, ...], fields: dict[str, Any], shape: Shape, start: Moment) -> LineHeader:
        header = self._contract_header(fields, start)
        mapped = _mapping(header, shape.form)
        width = max(1, len(header.channels))
        judged = LineHeader(
            base=header.model_dump(mode="json"),
            key=header.subject.encode(),
            metric=header.metric,
            form=shape.form,
            period_us=period_us(fields[shape.period], shape.period) if shape.period else 0,
            width=width,
            identified=shape.identified,
            waveform=mapped.family == "waveform",
            local=header.clock == "local",
            interval=mapped.interval,
            codes=mapped.codes,
            plain=shape.form != "series" and mapped.family != "waveform",
            sample_bytes=_TIME_BYTES + (_CODE_BYTES if mapped.codes else 8 * width),
        )
        if len(self._known) >= self.KEPT:
            self._known.clear()
        self._known[key] = judged
        return judged

    def _contract_header(self, fields: dict[str, Any], start: Moment) -> SensorHeader:
        source = fields["source"]
        _, local, offset_min = start
        message = {
            "subject": fields.get("subject", self._subject),
            "metric": fields["metric"],
            "unit": fields["unit"],
            "modality": fields.get("modality", "sensed"),
            "source": {"name": source} if isinstance(source, str) else source,
            "clock": "local" if local else "utc",
            "offset_min": offset_min,
            "zone": fields.get("zone"),
            "channels": fields.get("channels", []),
        }
        if message["subject"] is None:
            raise LineError(
                Reason.FIELD,
                "subject",
                "the field to be there, or one subject for the whole stream",
            )
        try:
            header = sensor_header(message)
        except Rejected as fault:
            raise LineError(fault.reason, _known_path(fault.path), fault.expected) from None
        if header.zone is not None:
            _known_zone(header.zone)
        elif local and self._needs_zone:
            raise LineError(
                Reason.ZONE,
                "zone",
                "an offset in the time, or a zone: none is assumed for this partner",
            )
        return header


def _known_path(path: str) -> str:
    """The path without what only the sender's words would name: a field that the contract does not have."""
    parent, _, name = path.rpartition(".")
    return parent if parent == "source" and name not in Source.model_fields else path


def _known_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise LineError(Reason.ZONE, "zone", "the name of an IANA time zone, such as Europe/Madrid") from None


def _mapping(header: SensorHeader, form: Form) -> Mapping:
    """The pipeline's own mapping of a header; LineError where it would reject the message."""
    metric = catalogue().get(header.metric)
    coded = metric is not None and metric.value == "code"
    try:
        return mapping(header.metric, header.unit, coded, max(1, len(header.channels)), _PIPELINE_FORM[form])
    except Rejected as fault:
        raise LineError(fault.reason, "end" if fault.path == "times" else fault.path, fault.expected) from None
