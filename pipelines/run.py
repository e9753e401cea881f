"""Running a plan: the graph on a runner, and what came of it."""

import json
import threading
import uuid
import warnings
from functools import lru_cache
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner

from pipelines.accounts import Accounts
from pipelines.files import DataFile
from pipelines.halt import MustNotRunApart, heed
from pipelines.plan import Plan
from pipelines.prepared import Prepared
from pipelines.runner_settings import RunnerRefused, RunnerSettings
from pipelines.runners import JobServerRunner, pipeline_options, refuse_lossy, submitted, wait_for
from pipelines.store import Store
from pipelines.vault import worker_vault

__all__ = ["IN_MEMORY", "Result", "RunnerRefused", "read_manifest", "refuse_lossy", "run"]

IN_MEMORY = pipeline_options(RunnerSettings())


class Result(NamedTuple):
    """What a run says of itself: its sums and files, its pointers to rejected records, and its new holds."""

    accounts: Accounts
    files: list[DataFile]
    pointers: list[list[Any]]
    holds: list[list[Any]]


def run(plan: Plan, store: Store, options: PipelineOptions = IN_MEMORY) -> Result:
    """Run the plan and read its manifest. Nothing of it is visible until it is appended.

    PlanTooLarge where it stopped early; RunnerFailed where a job server did not bring it to its end.
    """
    if not plan.ranges:
        return Result(Accounts(), [], [], [])
    try:
        _run(plan, store, options)
    except MustNotRunApart:
        again = plan.model_copy(update={"id": uuid.uuid4().hex, "in_one_piece": True})
        _run(again, store, options)
        result = read_manifest(again, store)
        store.delete(again.manifest_key)
        return result
    return read_manifest(plan, store)


def _run(plan: Plan, store: Store, options: PipelineOptions) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Beam's own calls
        if plan.is_elsewhere:
            wait_for(submitted(lambda: _begun(plan, options), options), plan, store, options)
        else:
            embedded(plan, options)
    heed(plan, store)


def embedded(plan: Plan, options: PipelineOptions) -> None:
    """Run the plan in this process, and read nothing of what it leaves."""
    _begun(plan, options).wait_until_finish()


def _begun(plan: Plan, options: PipelineOptions) -> PipelineResult:
    return _pipeline(options, threading.get_ident()).run_with(plan)


@lru_cache(maxsize=4)
def _pipeline(options: PipelineOptions, thread: int) -> Prepared:
    """One for each thread, since what it runs with changes."""
    refuse_lossy(options)
    return Prepared(_runner(options), options)


def _runner(options: PipelineOptions) -> PipelineRunner:
    return JobServerRunner() if options.view_as(PortableOptions).job_endpoint else FnApiRunner()


def read_manifest(plan: Plan, store: Store) -> Result:
    """What the run of this plan left behind; FileNotFoundError where it left nothing."""
    manifest = store.get(plan.manifest_key)
    if manifest is None:
        raise FileNotFoundError("the run left no manifest")
    accounts, vault = Accounts.from_json(manifest), worker_vault(plan.vault, plan.vault_work).store
    private = vault.get(accounts.private)
    if private is None:
        raise FileNotFoundError("the run left nothing in the vault")
    vault.delete(accounts.private)
    found = json.loads(private)
    files = [DataFile.model_validate(file) for file in accounts.files]
    return Result(accounts, files, found["pointers"], found["holds"])
