"""Running a plan: the graph on a runner, and what came of it."""

import json
import threading
import warnings
from functools import lru_cache
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.accounts import Accounts
from pipelines.files import DataFile
from pipelines.halt import heed
from pipelines.plan import Plan
from pipelines.prepared import Prepared
from pipelines.store import Store
from pipelines.vault import worker_vault

IN_MEMORY = PipelineOptions(["--direct_running_mode=in_memory"])


class RunnerRefused(Exception):
    """Options under which a runner is known to lose elements."""


class Result(NamedTuple):
    """What a run says of itself: its sums and files, its pointers to rejected records, and its new holds."""

    accounts: Accounts
    files: list[DataFile]
    pointers: list[list[Any]]
    holds: list[list[Any]]


def run(plan: Plan, store: Store, options: PipelineOptions | None = None) -> Result:
    """Run the plan on the embedded runner and read its manifest. Nothing of it is visible until it is appended.

    PlanTooLarge where it stopped early.
    """
    if not plan.ranges:
        return Result(Accounts(), [], [], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Beam's own calls
        _pipeline(options or IN_MEMORY, threading.get_ident()).run_with(plan).wait_until_finish()
    heed(plan, store)
    return read_manifest(plan, store)


@lru_cache(maxsize=4)
def _pipeline(options: PipelineOptions, thread: int) -> Prepared:
    """One for each thread, since what it runs with changes."""
    refuse_lossy(options)
    return Prepared(FnApiRunner(), options)


def refuse_lossy(options: PipelineOptions) -> None:
    """RunnerRefused for the direct runner's multi_threading mode: it loses elements without an error."""
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        raise RunnerRefused("direct_running_mode=multi_threading loses elements: use in_memory or multi_processing")


def read_manifest(plan: Plan, store: Store) -> Result:
    """What the run of this plan left behind; FileNotFoundError where it left nothing."""
    vault = worker_vault(plan.vault, plan.vault_work).store
    manifest, private = store.get(plan.manifest_key), vault.get(plan.vault_key)
    if manifest is None or private is None:
        raise FileNotFoundError("the run left no manifest")
    accounts, found = Accounts.from_json(manifest), json.loads(private)
    files = [DataFile.model_validate(file) for file in accounts.files]
    return Result(accounts, files, found["pointers"], found["holds"])
