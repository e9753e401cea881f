"""The settings of the runner: where a plan is run, and by which workers."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from connectors.kafka import AbsolutePath

RunnerKind = Literal["embedded", "flink", "prism"]
Address = Annotated[str, Field(pattern=r"^[^\s:/]+:\d{1,5}$")]

PLANS_ELSEWHERE: dict[str, Any] = {"freshness_s": 120.0, "plan_records": 200_000, "plan_mb": 2_048}
"""Limits of a plan that is not run in the driver's own process, where the operator sets none: a job costs seconds."""


class RunnerRefused(Exception):
    """Options under which a runner is known to lose elements."""


class RunnerFailed(Exception):
    """The runner did not bring a job to its end, and no stage has said why: its workers died, or it is not there."""


class RunnerUnreachable(RunnerFailed):
    """Nobody answers where the job server should be."""


class RunnerSettings(BaseModel):
    """Which of Beam's runners runs the plans."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    kind: RunnerKind = Field(
        default="embedded",
        description="`embedded` runs plans in the driver's own process, `flink` and `prism` hand them to a job server.",
    )
    job_endpoint: Address = Field(
        default="127.0.0.1:8099",
        description="Address of the job server, which `wellspring flink up` starts there, or of Prism.",
    )
    flink_master: str = Field(
        default="[local]",
        description="Address of the JobManager's REST interface, to which `wellspring flink up` connects its job server; "
        "`[local]` is a cluster inside the job server.",
    )
    job_server_jar: AbsolutePath | None = Field(
        default=None, description="Jar of Beam's job server for Flink; without one it is built once, by Maven."
    )
    parallelism: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=2, description="How many workers share a plan's partitions."
    )
    workers: Literal["external", "process", "loopback"] = Field(
        default="external",
        description="`external`: a worker pool starts them; `process`: the TaskManager does, by `worker_command`; "
        "`loopback`: they are threads of the driver, for a look.",
    )
    worker_pool: Address = Field(
        default="127.0.0.1:8100",
        description="Address of the worker pool as a TaskManager reaches it; each TaskManager's machine needs its own.",
    )
    worker_command: AbsolutePath | None = Field(
        default=None,
        description="Program that starts a worker, on every TaskManager's machine; that of this installation where not "
        "given.",
    )
    retries: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=60,
        description="How often the job server that `wellspring flink up` starts has a job begun anew, a second apart, "
        "after a machine is lost; it must outlast a TaskManager's replacement. A Python error is never tried again.",
    )
    folder: AbsolutePath = Field(
        default=Path("flink"),
        description="Folder of the job server and the worker pool that `wellspring flink up` starts.",
    )
    options: tuple[str, ...] = Field(
        default=(), description="Further options of Beam, such as `--max_cache_memory_usage_mb=100`."
    )

    @property
    def is_elsewhere(self) -> bool:
        """Whether plans run in other processes than the driver's."""
        return self.kind != "embedded"
