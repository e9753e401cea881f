"""Why the chart says where files are handed over: a job server sends its clients to the host that it was given."""

from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc, beam_runner_api_pb2

from infra.broker_process import free_port, kill, spawn
from infra.flink.local_flink import LocalFlink, wait_until_it_listens
from infra.kafka_jars import JarsMissing, quiet

EVERYWHERE = "0.0.0.0"


@pytest.mark.timeout(300)
def test_files_are_handed_over_at_the_host_that_the_job_server_was_told_to_be(tmp_path: Path) -> None:
    """From another machine that is the client itself; another machine's name it cannot be given: it would listen there."""
    port = free_port()
    try:
        words = LocalFlink(tmp_path, port, free_port(port))._job_server(quiet)
    except JarsMissing as missing:
        pytest.skip(f"no job server: {missing}")
    words = [f"--job-host={EVERYWHERE}" if word.startswith("--job-host=") else word for word in words]
    (artifact_port,) = [word.partition("=")[2] for word in words if word.startswith("--artifact-port=")]
    process = spawn(words, tmp_path / "log")
    try:
        wait_until_it_listens(process, port, tmp_path / "log")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(60)
            asked = beam_job_api_pb2.PrepareJobRequest(job_name="j", pipeline=beam_runner_api_pb2.Pipeline())
            told = beam_job_api_pb2_grpc.JobServiceStub(channel).Prepare(asked, timeout=60)
    finally:
        kill(process)
    assert told.artifact_staging_endpoint.url == f"{EVERYWHERE}:{artifact_port}"
