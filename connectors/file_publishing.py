"""One file of a registered format, published: which connector reads it, and what became of it, with a receipt."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import BinaryIO, NamedTuple

from connectors.app_export import publish_export
from connectors.formats import FileRefused, Format, Found, Partial, read_file
from connectors.hl7v2 import HL7V2, Reader
from connectors.hl7v2_answers import Answers
from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.lab_results import publish_results
from connectors.problems import UNACKNOWLEDGED
from connectors.receipt import Receipt
from connectors.sending import MOST_BYTES, Sink
from connectors.source_file import StorageFailed
from schemas.lab_mapping import LabMapping


class Stopped(Exception):
    """Raised by whoever is told how far a file is, where the rest of it shall not be read now."""


Tell = Callable[[Receipt], None]
"""Called between the parts of a file with what has become of it so far; what it raises ends the reading."""


@dataclass
class Published:
    """What became of a file: its receipt, what its messages would be acknowledged with where the format has such, and
    the failure of Kafka that kept the rest of it from being sent."""

    receipt: Receipt
    answers: Answers | None = None
    failure: KafkaUnreachable | KafkaRefused | None = None

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker took all that could be read."""
        return self.failure is None and not self.receipt.problems[UNACKNOWLEDGED]


class Outlet(NamedTuple):
    """Where a file's messages go, and how many bytes one may have; without a sink they are only counted."""

    sink: Sink | None = None
    most_bytes: int = MOST_BYTES


def publish_file(
    source: Format,
    stream: BinaryIO,
    name: str,
    outlet: Outlet,
    subject: str = "",
    mapping: LabMapping | None = None,
    tell: Tell | None = None,
    careful: bool = False,
) -> Published:
    """Publish what a file holds; a file that is refused, and a Kafka that fails, are told by the receipt's `partial`.

    `subject` is whose file it is: needed by the contract app-export, and otherwise goes before what the file says.
    `mapping` is the laboratory's. LabMappingError where it cannot be used. With `careful` a defect of a connector is
    told as the place where the file stopped being readable, so that it keeps nobody from the next file.
    """
    done = Published(Receipt(source.name))
    reader = Reader(mapping, subject or None) if source.name == HL7V2.name else None
    try:
        found = read_file(replace(source, read=reader) if reader else source, stream, name)
        done.answers = reader.answers if reader else None
        _send(source, _told(found, done.receipt, tell) if tell else found, subject, done, outlet)
    except FileRefused as refusal:
        done.receipt.note(Partial("its beginning", str(refusal)))
    except (KafkaUnreachable, KafkaRefused) as failure:
        done.failure = failure
        done.receipt.note(Partial("the first message that was not confirmed", str(failure)))
    except (Stopped, StorageFailed):
        raise
    except Exception as defect:
        if not careful:
            raise
        done.receipt.note(Partial("the last record that was read", _defect(defect)))
    return done


def _defect(error: Exception) -> str:
    """Which and where, for whoever reports it; its text may repeat what the file holds."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"a defect of the connector, {type(error).__name__} at {PurePath(place.filename).name}:{place.lineno}"


def _send(source: Format, found: Iterator[Found], subject: str, done: Published, outlet: Outlet) -> None:
    if source.contract == "lab-result":
        publish_results(found, done.receipt, outlet.sink, done.answers, outlet.most_bytes)
    else:
        publish_export(source, found, subject, done.receipt, outlet.sink, outlet.most_bytes)


def _told(found: Iterator[Found], receipt: Receipt, tell: Tell) -> Iterator[Found]:
    for one in found:
        yield one
        tell(receipt)
