"""Running a plan: the graph on a runner, and what came of it."""

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.accounts import Accounts
from pipelines.files import DataFile
from pipelines.graph import build
from pipelines.plan import Plan
from pipelines.store import FolderStore, Store


class RunnerRefused(Exception):
    """Options under which a runner is known to lose elements."""


class Result(NamedTuple):
    """What a run says of itself: its sums and files, its pointers to rejected records, and its new holds."""

    accounts: Accounts
    files: list[DataFile]
    pointers: list[list[Any]]
    holds: list[list[Any]]


def run(plan: Plan, store: Store, options: PipelineOptions | None = None) -> Result:
    """Run the plan on the embedded runner and read its manifest. Nothing of it is visible until it is appended."""
    if not plan.ranges:
        return Result(Accounts(), [], [], [])
    options = options or PipelineOptions(["--direct_running_mode=in_memory"])
    refuse_lossy(options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Beam's own calls
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
        build(pipeline, plan)
        pipeline.run().wait_until_finish()
    return read_manifest(plan, store)


def refuse_lossy(options: PipelineOptions) -> None:
    """RunnerRefused for the direct runner's multi_threading mode: it loses elements without an error."""
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        raise RunnerRefused("direct_running_mode=multi_threading loses elements: use in_memory or multi_processing")


def read_manifest(plan: Plan, store: Store) -> Result:
    """What the run of this plan left behind; FileNotFoundError where it left nothing."""
    manifest, private = store.get(plan.manifest_key), FolderStore(Path(plan.vault)).get(plan.vault_key)
    if manifest is None or private is None:
        raise FileNotFoundError("the run left no manifest")
    accounts, found = Accounts.from_json(manifest), json.loads(private)
    files = [DataFile.model_validate(file) for file in accounts.files]
    return Result(accounts, files, found["pointers"], found["holds"])
