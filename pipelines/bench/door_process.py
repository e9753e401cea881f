"""One reading of an export in a process of its own, so that its memory is its own."""

import multiprocessing
from pathlib import Path
from typing import BinaryIO, NamedTuple
from xml.parsers import expat

from connectors.app_export import publish_export
from connectors.apple_health import FORMAT
from connectors.publisher import Publisher
from connectors.receipt import Receipt
from pipelines.bench.figures import cpu_seconds, peak_bytes
from pipelines.settings import load_settings
from schemas.registry import load_partners

_PIECE = 1024 * 1024


class Measured(NamedTuple):
    """CPU seconds and the most memory, MB, of a process that read a file."""

    seconds: float
    peak_mb: float


def in_process(what: str, file: Path, settings: Path, subject: str = "") -> Measured:
    """Read an export: `count` its elements with expat, or `publish` its records as the person's."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_work, args=(what, str(file), str(settings), subject, answers))
    process.start()
    seconds, peak = answers.get(timeout=1_200)
    process.join()
    return Measured(seconds, peak)


def _work(
    what: str, file: str, settings: str, subject: str, answers: "multiprocessing.Queue[tuple[float, float]]"
) -> None:
    before = cpu_seconds()
    with Path(file).open("rb", buffering=_PIECE) as stream:
        if what == "count":
            _count(stream)
        else:
            _publish(stream, settings, subject)
    answers.put((cpu_seconds() - before, peak_bytes() / 1e6))


def _count(stream: BinaryIO) -> int:
    elements = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.ParseFile(stream)
    return elements


def _publish(stream: BinaryIO, settings: str, subject: str) -> None:
    found, receipt, loaded = FORMAT.read(stream, "export.xml"), Receipt(FORMAT.name), load_settings(Path(settings))
    (partner,) = load_partners(loaded.partners).values()
    with Publisher(loaded.kafka, partner.topic("app-export")) as sink:
        publish_export(FORMAT, found, subject, receipt, sink)
    assert not receipt.problems, "a record of the export was not published"
