"""HL7 v2, the envelope: segments become messages of a file or batch, and in each what belongs together.

A `Group` is one OBR with its observations and specimens. Every OBX ends in a group, or in a `Problem` here; those of
messages that report no results are counted apart.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.formats import NotRead, Partial, Problem
from connectors.hl7v2_encodings import codec_of
from connectors.hl7v2_fields import Marks, Unreadable, check_letters, marks_of, said
from connectors.hl7v2_lines import Line
from connectors.hl7v2_trailers import Trailers
from connectors.problems import ENCODING, HEADER
from schemas.reasons import Reason

RESULT_MESSAGES = ("ORU", "OUL")
MOST_GROUP_BYTES = 32 * 1024 * 1024
_MOST_KINDS = 50
_MOST_NAMED = 10
_LONGEST_TIME = 60
_USUAL = Marks("|", "^", "~", "\\", "&", "utf-8")
_KIND = re.compile(r"[A-Z]{3}(\^[A-Z][0-9A-Z]{2})?")
_VERSION = re.compile(r"2(\.\d)*")


@dataclass
class Message:
    """A message: its number in the file from 1, and what its header says; `refused` is the reason where it is not read.

    `observations` counts its OBX so far, `faults` those of them that were not published.
    """

    number: int
    kind: str = "a message of no known type"
    marks: Marks = _USUAL
    laboratory: str | None = None
    sent: str | None = None
    refused: str | None = None
    observations: int = 0
    faults: int = 0

    @property
    def reports(self) -> bool:
        """Whether it reports results."""
        return self.refused is None and self.kind[:3] in RESULT_MESSAGES

    @property
    def specimen_first(self) -> bool:
        """Whether a specimen stands before its orders, instead of behind their observations."""
        return self.kind[:3] == "OUL"


class Observation(NamedTuple):
    """An OBX: its text, and where it stands."""

    text: str
    place: str


@dataclass
class Group:
    """What belongs to one OBR: the segments' texts; None where one is not there. `cut`: one was too large to be held."""

    message: Message
    patient: str | None = None
    order: str | None = None
    request: str | None = None
    specimens: list[str] = field(default_factory=list)
    container: str | None = None
    cut: bool = False
    observations: list[Observation] = field(default_factory=list)


class Ended(NamedTuple):
    """A message has been read to its end."""

    message: Message


class Envelope:
    """Reads one file. `encoding` names that of messages which do not say theirs."""

    def __init__(self, encoding: str | None = None) -> None:
        self._encoding = encoding
        self._message: Message | None = None
        self._group = Group(Message(0))
        self._held_bytes = 0
        self._beside: dict[str, tuple[int, list[int]]] = {}
        self._trailers = Trailers()

    def read(self, segments: Iterable[Line]) -> Iterator[Group | Ended | Problem | NotRead | Partial]:
        """Groups in the file's order, the end of each message, and OBX of no group; NotRead and Partial come last."""
        number = 0
        for line in segments:
            name = line.content[:3].decode("ascii", "replace")
            if name in ("MSH", "FHS", "BHS", "BTS", "FTS"):
                yield from self._end_message()
                self._trailers.see(name, line)
            if name == "MSH":
                number += 1
                self._message = message_of(line, number, self._encoding)
                self._group = Group(self._message)
            elif name == "OBX":
                yield from self._observation(line)
            elif self._message and self._message.reports:
                yield from self._context(name, line)
        yield from self._end_message()
        yield from self._not_read()
        yield from self._trailers.partial()

    def _observation(self, line: Line) -> Iterator[Group | Problem]:
        message = self._message
        if message is None:
            yield Problem(HEADER, f"line {line.number}")
            return
        message.observations += 1
        place = f"line {line.number} (message {message.number}, OBX {message.observations})"
        too_large = line.cut or self._held_bytes + len(line.content) > MOST_GROUP_BYTES
        if message.refused or (message.reports and too_large):
            message.faults += 1
            yield Problem(message.refused or Reason.TOO_LARGE, place)
        elif message.reports:
            self._held_bytes += len(line.content)
            self._group.observations.append(Observation(_text(line, message), place))

    def _context(self, name: str, line: Line) -> Iterator[Group]:
        """A segment that says what the observations behind it, or before it, are of."""
        group, message = self._group, self._group.message
        if _begins_group(name, group):
            yield from self._end_group()
            self._group = group = _next_group(name, group)
        self._held_bytes += len(line.content)
        group.cut |= line.cut or self._held_bytes > MOST_GROUP_BYTES
        text = "" if group.cut else _text(line, message)
        if name == "PID":
            group.patient = text
        elif name == "ORC":
            group.order = text
        elif name == "OBR":
            group.request = text
        elif name == "SPM":
            group.specimens.append(text)
        elif name == "SAC":
            group.container = text

    def _end_group(self) -> Iterator[Group]:
        self._held_bytes = 0
        if self._group.observations:
            yield self._group

    def _end_message(self) -> Iterator[Group | Ended]:
        message, self._message = self._message, None
        if message is None:
            return
        yield from self._end_group()
        self._group = Group(Message(0))
        if message.refused and not message.observations:
            self._put_beside("a message that cannot be read", message)
        elif not message.refused and not message.reports:
            self._put_beside(message.kind, message)
        yield Ended(message)

    def _put_beside(self, kind: str, message: Message) -> None:
        if kind not in self._beside and len(self._beside) >= _MOST_KINDS:
            kind = "messages of other types"
        count, numbers = self._beside.get(kind, (0, []))
        self._beside[kind] = (count + message.observations, [*numbers, message.number][: _MOST_NAMED + 1])

    def _not_read(self) -> Iterator[NotRead]:
        for kind, (count, numbers) in self._beside.items():
            named = ", ".join(map(str, numbers[:_MOST_NAMED])) + (", …" if len(numbers) > _MOST_NAMED else "")
            yield NotRead(f"{kind}: {count} OBX", f"message{'s' if len(numbers) > 1 else ''} {named}")


def _begins_group(name: str, group: Group) -> bool:
    """Whether a segment is no longer about the observations before it."""
    if name == "OBR":
        return bool(group.request or group.observations)
    if name == "ORC" and group.message.specimen_first:
        return bool(group.observations or group.order)  # there it may stand behind its OBR
    return name in ("PID", "ORC") or (name == "SPM" and group.message.specimen_first)


def _next_group(name: str, group: Group) -> Group:
    following = Group(group.message, patient=group.patient, cut=group.cut and name != "PID")
    if group.message.specimen_first and name in ("ORC", "OBR"):
        following.specimens, following.container = group.specimens, group.container
    if name == "OBR" and not group.request:
        following.order = group.order
    return following


def message_of(line: Line, number: int, encoding: str | None) -> Message:
    """The message that a header begins; refused where it cannot be read."""
    content, mark = line.content, line.content[3:4]
    named = content.split(mark)[17:18] if mark else []
    codec = codec_of((named[0].split(b"~")[0].decode("latin-1") if named else "") or encoding or "")
    marks = marks_of(content, codec or "utf-8")
    if marks is None or line.cut:
        return Message(number, refused=HEADER)
    fields = content.decode(marks.codec, "surrogateescape").split(marks.field)
    fields += [""] * (12 - len(fields))
    kind, version = marks.component.join(fields[8].split(marks.component)[:2]), fields[11].split(marks.component)[0]
    kind = kind.replace(marks.component, "^").strip().removesuffix("^")
    message = Message(number, marks=marks, sent=said(fields[6].split(marks.component)[0][:_LONGEST_TIME]))
    message.laboratory = _facility(fields[3], marks)
    if _KIND.fullmatch(kind):
        message.kind = kind
    if version.strip() and not _VERSION.fullmatch(version.strip()):
        message.refused = HEADER
    elif codec is None:
        message.refused = ENCODING
    return message


def _facility(sender: str, marks: Marks) -> str | None:
    """The sending facility's name, else its number."""
    try:
        check_letters(sender)
    except Unreadable:
        return None
    names = [said(part) for part in sender.split(marks.component)[:2]]
    return next((name[:200] for name in names if name), None)


def _text(line: Line, message: Message) -> str:
    return line.content.decode(message.marks.codec, "surrogateescape")
