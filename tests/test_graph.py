"""The graph: its list, and how its elements travel: never pickled, always the same bytes for the same element."""

from collections import deque
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.coders.coders import Coder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.portability import common_urns
from apache_beam.runners.pipeline_context import PipelineContext

from connectors.kafka import KafkaSettings
from pipelines import stages
from pipelines.blocks import Block
from pipelines.coder import BlockCoder
from pipelines.graph import _Run, build
from pipelines.plan import Plan, PlannedRange
from pipelines.run import RunnerRefused, refuse_lossy
from schemas.registry import Partner

PICKLING = (
    coders.PickleCoder,
    coders.DillCoder,
    coders.CloudpickleCoder,
    coders.FastPrimitivesCoder,
    coders.coders.FakeDeterministicFastPrimitivesCoder,
    coders.coders.DeterministicFastPrimitivesCoder,
)


@pytest.fixture(scope="module")
def pipeline() -> beam.Pipeline:
    """The pipeline of a small plan, not run."""
    made = beam.Pipeline()
    build(made, plan())
    return made


def plan() -> Plan:
    item = PlannedRange(topic="acme.sensor-reading.v1", partition=0, start=0, end=1)
    return Plan(
        n=1,
        epoch=1,
        planned_at_us=0,
        hold_us=0,
        ranges=(item,),
        snapshot="/nowhere",
        lake="/nowhere",
        vault="/nowhere",
        kafka=KafkaSettings(),
        partners={"acme": Partner(name="acme")},
    )


def edges(pipeline: beam.Pipeline) -> dict[str, Coder]:
    """Each edge of the pipeline as a runner is told of it, and the coder that carries its elements."""
    proto = pipeline.to_runner_api()
    context = PipelineContext(proto.components)
    found = proto.components.pcollections
    return {item.unique_name: context.coders.get_by_id(item.coder_id) for item in found.values()}


def parts(coder: Coder) -> Iterator[Coder]:
    yield coder
    for inner in coder._get_component_coders():
        yield from parts(inner)


def pickled(pipeline: beam.Pipeline) -> list[str]:
    """Edges on which anything is pickled."""
    return [name for name, coder in edges(pipeline).items() if any(isinstance(p, PICKLING) for p in parts(coder))]


def test_no_edge_pickles_and_every_edge_is_deterministic(pipeline: beam.Pipeline) -> None:
    assert len(edges(pipeline)) >= 15
    assert pickled(pipeline) == []
    assert [name for name, coder in edges(pipeline).items() if not coder.is_deterministic()] == []


def test_blocks_travel_by_their_own_coder_on_every_stage(pipeline: beam.Pipeline) -> None:
    carried = {
        name.lstrip("0123456789").split("/")[0]: type(coder)
        for name, coder in edges(pipeline).items()
        if name.endswith("ParDo(_Run).None")
    }
    for texts in ("Ranges", "Manifest"):
        assert carried.pop(texts) is not BlockCoder
    assert carried == dict.fromkeys(("Read", "Decode", "Normalise", "Consent", "Check", "Land"), BlockCoder)


def test_the_search_for_pickling_finds_it() -> None:
    pipeline = beam.Pipeline()
    pipeline | beam.Create(["x"]) | beam.Map(lambda text: Block({}, {})).with_output_types(object)
    assert len(pickled(pipeline)) == 1


def test_the_stages_are_the_list_of_the_documents(pipeline: beam.Pipeline) -> None:
    class Names(PipelineVisitor):
        found: list[str] = []

        def enter_composite_transform(self, node: beam.pipeline.AppliedPTransform) -> None:
            if node.full_label and "/" not in node.full_label:
                self.found.append(node.full_label)

    names = Names()
    pipeline.visit(names)
    assert names.found == ["Ranges", "Read", "Decode", "Normalise", "Consent", "Check", "Land", "Manifest"]


def test_partitions_are_shared_among_workers_before_they_are_read(pipeline: beam.Pipeline) -> None:
    proto = pipeline.to_runner_api().components
    (reading,) = (one for one in proto.transforms.values() if one.unique_name == "Read/ParDo(_Run)/ParDo(_Run)")
    (source,) = reading.inputs.values()
    (before,) = (one for one in proto.transforms.values() if source in one.outputs.values() and not one.subtransforms)
    assert before.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn


@pytest.mark.parametrize("method", ["start_bundle", "process", "finish_bundle"])
def test_beam_finds_the_methods_of_a_stage(method: str) -> None:
    """And examines them alone: it does so for every bundle."""
    examined = [name for name in dir(_Run(stages.Stage(plan()))) if name in dir(beam.DoFn)]
    assert method in examined and len(examined) == 3


def test_building_the_graph_says_nothing(logged: deque[str]) -> None:
    build(beam.Pipeline(), plan())
    assert not logged


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_modes_that_keep_every_element_pass(mode: str) -> None:
    refuse_lossy(PipelineOptions([f"--direct_running_mode={mode}"]))


def test_the_mode_that_loses_elements_is_refused() -> None:
    with pytest.raises(RunnerRefused, match="multi_threading loses elements: use in_memory or multi_processing"):
        refuse_lossy(PipelineOptions(["--direct_running_mode=multi_threading"]))
