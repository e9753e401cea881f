"""Running a plan: on which pipeline, and on which never."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.prepared import Prepared
from pipelines.run import IN_MEMORY, RunnerRefused, _pipeline, run
from pipelines.store import FolderStore
from tests.test_graph import plan


def test_a_runner_that_loses_elements_is_refused_each_time(tmp_path: Path) -> None:
    options = PipelineOptions(["--direct_running_mode=multi_threading"])
    for _ in range(2):
        with pytest.raises(RunnerRefused):
            run(plan(), FolderStore(tmp_path), options)


def test_plans_after_one_another_share_a_pipeline_and_threads_share_none() -> None:
    meet = Barrier(2)

    def own(_: int) -> list[Prepared]:
        meet.wait(30)
        return [_pipeline(IN_MEMORY, get_ident()) for _ in range(2)]

    with ThreadPoolExecutor(2) as threads:
        (first, again), (other, _) = threads.map(own, range(2))
    assert first is again and first is not other
