"""Beam's runners by name: their options, and how a plan is handed to a job server and waited for."""

import hashlib
import json
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.portable_runner import TERMINAL_STATES, JobServiceHandle, PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines.failure import failure_of_run
from pipelines.plan import Plan
from pipelines.runner_settings import RunnerFailed, RunnerRefused, RunnerSettings, RunnerUnreachable
from pipelines.store import Store

_LOOK_S = 0.2
_ANSWER_S = 30.0
_SHOWN = 400  # characters of what a runner says of a job that failed


def pipeline_options(settings: RunnerSettings, name: str = "wellspring") -> PipelineOptions:
    """Beam's options for the runner, whose jobs have this name; RunnerRefused where it would lose elements."""
    options = PipelineOptions([*_options_of(settings), f"--job_name={name}", *settings.options])
    refuse_lossy(options)
    return options


class _Elsewhere(PipelineOptions):  # type: ignore[misc]
    """What Beam's options do not say: which of the runners a job server is there for."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument("--wellspring_runner")


def _options_of(settings: RunnerSettings) -> Iterable[str]:
    if not settings.is_elsewhere:
        yield "--direct_running_mode=in_memory"
        return
    yield f"--wellspring_runner={settings.kind}"
    yield f"--job_endpoint={settings.job_endpoint}"
    yield f"--environment_type={settings.workers.upper()}"
    if settings.workers == "external":
        yield f"--environment_config={settings.worker_pool}"
    if settings.workers == "process":
        command = settings.worker_command or Path(sys.executable).with_name("wellspring-worker")
        yield f"--environment_config={json.dumps({'command': str(command)})}"
    if settings.kind == "flink":
        yield f"--parallelism={settings.parallelism}"
        yield f"--sdk_worker_parallelism={settings.parallelism}"


def refuse_lossy(options: PipelineOptions) -> None:
    """RunnerRefused for what loses elements without an error: the direct runner's threads, and streaming."""
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        raise RunnerRefused("direct_running_mode=multi_threading loses elements: use in_memory or multi_processing")
    if options.view_as(StandardOptions).streaming:
        raise RunnerRefused(
            "streaming loses whole sources on portable runners without an error: leave it out; `run --follow` repeats "
            "bounded plans, on every runner"
        )


class JobServerRunner(PortableRunner):  # type: ignore[misc]
    """Hands pipelines to a job server, as jobs that bear the name in the options."""

    _environment: Any = None

    def create_job_service_handle(self, job_service: Any, options: PipelineOptions) -> JobServiceHandle:
        return _Handle(_InTime(job_service), options)

    def default_environment(self, options: PipelineOptions) -> Any:
        """Made once: each that Beam makes leaves a folder in the place of temporary files."""
        if self._environment is None:
            self._environment = super().default_environment(options)
        return self._environment


class _InTime:
    """A job server's answers, each within `_ANSWER_S`: one that hangs and keeps its connections is as one that is gone.

    Its streams go on as long as the job.
    """

    def __init__(self, service: Any) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._service, name)
        return call if name.endswith("Stream") else partial(call, timeout=_ANSWER_S)


class _Handle(JobServiceHandle):  # type: ignore[misc]
    def prepare(self, proto_pipeline: Any) -> Any:
        """As Beam does, which calls every job `job`."""
        name = self.options.view_as(GoogleCloudOptions).job_name
        asked = beam_job_api_pb2.PrepareJobRequest(
            job_name=name, pipeline=proto_pipeline, pipeline_options=self.get_pipeline_options()
        )
        return self.job_service.Prepare(asked, timeout=self.timeout)

    def run(self, preparation_id: str) -> tuple[str, Any, Any]:
        """As Beam does, whose streams end after a minute where the job server has them before the job: a longer job
        would then seem to have failed.
        """
        job = self.job_service.Run(beam_job_api_pb2.RunJobRequest(preparation_id=preparation_id)).job_id
        messages = self.job_service.GetMessageStream(beam_job_api_pb2.JobMessagesRequest(job_id=job))
        return job, messages, self.job_service.GetStateStream(beam_job_api_pb2.GetJobStateRequest(job_id=job))


def job_name(lake: str) -> str:
    """The name of the jobs of a lake."""
    return f"wellspring-{hashlib.sha256(lake.encode()).hexdigest()[:12]}"


def cancel_jobs(settings: RunnerSettings, lake: str) -> int:
    """Cancel what a dead driver of this lake has left running, which would keep the places of ours; how many jobs."""
    cancelled = 0
    with grpc.insecure_channel(settings.job_endpoint) as channel:
        service = _InTime(beam_job_api_pb2_grpc.JobServiceStub(channel))
        try:
            jobs = service.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
            for job in jobs:
                if job.job_name == job_name(lake) and job.state not in TERMINAL_STATES:
                    service.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=job.job_id))
                    cancelled += 1
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return cancelled
            raise RunnerUnreachable(_no_answer(settings.job_endpoint, settings.kind)) from None
    return cancelled


def submitted(run: Any, options: PipelineOptions) -> PipelineResult:
    """What `run` returns, which hands a job over; RunnerUnreachable where nobody takes it."""
    try:
        return run()
    except (grpc.RpcError, grpc.FutureTimeoutError, TimeoutError):
        raise _unreachable(options) from None


def wait_for(result: PipelineResult, plan: Plan, store: Store, options: PipelineOptions) -> None:
    """Wait for a job's end. What a stage has said of an error is raised at once, and the job is cancelled."""
    try:
        while not PipelineState.is_terminal(result.state):
            _heed(result, plan, store)
            time.sleep(_LOOK_S)
        _heed(result, plan, store)
        result.wait_until_finish()
    except grpc.RpcError:
        raise _unreachable(options) from None
    except RuntimeError as error:
        raise _failed(str(error)) from None


def _failed(said: str) -> RunnerFailed:
    """What a job's end means. RunnerUnreachable, of which its records are no cause, where nothing of it has run to an end
    since the JobManager was begun anew, or since Flink had no places for it.
    """
    if "FlinkJobNotFoundException" in said or ("JobSubmissionException" in said and "ConnectException" in said):
        return RunnerUnreachable(
            "Flink's JobManager has lost the job, or is not there: nothing of the job is committed"
        )
    if "NoResourceAvailableException" in said:
        return RunnerUnreachable(
            "Flink has fewer free task slots than runner.parallelism: add TaskManagers, or cancel jobs that keep them"
        )
    return RunnerFailed(f"the job failed: {said[:_SHOWN]}")


def _heed(result: PipelineResult, plan: Plan, store: Store) -> None:
    failure = failure_of_run(plan, store)
    if failure is not None:
        with suppress(grpc.RpcError):
            if not PipelineState.is_terminal(result.state):
                result.cancel()
        raise failure


def _unreachable(options: PipelineOptions) -> RunnerUnreachable:
    return RunnerUnreachable(
        _no_answer(options.view_as(PortableOptions).job_endpoint, options.view_as(_Elsewhere).wellspring_runner)
    )


def _no_answer(endpoint: str, kind: str) -> str:
    if kind == "prism":
        port = endpoint.rpartition(":")[2]
        return (
            f"no Prism answers at {endpoint}: start it with `prism --job_port={port} --serve_http=false`, or check the "
            "setting runner.job_endpoint"
        )
    return (
        f"no job server answers at {endpoint}: start one with `wellspring flink up`, or check the setting "
        "runner.job_endpoint"
    )
