"""Which runner, by which options; what of it is refused; how a job is waited for."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc, beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PipelineResult, PortableRunner
from apache_beam.runners.runner import PipelineState

from pipelines import run, runners
from pipelines.failure import StageFailed, telling
from pipelines.graph import build
from pipelines.plan import Plan
from pipelines.runner_settings import PLANS_ELSEWHERE, RunnerFailed, RunnerRefused, RunnerSettings, RunnerUnreachable
from pipelines.runners import JobServerRunner, job_name, pipeline_options, submitted, wait_for
from pipelines.settings import Limits, Settings, suited
from pipelines.store import FolderStore
from tests import test_graph
from tests.documents import OPERATORS, blocks


def of(settings: RunnerSettings) -> dict[str, Any]:
    found: dict[str, Any] = pipeline_options(settings, "wellspring-x").get_all_options(drop_default=True)
    return found


def test_flink_is_told_where_and_by_whom_the_plan_is_run() -> None:
    told = of(RunnerSettings(kind="flink", parallelism=4))
    assert told["job_endpoint"] == "127.0.0.1:8099" and told["job_name"] == "wellspring-x"
    assert (told["environment_type"], told["environment_config"]) == ("EXTERNAL", "127.0.0.1:8100")
    assert int(told["sdk_worker_parallelism"]) == 4


def test_workers_as_processes_are_those_of_this_installation_or_of_the_one_named(tmp_path: Path) -> None:
    own = json.loads(of(RunnerSettings(kind="flink", workers="process"))["environment_config"])
    assert Path(own["command"]).name == "wellspring-worker"
    named = RunnerSettings(kind="flink", workers="process", worker_command=tmp_path / "worker")
    assert json.loads(of(named)["environment_config"]) == {"command": str(tmp_path / "worker")}


@pytest.mark.parametrize("kind", ["embedded", "flink", "prism"])
def test_streaming_is_refused_on_every_runner_with_the_reason(kind: Any) -> None:
    with pytest.raises(RunnerRefused, match="streaming loses whole sources .* bounded plans"):
        pipeline_options(RunnerSettings(kind=kind, options=("--streaming",)))


def test_a_job_endpoint_makes_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(run._runner(pipeline_options(RunnerSettings())), FnApiRunner)
    assert isinstance(run._runner(pipeline_options(RunnerSettings(kind="prism"))), JobServerRunner)


def test_plans_are_larger_elsewhere_unless_the_operator_says_how_large() -> None:
    elsewhere = RunnerSettings(kind="flink")
    assert suited(Limits(), RunnerSettings()) == Limits()
    assert suited(Limits(), elsewhere).model_dump(include=set(PLANS_ELSEWHERE)) == PLANS_ELSEWHERE
    mine = suited(Limits(freshness_s=3, plan_mb=7), elsewhere)
    assert (mine.freshness_s, mine.plan_mb, mine.plan_records) == (3, 7, PLANS_ELSEWHERE["plan_records"])
    assert Settings(runner=elsewhere).limits == suited(Limits(), elsewhere)
    asked = Settings(limits=Limits(plan_mb=7)).on_runner("flink")
    assert (asked.limits.plan_mb, asked.limits.freshness_s) == (7, 120.0) and asked.runner.kind == "flink"
    assert asked.on_runner("embedded").limits == Limits(plan_mb=7)


def test_jobs_of_a_lake_have_a_name_and_those_of_another_lake_another() -> None:
    assert job_name("/a") == job_name("/a") != job_name("/b")
    assert "/" not in job_name("/a")


def test_who_finds_nobody_is_told_what_to_start() -> None:
    def nobody() -> Any:
        raise TimeoutError

    with pytest.raises(RunnerUnreachable, match="^no job server answers at 127.0.0.1:8099: .* `wellspring flink up`"):
        submitted(nobody, pipeline_options(RunnerSettings(kind="flink")))
    with pytest.raises(RunnerUnreachable, match="^no Prism answers at h:8073: start it with `prism --job_port=8073 "):
        submitted(nobody, pipeline_options(RunnerSettings(kind="prism", job_endpoint="h:8073")))


def test_a_plan_after_the_first_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    handing, options = JobServerRunner(), pipeline_options(RunnerSettings(kind="flink"))
    told = handing.default_environment(options).to_runner_api(None)
    left = list(tmp_path.iterdir())
    assert handing.default_environment(options).to_runner_api(None) == told
    assert list(tmp_path.iterdir()) == left


# -- the wait


class Job:
    """A job that is in these states one after the other."""

    def __init__(self, *states: str, said: str = "") -> None:
        self._states, self._said = iter(states), said
        self.cancelled = False
        self._state = states[0]

    @property
    def state(self) -> str:
        self._state = next(self._states, self._state)
        return self._state

    def cancel(self) -> None:
        self.cancelled = True

    def wait_until_finish(self) -> None:
        if self._said:
            raise RuntimeError(self._said)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "_LOOK_S", 0)


def plan_in(folder: Path) -> Plan:
    return test_graph.plan().model_copy(update={"lake": str(folder), "is_elsewhere": True})


def test_a_job_is_waited_for(tmp_path: Path) -> None:
    job = Job(PipelineState.RUNNING, PipelineState.RUNNING, PipelineState.DONE)
    wait_for(job, plan_in(tmp_path), FolderStore(tmp_path), PipelineOptions([]))
    assert not job.cancelled


def test_what_a_stage_has_said_is_raised_at_once_and_the_job_is_cancelled(tmp_path: Path) -> None:
    plan, job = plan_in(tmp_path), Job(PipelineState.RUNNING)
    with pytest.raises(StageFailed), telling(plan):
        raise KeyError("somebody's name")
    with pytest.raises(StageFailed, match=r"^KeyError at tests/test_runners\.py:\d+$"):
        wait_for(job, plan, FolderStore(tmp_path), PipelineOptions([]))
    assert job.cancelled and list(FolderStore(tmp_path).list("")) == []


def test_a_job_that_fails_without_a_word_is_the_runners_failure(tmp_path: Path) -> None:
    job = Job(PipelineState.RUNNING, PipelineState.FAILED, said="no slots")
    with pytest.raises(RunnerFailed, match="no slots"):
        wait_for(job, plan_in(tmp_path), FolderStore(tmp_path), PipelineOptions([]))


@pytest.mark.parametrize(
    "said",
    [
        "org.apache.flink.runtime.rest.util.RestClientException: FlinkJobNotFoundException: Could not find Flink job (7)",
        "JobSubmissionException: Failed to submit JobGraph. Caused by: java.net.ConnectException: Connection refused",
    ],
)
def test_a_job_that_its_manager_has_lost_is_waited_for_as_a_job_server_is(said: str, tmp_path: Path) -> None:
    job = Job(PipelineState.RUNNING, PipelineState.FAILED, said=said)
    with pytest.raises(RunnerUnreachable, match="JobManager has lost the job"):
        wait_for(job, plan_in(tmp_path), FolderStore(tmp_path), PipelineOptions([]))


def test_a_job_for_which_flink_has_no_places_is_waited_for(tmp_path: Path) -> None:
    """Another one may keep them, which a job server that is gone has left there."""
    said = "JobExecutionException. Caused by: NoResourceAvailableException: Could not acquire the minimum required resources."
    job = Job(PipelineState.RUNNING, PipelineState.FAILED, said=said)
    with pytest.raises(RunnerUnreachable, match="fewer free task slots than runner.parallelism"):
        wait_for(job, plan_in(tmp_path), FolderStore(tmp_path), PipelineOptions([]))


class Hanging(beam_job_api_pb2_grpc.JobServiceServicer):  # type: ignore[misc]
    """A job server that takes every question, keeps its connections, and answers none until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def GetState(self, request: Any, context: Any) -> Any:
        self.let_go.wait(60)
        return beam_job_api_pb2.JobStateEvent()


@pytest.fixture
def hanging() -> Iterator[str]:
    """Its address."""
    service, server = Hanging(), grpc.server(ThreadPoolExecutor(2))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    service.let_go.set()
    server.stop(None).wait()


def test_a_job_server_that_hangs_is_waited_for_as_one_that_is_gone(
    hanging: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "_ANSWER_S", 0.2)
    options = pipeline_options(RunnerSettings(kind="flink", job_endpoint=hanging))
    with grpc.insecure_channel(hanging) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        service = JobServerRunner().create_job_service_handle(stub, options).job_service
        job = PipelineResult(service, "job", iter(()), iter(()))
        with pytest.raises(RunnerUnreachable, match=f"no job server answers at {hanging}"):
            wait_for(job, plan_in(tmp_path), FolderStore(tmp_path), options)


def test_what_a_stage_has_said_is_raised_though_the_job_server_is_gone(tmp_path: Path) -> None:
    class Gone(Job):
        def cancel(self) -> None:
            raise grpc.RpcError

    plan = plan_in(tmp_path)
    with pytest.raises(StageFailed), telling(plan):
        raise KeyError
    with pytest.raises(StageFailed, match="KeyError"):
        wait_for(Gone(PipelineState.RUNNING), plan, FolderStore(tmp_path), PipelineOptions([]))


# -- runners on which it has not been run

UNTRIED = ("DataflowRunner", "SparkRunner")


def documented(runner: str) -> list[str]:
    """The options that the operators' document gives for it, one a line."""
    (text,) = [one.text for one in blocks(OPERATORS) if one.marked("options") == runner]
    return text.split()


@pytest.fixture
def _nothing_else_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam would ask the machine's own settings of Google's tools for a region."""
    monkeypatch.setattr(DataflowRunner, "get_default_gcp_region", lambda _: None)


def constructed(words: list[str]) -> beam.Pipeline:
    """The graph for these options, which Beam's validator has passed; ValueError where it has not."""
    options = PipelineOptions(words)
    runners.refuse_lossy(options)
    made = beam.Pipeline(options=options)
    build(made, test_graph.plan())
    return made


@pytest.mark.usefixtures("_nothing_else_says_where")
@pytest.mark.parametrize("runner", UNTRIED)
def test_the_graph_is_built_and_told_to_others_by_the_documented_options(runner: str) -> None:
    """What a runner is handed, as bounded and of parts that each knows: no more than that was tried of these."""
    pipeline = constructed(documented(runner))
    assert type(pipeline.runner).__name__ == runner
    told = PortableRunner.get_proto_pipeline(pipeline, pipeline.options)
    again = beam_runner_api_pb2.Pipeline.FromString(told.SerializeToString())
    bounded = beam_runner_api_pb2.IsBounded.BOUNDED
    assert all(one.is_bounded == bounded for one in again.components.pcollections.values())
    kinds = {one.spec.urn for one in again.components.transforms.values() if not one.subtransforms}
    assert kinds <= {f"beam:transform:{name}:v1" for name in ("impulse", "pardo", "group_by_key", "flatten")}


@pytest.mark.parametrize("runner", UNTRIED)
def test_beam_knows_every_documented_option(runner: str) -> None:
    words = documented(runner)
    known = PipelineOptions(words).get_all_options(drop_default=True)
    for word in words:
        name, value = word.removeprefix("--").split("=", 1)
        assert str(known.get(name)) == value


@pytest.mark.usefixtures("_nothing_else_says_where")
@pytest.mark.parametrize(
    ("runner", "left_out", "missed"),
    [
        ("DataflowRunner", "project", "project"),
        ("DataflowRunner", "region", "region"),
        ("DataflowRunner", "temp_location", "temp_location"),
        ("SparkRunner", "environment_config", "external_service_address"),
    ],
)
def test_an_option_that_is_left_out_is_missed_at_construction(runner: str, left_out: str, missed: str) -> None:
    words = documented(runner)
    fewer = [word for word in words if not word.startswith(f"--{left_out}=")]
    assert len(fewer) == len(words) - 1
    with pytest.raises(ValueError, match=f"validations errors.*\n.*{missed}"):
        constructed(fewer)
