"""The graph, built once: to build it anew would cost more than to run a small plan, so only the plan in it is replaced."""

import gc
from functools import cache
from typing import Any

import apache_beam as beam
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.runner import PipelineResult, PipelineRunner

from pipelines.graph import build
from pipelines.plan import Plan

PARDO = common_urns.primitives.PAR_DO.urn


class Prepared(beam.Pipeline):  # type: ignore[misc]
    """A pipeline for one plan after another, in one thread. A runner is told the same as if the graph had been built."""

    def __init__(self, runner: PipelineRunner, options: PipelineOptions) -> None:
        super().__init__(runner, options)
        self._plan: Plan | None = None
        self._told: Any = None

    def run_with(self, plan: Plan) -> PipelineResult:
        """Run this plan."""
        is_first = self._plan is None
        if is_first:
            build(self, plan)
            _stays()
        self._plan = plan
        if is_first:
            return self.run()
        return self.runner.run_pipeline(self, self.options)  # `run` would examine every option again

    def to_runner_api(self, *given: Any, **named: Any) -> Any:
        """What a runner is told: a `beam_runner_api_pb2.Pipeline`."""
        assert self._plan is not None
        if self._told is None:
            self._told = super().to_runner_api(*given, **named)
        told = beam_runner_api_pb2.Pipeline()
        told.CopyFrom(self._told)
        for transform in told.components.transforms.values():
            if transform.spec.urn == PARDO:
                transform.spec.payload = _with_plan(transform.spec.payload, self._plan)
        return told


@cache
def _stays() -> None:
    """What is loaded by now, once in a process, lasts as long as it: the garbage collector need not look at it again.

    Beam's modules are 190,000 objects. To go through them took a fifth of a second, in every fifth plan or so.
    """
    gc.freeze()


def _with_plan(payload: bytes, plan: Plan) -> bytes:
    """A stage as it travels to workers, with this plan in place of the one that it had."""
    pardo = beam_runner_api_pb2.ParDoPayload.FromString(payload)
    function, *rest = pickler.loads(pardo.do_fn.payload)
    function.stage.plan = plan
    pardo.do_fn.payload = pickler.dumps((function, *rest))
    return bytes(pardo.SerializeToString())
