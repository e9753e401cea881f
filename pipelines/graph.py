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
from pipelines.plan import Plan

NOTES = "notes"
assert coder.BlockCoder().is_deterministic()  # and it is registered


def build(pipeline: beam.Pipeline, plan: Plan) -> None:
    """The whole graph of one plan."""
    records, read = pipeline | "Ranges" >> _ranges(plan) | "Read" >> _Stage(stages.Read(plan))
    messages, decoded = records | "Decode" >> _Stage(stages.Decode(plan))
    readings, normalised = messages | "Normalise" >> _Stage(stages.Normalise(plan))
    permitted, claimed = readings | "Consent" >> _Stage(stages.Consent(plan))
    checked, counted = permitted | "Check" >> _Stage(stages.Check(plan))
    _, written = checked | "Land" >> _Stage(stages.Land(plan))
    (read, decoded, normalised, claimed, counted, written) | "Manifest" >> _Manifest(plan)


def _ranges(plan: Plan) -> beam.PTransform:
    return beam.Create([item.model_dump_json() for item in plan.ranges]).with_output_types(str)


@dataclass
class _Stage(beam.PTransform):  # type: ignore[misc]
    """One stage of the list: blocks go on, notes go to the manifest."""

    stage: Any

    @no_annotations  # type: ignore[untyped-decorator]  # a PTransform of several outputs has no type in Beam's words
    def expand(self, items: beam.PCollection) -> tuple[beam.PCollection, beam.PCollection]:
        outputs = items | beam.ParDo(_Run(self.stage)).with_outputs(NOTES, main="blocks")
        outputs["blocks"].element_type = Block  # so that its registered coder is used
        outputs[NOTES].element_type = str
        return outputs["blocks"], outputs[NOTES]


class _Run(beam.DoFn):  # type: ignore[misc]
    """Beam's life cycle around a stage: `start` once a bundle, `each` an element, `finish` what is left."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def start_bundle(self) -> None:
        self._stage.start()

    def process(self, item: Any) -> Iterator[Any]:
        for result in self._stage.each(item):
            yield beam.pvalue.TaggedOutput(NOTES, result) if isinstance(result, str) else result

    def finish_bundle(self) -> Iterator[Any]:
        for text in self._stage.finish():
            value = WindowedValue(text, GlobalWindow().max_timestamp(), [GlobalWindow()])
            yield beam.pvalue.TaggedOutput(NOTES, value)


@dataclass
class _Manifest(beam.PTransform):  # type: ignore[misc]
    """When all is written: one object that says what, which the driver finds by the plan's name."""

    plan: Plan

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, notes: Iterable[beam.PCollection]) -> beam.PCollection:
        keyed = beam.Map(lambda text: ("manifest", text)).with_output_types(tuple[str, str])
        write = beam.Map(_write_manifest, self.plan).with_output_types(str)
        return notes | beam.Flatten() | keyed | beam.GroupByKey() | write


def _write_manifest(grouped: tuple[str, Iterable[str]], plan: Plan) -> str:
    return stages.write_manifest(plan, grouped[1])
