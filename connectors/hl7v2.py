"""HL7 v2: results (ORU, OUL) of files and batches become source records, one an OBX.

Names and addresses of patients and next of kin, insurance and who performed a test are cut away as text, before a
segment is taken apart; what the laboratory's mapping file names as the kit's or person's number is all that is kept.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

import pyarrow as pa

from connectors.formats import HEAD_BYTES, Format, Found, Problem, refuse_other, register
from connectors.hl7v2_answers import Answers
from connectors.hl7v2_encodings import codec_of
from connectors.hl7v2_lines import looks_like_hl7, segments
from connectors.hl7v2_messages import Ended, Envelope, Group
from connectors.hl7v2_reports import Reports, Row
from schemas.lab_mapping import LabMapping, LabMappingError
from schemas.lab_records import LAB_SCHEMA

_PIECE = 256 * 1024
_ROWS = 2000


class Reader:
    """Reads files of one laboratory; with a `subject` all results are of that person, whatever the messages say.

    `answers` is what the messages of the file that was read last would be acknowledged with.
    """

    def __init__(self, mapping: LabMapping | None = None, subject: str | None = None) -> None:
        self._mapping = mapping or LabMapping()
        if codec_of(self._mapping.encoding or "") is None:
            raise LabMappingError("the laboratory's mapping file: encoding: must be a character set of HL7 table 0211")
        self._reports = Reports(self._mapping, subject)
        self.answers = Answers()

    def __call__(self, stream: BinaryIO, name: str) -> Iterator[Found]:
        """Batches of LAB_SCHEMA beside what could not be read; FileRefused where the file does not begin as HL7 does."""
        self.answers = Answers()
        head = _head(stream)
        refuse_other(HL7V2, head, name)
        return self._found(chain([head], iter(partial(stream.read, _PIECE), b"")))

    def _found(self, pieces: Iterator[bytes]) -> Iterator[Found]:
        rows: list[tuple[int, int, Row]] = []
        report = 0
        for one in Envelope(self._mapping.encoding).read(segments(pieces)):
            if isinstance(one, Group):
                report += 1
                for row in self._reports.read(one):
                    if isinstance(row, Problem):
                        one.message.faults += 1
                        yield row
                    else:
                        rows.append((one.message.number, report, row))
                    if len(rows) >= _ROWS:
                        yield batch_of(rows)
                        rows = []
            elif isinstance(one, Ended):
                self.answers.note(one.message)
            else:
                if rows and not isinstance(one, Problem):
                    yield batch_of(rows)
                    rows = []
                yield one
        if rows:
            yield batch_of(rows)


def _head(stream: BinaryIO) -> bytes:
    """The stream's beginning: HEAD_BYTES, or all there is."""
    head = b""
    while len(head) < HEAD_BYTES and (piece := stream.read(HEAD_BYTES - len(head))):
        head += piece
    return head


def batch_of(rows: list[tuple[int, int, Row]]) -> pa.RecordBatch:
    """Rows, each with the numbers of its message and report, as a batch of LAB_SCHEMA."""
    nothing: list[None] = [None] * len(rows)
    results = [row.result for _, _, row in rows]
    observed = [result["observed"] for result in results]
    columns: list[list[Any]] = [
        [result["code"]["code"] for result in results],
        [one["at"] for one in observed],
        [row.end_us for _, _, row in rows],
        [one["offset_min"] for one in observed],
        [one["zone"] for one in observed],
        [_written(result["value"]) for result in results],
        [result["unit"] and result["unit"]["code"] for result in results],
        ["self_reported" if result["kind"] == "questionnaire" else "sensed" for result in results],
        [row.head.laboratory for _, _, row in rows],
        *[nothing] * 5,
        [[]] * len(rows),
        [message for message, _, _ in rows],
        [report for _, report, _ in rows],
        [row.head.subject for _, _, row in rows],
        [row.head.subject_kind for _, _, row in rows],
        [row.head.order for _, _, row in rows],
        [row.head.specimen for _, _, row in rows],
        [row.head.sent for _, _, row in rows],
        [row.head.run for _, _, row in rows],
        results,
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, LAB_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=LAB_SCHEMA)


def _written(value: dict[str, Any] | None) -> str | None:
    """A value as a text: as it was sent, of codes the first."""
    if value is None:
        return None
    kind, content = next(iter(value.items()))
    return str(content if kind == "text" else content["codes"][0]["code"] if kind == "codes" else content["written"])


def _sniff(head: bytes, _: str) -> bool:
    return looks_like_hl7(head)


def _read(stream: BinaryIO, name: str) -> Iterator[Found]:
    return Reader()(stream, name)


HL7V2 = register(Format("hl7v2", "HL7 v2 file", 2, "lab-result", LAB_SCHEMA, _read, _sniff))
