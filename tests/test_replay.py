"""What a replay takes out of a file leaves nothing behind in the file that takes its place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipelines.check_counts import TakenOut
from pipelines.keys import StudyKey, topic_hash
from pipelines.landing import publish
from pipelines.plan import PlannedRange
from pipelines.replay import _replacement
from pipelines.store import FolderStore
from schemas.families import OBSERVATION
from tests.lakes import rows
from tests.parquet_pages import pages

TOPIC, TABLE = "acme.sensor-reading.v1", "study=sleep/observation"


def test_no_page_of_the_new_file_has_an_origin_that_went(tmp_path: Path) -> None:
    store, key = FolderStore(tmp_path), StudyKey("sleep", bytes(32))
    origins = [key.origin(topic_hash(TOPIC), 0, offset) for offset in (3, 4, 5, 6)]
    content = rows(OBSERVATION, 4, origin=origins)
    file = publish(store, content, TABLE, "2026-01", 1, 1)
    driver: Any = SimpleNamespace(
        store=store,
        tables=SimpleNamespace(live_files=lambda table: [file]),
        ledger=SimpleNamespace(next_n=2, epoch=1),
    )
    replacement = _replacement(driver, TABLE, key, PlannedRange(topic=TOPIC, partition=0, start=4, end=6), TakenOut())
    assert replacement.remove == (file.path,)
    (kept,) = replacement.add
    assert kept.rows == 2
    held = b"".join(page.content for page in pages(tmp_path / kept.path))
    assert [origin in held for origin in origins] == [True, False, False, True]
