"""What a runner asks of a worker pool, over gRPC: to start a worker, and to stop it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc


class _Service(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell

    def StartWorker(self, asked: Any, _: Any) -> Any:  # noqa: N802  Beam's name
        self._tell(start=asked.worker_id, endpoint=asked.provision_endpoint.url)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, asked: Any, _: Any) -> Any:  # noqa: N802  Beam's name
        self._tell(stop=asked.worker_id)
        return beam_fn_api_pb2.StopWorkerResponse()


@contextmanager
def listen(port: int, tell: Callable[..., None]) -> Iterator[None]:
    """Answer runners on the port, on every interface, and tell what they ask; OSError where the port is taken."""
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])  # one thread: words in order
    if server.add_insecure_port(f"[::]:{port}") != port:
        raise OSError(f"nothing can listen on port {port}")
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_Service(tell), server)
    server.start()
    try:
        yield
    finally:
        server.stop(0)
