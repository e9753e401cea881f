"""What lands: the Arrow schema of each family's table, and the order in which its rows lie.

`month` is the partition and stands in the path only. Text columns hold few distinct values a file and are written with
dictionaries that contain nothing but the values used. Times are microseconds, UTC; intervals are half-open, and the
end of an instant is its start.

The numbers of a block lie in `values`, or, where integers were sent, in `counts`: a value is then `count * scale + zero`.

Of a laboratory's result `value` is the number, the limit that `comparator` is about, or the first of two numbers whose
`relation` says what `second` is; `code` is the catalogue's word for a coded value. What ends in `_sent` is as the source
sent it, `arrived` when the specimen came to the laboratory, `recalled` the ledger entry that took back a row which had
landed, `released` the one by which stewards let a row out of quarantine.
"""

from dataclasses import dataclass

import pyarrow as pa

UTC_MICROS = pa.timestamp("us", tz="UTC")

_WHO = [
    pa.field("pbucket", pa.int16(), nullable=False),
    pa.field("pseudonym", pa.string(), nullable=False),
]
_WHAT = [
    pa.field("metric", pa.string(), nullable=False),
    pa.field("unit", pa.string(), nullable=False),
]
_VALUE = [
    pa.field("value", pa.float64()),
    pa.field("code", pa.string()),
]
_BLOCK = [
    pa.field("period_us", pa.int64()),
    pa.field("channels", pa.list_(pa.field("element", pa.string(), nullable=False))),
    pa.field("samples", pa.int32()),
    pa.field("values", pa.list_(pa.field("element", pa.float64(), nullable=False))),
    pa.field("counts", pa.list_(pa.field("element", pa.int32(), nullable=False))),
    pa.field("scale", pa.float64()),
    pa.field("zero", pa.float64()),
    pa.field("times_us", pa.list_(pa.field("element", pa.int64(), nullable=False))),
]
_AS_SENT = [
    pa.field("status", pa.string()),
    pa.field("code_sent", pa.string()),
    pa.field("system_sent", pa.string()),
    pa.field("value_sent", pa.string()),
    pa.field("value_system", pa.string()),
    pa.field("laboratory", pa.string()),
    pa.field("precision", pa.string()),
    pa.field("time_from", pa.string()),
    pa.field("reported", UTC_MICROS),
]
_MEASURED = [
    pa.field("comparator", pa.string()),
    pa.field("relation", pa.string()),
    pa.field("second", pa.float64()),
    pa.field("reference_range", pa.string()),
    pa.field("range_applies_to", pa.list_(pa.field("element", pa.string(), nullable=False))),
    pa.field("abnormal_flags", pa.list_(pa.field("element", pa.string(), nullable=False))),
    pa.field("method", pa.string()),
    pa.field("specimen_type", pa.string()),
    pa.field("specimen_site", pa.string()),
    pa.field("collected", UTC_MICROS),
    pa.field("arrived", UTC_MICROS),
    pa.field("analysed", UTC_MICROS),
    pa.field("lot_expires", UTC_MICROS),
    pa.field("specimen64", pa.int64()),
    pa.field("specimen_condition", pa.string()),
    pa.field("rejection", pa.string()),
    pa.field("rejected_for", pa.string()),
    pa.field("haemolysis_index", pa.float64()),
    pa.field("custody_gap", pa.string()),
    pa.field("custody_back_us", pa.int64()),
    pa.field("loq", pa.float64()),
    pa.field("reportable_low", pa.float64()),
    pa.field("reportable_high", pa.float64()),
    pa.field("dilution", pa.float64()),
    pa.field("run", pa.string()),
    pa.field("run_controls", pa.string()),
]
_WHEN = [
    pa.field("start", UTC_MICROS, nullable=False),
    pa.field("end", UTC_MICROS, nullable=False),
    pa.field("offset_min", pa.int16()),
    pa.field("time_quality", pa.string(), nullable=False),
]
_SOURCE = [
    pa.field("partner", pa.string(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("device_model", pa.string()),
    pa.field("firmware", pa.string()),
    pa.field("app", pa.string()),
    pa.field("app_version", pa.string()),
    pa.field("modality", pa.string(), nullable=False),
    pa.field("unit_sent", pa.string(), nullable=False),
]
_CONTROL = [
    pa.field("flags", pa.int64(), nullable=False),
    pa.field("received", UTC_MICROS, nullable=False),
    pa.field("consent_seq", pa.int32(), nullable=False),
    pa.field("entry", pa.int64(), nullable=False),
    pa.field("key64", pa.int64(), nullable=False),
    pa.field("record64", pa.int64()),
    pa.field("revision", pa.int16(), nullable=False),
    pa.field("origin", pa.binary(), nullable=False),
    pa.field("origin_index", pa.int32(), nullable=False),
    pa.field("released", pa.int64()),
]

_SOME_OR_ALL = [pa.field(name, pa.string()) for name in ("partner", "family", "metric")]
_OF_DEVICE = [
    pa.field("device_model", pa.string()),
    pa.field("firmware", pa.string()),
    pa.field("start", UTC_MICROS, nullable=False),
]
_COUNTED = [
    *_OF_DEVICE,
    pa.field("check", pa.string(), nullable=False),
    pa.field("version", pa.int32(), nullable=False),
    *(pa.field(name, pa.int64(), nullable=False) for name in ("n_eval", "n_fail", "n_na")),
]


@dataclass(frozen=True)
class Family:
    """One kind of table: its name, its columns in order, and the columns by which its rows are sorted."""

    name: str
    schema: pa.Schema
    sort_key: tuple[str, ...] = ("pbucket", "pseudonym", "metric", "source", "start")


OBSERVATION = Family("observation", pa.schema(_WHO + _WHAT + _VALUE + _WHEN + _SOURCE + _CONTROL))
WAVEFORM = Family("waveform", pa.schema(_WHO + _WHAT + _BLOCK + _WHEN + _SOURCE + _CONTROL))
LAB_RESULT = Family("lab_result", pa.schema(_WHO + _WHAT + _VALUE + _MEASURED + _AS_SENT + _WHEN + _SOURCE + _CONTROL))
ANSWER = Family("answer", pa.schema(_WHO + _WHAT + _VALUE + _AS_SENT + _WHEN + _SOURCE + _CONTROL))
QUARANTINE = Family(
    "quarantine",
    pa.schema(
        [
            pa.field("family", pa.string(), nullable=False),
            *(_WHO + _WHAT + _VALUE + _BLOCK + _MEASURED + _AS_SENT + _WHEN + _SOURCE + _CONTROL),
            pa.field("recalled", pa.int64()),
        ]
    ),
)
CHECK_COUNT = Family(
    "check_count",
    pa.schema(
        [
            pa.field("partner", pa.string(), nullable=False),
            pa.field("family", pa.string(), nullable=False),
            pa.field("metric", pa.string(), nullable=False),
            *_COUNTED,
            pa.field("entry", pa.int64(), nullable=False),
        ]
    ),
    sort_key=("check", "metric", "start"),
)
"""How often each check of the gate passed or failed, failed, and did not apply, by stratum and day (`start`, UTC).

Rows, not people: behind how many participants they stand says CHECK_RESULT, once the day is judged."""

CHECK_RESULT = Family(
    "check_result",
    pa.schema(
        [
            pa.field("judge", pa.string(), nullable=False),
            *_SOME_OR_ALL,
            *_COUNTED,
            pa.field("people", pa.int32(), nullable=False),
            pa.field("people_failing", pa.int32()),
            pa.field("people_passing", pa.int32()),
            pa.field("most_of_one", pa.int64()),
            pa.field("measure", pa.float64()),
            pa.field("entry", pa.int64(), nullable=False),
        ]
    ),
    sort_key=("check", "metric", "start"),
)
"""How checks went, by judge (`job`, `suite`; `gate`: its counts as they were when the job judged the day), stratum and day
(`start`, UTC; of weeks the first). Of the gate there is besides a row a check that names no stratum: all of them.

`n_eval` counts what the check's scope says: rows, windows, participant-days, messages. `people` is how many participants
were evaluated, `people_failing` and `people_passing` how many of them failed and passed at least once, `most_of_one` how
often the one was evaluated who was most often: null where units are not of one participant each. `measure` is the
statistic that was compared, null where it would be about fewer than the study's smallest cell."""

DAY_SUMMARY = Family(
    "day_summary",
    pa.schema(
        [
            pa.field("level", pa.string(), nullable=False),
            *_SOME_OR_ALL,
            *_OF_DEVICE,
            pa.field("rows", pa.int64(), nullable=False),
            pa.field("people", pa.int32(), nullable=False),
            pa.field("most_of_one", pa.int64()),
            pa.field("enrolled", pa.int32(), nullable=False),
            pa.field("median", pa.float64()),
            pa.field("spread", pa.float64()),
            pa.field("entry", pa.int64(), nullable=False),
        ]
    ),
    sort_key=("level", "metric", "start"),
)
"""What a study holds of a day (`start`, UTC): of each stratum (level `stratum`), each metric (`metric`), and all (`study`).

`people` are the participants with rows, `enrolled` those with a live consent that day; of a metric `most_of_one` is how
many rows the one has who has most. `median` and `spread` (median
absolute deviation) of the values are null where fewer than the study's smallest cell stand behind them."""

DECISION = Family(
    "decision",
    pa.schema(
        [
            pa.field("decision", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("start", UTC_MICROS, nullable=False),
            pa.field("by", pa.string(), nullable=False),
            pa.field("second", pa.string()),
            pa.field("check", pa.string()),
            pa.field("about", pa.string(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("rows", pa.int64(), nullable=False),
            pa.field("entry", pa.int64(), nullable=False),
        ]
    ),
    sort_key=("start", "decision"),
)
"""What stewards decided, in order (`start` is when, UTC): release, discard, recall; propose, approve, decline; sign-off.

`about` is JSON: the stratum or the numbers of the rows, the threshold, the day, or the decision that is approved."""

DISCARDED = Family(
    "discarded",
    pa.schema(
        [
            *_WHO,
            pa.field("family", pa.string(), nullable=False),
            pa.field("start", UTC_MICROS, nullable=False),
            pa.field("key64", pa.int64(), nullable=False),
            pa.field("record64", pa.int64()),
            pa.field("revision", pa.int16(), nullable=False),
            pa.field("origin", pa.binary(), nullable=False),
            pa.field("origin_index", pa.int32(), nullable=False),
            pa.field("entry", pa.int64(), nullable=False),
        ]
    ),
    sort_key=("pbucket", "pseudonym", "start"),
)
"""What stewards discarded, by key and without its value, so that it does not come back when it is sent again."""

READING_FAMILIES = (OBSERVATION.name, WAVEFORM.name, LAB_RESULT.name, ANSWER.name)
"""The families whose rows are what has landed."""

REVISED_FAMILIES = (LAB_RESULT.name, ANSWER.name)
"""The families whose rows have a status, by which a source corrects or takes back what it sent before."""

ENTERED_IN_ERROR = ("D", "W")
"""The statuses of a row that takes back the earlier rows of its record: deleted, and wrong."""

FAMILIES = {
    family.name: family
    for family in (
        *(OBSERVATION, WAVEFORM, LAB_RESULT, ANSWER),
        *(QUARANTINE, DISCARDED),
        *(CHECK_COUNT, CHECK_RESULT, DAY_SUMMARY, DECISION),
    )
}
