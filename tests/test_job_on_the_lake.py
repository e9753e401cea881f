"""The job's questions on the real lake: the desk's views answer them as the tests' own tables do."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.entries import Kind
from pipelines.keys import KeyRing
from pipelines.lake_desk import LakeDesk
from pipelines.settings import Settings, load_settings
from quality.checks import checks
from quality.desk import StudyFacts
from quality.job.judge import judge_days
from quality.job.times import as_day
from tests import planted
from tests.desks import FakeDesk
from tests.lakes import Driver
from tests.planted import FIRST, MINUTE, at

DAY = FIRST
NOW = datetime.fromtimestamp(at(DAY + 8) / 1e6, tz=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "wellspring.yaml").write_text("{}\n", encoding="utf-8")
    (tmp_path / "studies.yaml").write_text("studies: [{id: s}]\n", encoding="utf-8")
    found = load_settings(tmp_path / "wellspring.yaml")
    KeyRing(found.vault).create("s")
    return found


def study() -> dict[str, pa.Table]:
    days = (DAY - 1, DAY)
    return {
        "observation": pa.concat_tables([planted.heart_rates("p0", day, every=10 * MINUTE) for day in days]),
        "waveform": planted.acceleration("p0", DAY, 9, 1),
        "lab_result": planted.results("p0", "potassium", [DAY - 9, DAY], [4.0, 6.0], status="F"),
    }


@pytest.mark.parametrize("as_counts", [False, True])
def test_the_results_are_those_of_the_same_rows_elsewhere(settings: Settings, as_counts: bool) -> None:
    tables = study()
    driver = Driver(settings.lake)
    landed = {**tables, "waveform": planted.as_counts(tables["waveform"])} if as_counts else tables
    files = [driver.file("s", content, family, month="2025-03") for family, content in landed.items()]
    driver.tables.append_and_apply(driver.entry(files, kind=Kind.INGEST))
    fake = judge_days(FakeDesk({"s": StudyFacts("s")}, {"s": tables}), "s", [as_day(DAY)], checks(), NOW)
    with closing(LakeDesk(settings)) as desk:
        real = judge_days(desk, "s", [as_day(DAY)], checks(), NOW)
    assert real.results.equals(fake.results)
    assert real.summaries.equals(fake.summaries)
    failed = {row["check"] for row in real.results.to_pylist() if row["n_fail"]}
    assert failed == {"LK-14"}
