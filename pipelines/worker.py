"""wellspring-worker: starts one worker of a runner, as Beam's containers start theirs.

A TaskManager (`workers: process`) or a worker pool (`workers: external`) calls it with `--id` and `--provision_endpoint`,
where it asks for its options and for the addresses of whoever gives it work.
"""

import argparse
import json
import os
import sys

from pipelines.spared import spare

spare()

import grpc  # noqa: E402  what comes with Beam loads what is spared
from apache_beam.portability.api import (  # noqa: E402
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from apache_beam.runners.worker import sdk_worker_main  # noqa: E402
from google.protobuf import json_format, text_format  # noqa: E402

_ANSWER_S = 60.0


def main(arguments: list[str] | None = None) -> None:
    """Work until the runner ends it."""
    parser = argparse.ArgumentParser(prog="wellspring-worker", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--id", required=True, help="the worker's name")
    parser.add_argument("--provision_endpoint", required=True, help="host:port that tells it the rest")
    asked, _ = parser.parse_known_args(arguments)
    os.environ.update(environment(asked.id, provision(asked.id, asked.provision_endpoint)))
    sdk_worker_main.main(sys.argv)


def provision(worker: str, endpoint: str) -> beam_provision_api_pb2.ProvisionInfo:
    """What the runner says of the job that this worker is for."""
    with grpc.insecure_channel(endpoint) as channel:
        asked = beam_provision_api_pb2.GetProvisionInfoRequest()
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        return stub.GetProvisionInfo(asked, metadata=[("worker_id", worker)], timeout=_ANSWER_S).info


def environment(worker: str, info: beam_provision_api_pb2.ProvisionInfo) -> dict[str, str]:
    """The same in the variables that Beam's worker reads."""
    told = {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json.dumps(json_format.MessageToDict(info.pipeline_options)),
        "CONTROL_API_SERVICE_DESCRIPTOR": _text(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.logging_endpoint.url:
        told["LOGGING_API_SERVICE_DESCRIPTOR"] = _text(info.logging_endpoint)
    if info.status_endpoint.url:
        told["STATUS_API_SERVICE_DESCRIPTOR"] = _text(info.status_endpoint)
    return told


def _text(endpoint: endpoints_pb2.ApiServiceDescriptor) -> str:
    return str(text_format.MessageToString(endpoint))


if __name__ == "__main__":
    main()
