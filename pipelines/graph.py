"""The run: one bounded Beam pipeline, the same on every runner. It reads as the list that it is.

    read → decode → normalise → consent → check → land → manifest

Each stage wires functions that know nothing of Beam. Only `Rejected` is caught, where a record or reading is judged;
anything else stops the run, and a run that stops makes nothing visible.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.windowed_value import WindowedValue

from pipelines import coder, stages
from pipelines.blocks import Block
from pipelines.failure import telling
from pipelines.plan import Plan

NOTES = "notes"
assert coder.BlockCoder().is_deterministic()  # and it is registered
_KEYED = beam.typehints.KV[str, str]


def build(pipeline: beam.Pipeline, plan: Plan) -> None:
    """The whole graph of one plan."""
    ranges = pipeline | "Ranges" >> _Ranges(stages.Ranges(plan))
    records, read = ranges | "Read" >> _Stage(stages.Read(plan))
    messages, decoded = records | "Decode" >> _Stage(stages.Decode(plan))
    readings, normalised = messages | "Normalise" >> _Stage(stages.Normalise(plan))
    permitted, claimed = readings | "Consent" >> _Stage(stages.Consent(plan))
    checked, _ = permitted | "Check" >> _Stage(stages.Check(plan))
    _, written = checked | "Land" >> _Stage(stages.Land(plan))
    (read, decoded, normalised, claimed, written) | "Manifest" >> _Manifest(stages.Manifest(plan))


@dataclass
class _Ranges(beam.PTransform):  # type: ignore[misc]
    """What is to be read, by partition, so that workers share the partitions."""

    stage: Any

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        return begin | beam.Impulse() | beam.ParDo(_Run(self.stage)).with_output_types(_KEYED) | beam.GroupByKey()


@dataclass
class _Stage(beam.PTransform):  # type: ignore[misc]
    """One stage of the list: blocks go on, notes go to the manifest."""

    stage: Any

    @no_annotations  # type: ignore[untyped-decorator]  # a PTransform of several outputs has no type in Beam's words
    def expand(self, items: beam.PCollection) -> tuple[beam.PCollection, beam.PCollection]:
        outputs = items | beam.ParDo(_Run(self.stage)).with_outputs(NOTES, main="blocks")
        outputs["blocks"].element_type = Block  # so that its registered coder is used
        outputs[NOTES].element_type = _KEYED
        return outputs["blocks"], outputs[NOTES]


@dataclass
class _Manifest(beam.PTransform):  # type: ignore[misc]
    """When all is written: one object that says what, which the driver finds by the plan's name."""

    stage: Any

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, notes: Iterable[beam.PCollection]) -> beam.PCollection:
        return notes | beam.Flatten() | beam.GroupByKey() | beam.ParDo(_Run(self.stage)).with_output_types(str)


class _Run(beam.DoFn):  # type: ignore[misc]
    """Beam's life cycle around a stage: `start` once a bundle, `each` an element, `finish` what is left."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage

    def start_bundle(self) -> None:
        with telling(self.stage.plan):
            self.stage.start()

    def process(self, item: Any) -> Iterator[Any]:
        with telling(self.stage.plan):
            for result in self.stage.each(item):
                yield beam.pvalue.TaggedOutput(NOTES, (NOTES, result)) if isinstance(result, str) else result

    def finish_bundle(self) -> Iterator[Any]:
        with telling(self.stage.plan):
            for text in self.stage.finish():
                value = WindowedValue((NOTES, text), GlobalWindow().max_timestamp(), [GlobalWindow()])
                yield beam.pvalue.TaggedOutput(NOTES, value)

    def __dir__(self) -> Iterable[str]:
        """Beam examines the signature of every method that it finds, for every bundle: ours are all that matter."""
        return ("start_bundle", "process", "finish_bundle")
