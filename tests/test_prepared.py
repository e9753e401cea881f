"""The graph that is built once: a runner is told of each plan what it would be told if the graph were built for it."""

import gc
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner

from pipelines import prepared
from pipelines.graph import build
from pipelines.plan import Plan, PlannedRange, Replacement, Selection
from pipelines.prepared import Prepared
from tests.lakes import noting
from tests.test_graph import plan


class Listener(PipelineRunner):  # type: ignore[misc]
    """Notes what it is told to run."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> None:
        self.told.append(pipeline.to_runner_api())


def told_of(plan: Plan) -> Any:
    """What a runner is told of a graph that is built for this plan."""
    pipeline = beam.Pipeline(Listener(), PipelineOptions())
    build(pipeline, plan)
    return pipeline.to_runner_api()


def replay() -> Plan:
    """A plan that differs in all that plans differ in."""
    chosen = tuple(Selection(offset=n, runs=((0, n),)) for n in range(1, 40))
    ranges = [
        PlannedRange(topic="acme.sensor-reading.v1", partition=n, start=0, end=99, selected=chosen) for n in (1, 2)
    ]
    replaced = {"study=a/observation": Replacement(remove=("x",))}
    return plan().model_copy(update={"n": 7, "id": "b", "ranges": tuple(ranges), "replaced": replaced})


def test_each_plan_is_told_as_if_the_graph_were_built_for_it_though_it_is_built_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[Plan] = []
    monkeypatch.setattr(prepared, "build", noting(built, build, 1))
    runner = Listener()
    pipeline, first, second = Prepared(runner, PipelineOptions()), plan(), replay()
    for one in (first, second, first):
        pipeline.run_with(one)
    assert len(built) == 1
    of_first, of_second = told_of(first), told_of(second)
    assert runner.told == [of_first, of_second, of_first]
    assert of_first != of_second


def test_what_is_loaded_is_set_apart_from_the_garbage_once_in_a_process_before_the_first_plan_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: said.append("set apart"))
    monkeypatch.setattr(Listener, "run_pipeline", lambda *_: said.append("ran"))
    prepared._stays.cache_clear()
    for _ in range(2):
        pipeline = Prepared(Listener(), PipelineOptions())
        for one in (plan(), replay()):
            pipeline.run_with(one)
    assert said == ["set apart", "ran", "ran", "ran", "ran"]
