"""A worker of a runner, begun as Beam's containers begin theirs: it asks who gives it work, and by which options."""

import json
import os
import sys

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from google.protobuf import json_format, text_format

_ANSWER_S = 60.0


def work(name: str, endpoint: str) -> None:
    """Be the worker of this name until the runner ends it; `endpoint` (host:port) tells it the rest."""
    os.environ.update(environment(name, provision(name, endpoint)))
    WorkerIdInterceptor._worker_id = name  # which Beam looked up when it was imported: in a pool, before the fork
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
