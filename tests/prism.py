"""Beam's Prism for tests: the version of our Beam, built by Go once, with a worker pool beside it."""

from dataclasses import dataclass
from pathlib import Path

import apache_beam
import pytest

from infra.broker_process import free_port
from infra.flink.local_flink import LocalFlink
from infra.kafka_jars import Progress
from tests.go_programs import go_program

PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
BUILD_S = 1_800.0  # most of Beam's Go SDK, and the clients of a few clouds


def prism_program() -> Path:
    """The program; the test is skipped where it is not there and cannot be built."""
    program = go_program(
        PACKAGE, f"v{apache_beam.__version__}", BUILD_S, name="beam-prism"
    )  # `prism` is others' name, too
    if program is None:
        pytest.skip("no Prism: install Go, by which it is built once, or put it on the path as beam-prism")
    return program


@dataclass(frozen=True)
class LocalPrism(LocalFlink):
    """Prism where a job server for Flink would be."""

    program: Path = Path()

    def _job_server(self, on_progress: Progress) -> list[str]:
        return [str(self.program), f"--job_port={self.job_port}", "--serve_http=false"]


def prism_in(folder: Path) -> LocalPrism:
    """It is not started yet."""
    return LocalPrism(folder, free_port(), free_port(), program=prism_program())
