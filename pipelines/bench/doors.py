"""The group `doors`: how fast files come through their connectors, and from there into committed tables."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from connectors.hl7v2 import Reader
from connectors.hl7v2_fields import by_the_library
from connectors.lab_results import publish_results
from connectors.publisher import Publisher
from connectors.receipt import Receipt
from pipelines.bench.door_files import METRICS, export_xml, results_hl7
from pipelines.bench.door_reading import count_elements, publish_records
from pipelines.bench.figures import Figure, Stopwatch
from pipelines.bench.own_process import in_own_process
from pipelines.bench.world import DAY_US, BenchWorld, land_all, own_broker
from schemas.lab_entries import SubjectField
from schemas.lab_mapping import LabMapping

SMALL_MB, LARGE_MB = 200, 2_000
RESULTS = 50_000
SCALARS = 2_000
PERSON = "s1"  # in two studies
MB = 1e6
Say = Callable[[str], None]


def doors(say: Say) -> Iterator[Figure]:
    """Every figure of the group, as it is measured, on a broker and in a folder of its own."""
    with own_broker() as (folder, bootstrap):
        world = BenchWorld(
            folder / "world",
            bootstrap,
            contracts=("sensor-reading", "app-export", "lab-result"),
            metrics=("acceleration", "heart_rate", *METRICS),
        )
        world.consent()
        _warm(world)
        yield from _exports(world, folder, say)
        yield from _results(world, folder, say)


def _warm(world: BenchWorld) -> None:
    """A first plan: it follows the consents, makes their snapshot and builds the graph, once and for all that come."""
    world.publish_one(int(PERSON[1:]), world.begin_us + 2 * DAY_US)
    _worked_off(world)


def _exports(world: BenchWorld, folder: Path, say: Say) -> Iterator[Figure]:
    """Two sizes of an export, each read in a process of its own; the smaller one then lands."""
    peaks = []
    large = BenchWorld(folder / "large", world.settings.kafka.bootstrap, contracts=("app-export",))
    for megabytes, own in ((SMALL_MB, world), (LARGE_MB, large)):
        say(f"writing an export of {megabytes:,} MB")
        file = folder / "export.xml"
        records = export_xml(file, megabytes, world.begin_us)
        say("counting its elements with expat")
        bound = in_own_process(partial(count_elements, file))
        say("publishing it")
        ours = in_own_process(partial(publish_records, file, own.config, PERSON))
        file.unlink()
        peaks.append(ours.peak_bytes / MB)
        name = f"Apple Health, {megabytes:,} MB of XML to published messages"
        yield Figure(name, megabytes / ours.seconds, "MB/CPU s", megabytes / bound.seconds, "≥0.35")
        if own is world:
            yield _landed(world, records, say)
    yield Figure("Apple Health, peak memory of the larger file", peaks[1], "MB", peaks[0], "≤1.1")
    yield Figure("Apple Health, peak memory", max(peaks), "MB", None, "≤400")


def _landed(world: BenchWorld, records: int, say: Say) -> Figure:
    """Readings a CPU second of the export, beside those of sensor messages of 600."""
    say("landing it")
    export = _worked_off(world)
    say("landing scalar readings beside it")
    world.publish_scalars(SCALARS, 600, world.begin_us + DAY_US)
    scalars = SCALARS * 600 / _worked_off(world)
    return Figure("Apple Health, published to landed", records / export, "readings/CPU s", scalars, "≥0.5")


def _results(world: BenchWorld, folder: Path, say: Say) -> Iterator[Figure]:
    """A batch of results, from the file to the tables, beside the same library that only parses it."""
    say(f"{RESULTS:,} results of HL7 v2")
    file = folder / "results.hl7"
    messages = results_hl7(file, RESULTS, world.begin_us)
    parsing = Stopwatch()
    with parsing.running():
        for message in messages:
            by_the_library(message)
    mapping = LabMapping(subject=(SubjectField(kind="person", field="PID-3.1"),))
    reading, receipt = Stopwatch(), Receipt("hl7v2")
    with reading.running(), file.open("rb") as stream:
        reader = Reader(mapping)
        with Publisher(world.settings.kafka, world.topic_of("lab-result")) as sink:
            publish_results(reader(stream, file.name), receipt, sink, reader.answers)
    assert receipt.published == RESULTS, "a result was not published"
    landing = _worked_off(world)
    ours = RESULTS / (reading.seconds + landing)
    yield Figure("HL7 v2, file to landed", ours, "results/CPU s", RESULTS / parsing.seconds, "≥0.6")


def _worked_off(world: BenchWorld) -> float:
    """CPU seconds in which a driver lands what there is; what the quality job takes afterwards is a figure of its own."""
    watch, driver = Stopwatch(), world.driver()
    with watch.running():
        land_all(driver)
    return watch.seconds
