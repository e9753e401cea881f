"""A driver's lookout without its lake: a study on a desk of Arrow tables, a clock that the test moves, what was told."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa

from pipelines.lookout import Lookout
from pipelines.metrics import Metrics
from pipelines.settings import Settings, load_settings
from pipelines.vault import vault_of
from quality.checks import checks
from schemas.registry import Study
from tests.desks import FakeDesk
from tests.steward_world import NOW, desk

HOUR_US = 3_600_000_000
SECRET = "a secret of sixteen or more"
HOOK = {"name": "ops", "kind": "webhook", "url": "https://ops.example.org/hook", "secret": SECRET, "at_least": "info"}
START_US = round(NOW.timestamp()) * 1_000_000


_ANSWERS: dict[Any, tuple[Any, pa.Table]] = {}


class Remembering(FakeDesk):
    """A desk that answers a question about the same tables only once, for all tests."""

    def release(self) -> None:
        """It holds nothing."""

    def query(self, study: str, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        tables = [table for _, table in sorted(self.tables.get(study, {}).items())]
        key = (sql, str(parameters), *map(id, tables))
        if key not in _ANSWERS:
            _ANSWERS[key] = (tables, super().query(study, sql, parameters))
        return _ANSWERS[key][1]


@cache
def _world() -> FakeDesk:
    """Two days of the stewards' world; its quarantined rows came by entry 1."""
    world = desk(days=2)
    rows = world.tables["sleep"]["quarantine"]
    place = rows.schema.get_field_index("entry")
    ones = pa.array([1] * len(rows), pa.int64())
    world.tables["sleep"]["quarantine"] = rows.set_column(place, rows.schema.field(place), ones)
    return world


def world() -> FakeDesk:
    """It, for a test to change."""
    return Remembering(_world().facts, {study: dict(tables) for study, tables in _world().tables.items()})


def replaced(lake: FakeDesk, view: str, column: str, value: Any) -> None:
    """From now on every row of the view has this value; the same change gives the same table."""
    lake.tables["sleep"][view] = _replaced(view, column, value)


@cache
def _replaced(view: str, column: str, value: Any) -> pa.Table:
    rows = _world().tables["sleep"][view]
    place = rows.schema.get_field_index(column)
    return rows.set_column(
        place, rows.schema.field(place), pa.array([value] * len(rows), rows.schema.field(place).type)
    )


@dataclass
class Watched:
    """What a lookout sees: `entries` is how many the ledger has, each as long ago as `age_us` says."""

    folder: Path
    receivers: list[dict[str, Any]] = field(default_factory=lambda: [HOOK])
    now_us: int = START_US
    entries: int = 1
    age_us: int = 0
    lake: FakeDesk = field(default_factory=world)
    went: dict[str, bool] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    metrics: Metrics | None = None
    is_busy: bool = False

    @property
    def settings(self) -> Settings:
        config = self.folder / "wellspring.yaml"
        block = {"alerts": {"receivers": self.receivers}, "quality": {"every_s": 0}}
        config.write_text(json.dumps({**block, "steward": {"url": "https://desk.example.org"}}), encoding="utf-8")
        return load_settings(config)

    def driver(self) -> Any:
        def entry(n: int) -> Any:
            return SimpleNamespace(n=n, at_us=START_US - self.age_us, kind="judge", counts={}, progress={}, cause={})

        ledger = SimpleNamespace(
            epoch=1,
            head=lambda: entry(self.entries),
            read=entry,
            entries=lambda first: [entry(n) for n in range(first, self.entries + 1)],
        )
        return SimpleNamespace(
            settings=self.settings,
            vault=vault_of(self.settings),
            clock=lambda: self.now_us,
            say=self.said.append,
            studies={name: Study(id=name) for name in self.lake.facts},
            pinned=SimpleNamespace(checks_of=lambda study: checks()),
            ledger=ledger,
            holds=SimpleNamespace(
                open_readings=lambda: {"R_NO_LINK": 47},
                expiring=lambda until_us: {"R_NO_LINK": 13 if until_us > START_US else 0},
                next_expiry=lambda: None,
            ),
        )

    def lookout(self) -> Lookout:
        """To be closed."""
        job = {"went": self.went, "took_s": {"sleep": 1.5}, "failed": {"sleep": 2}, "is_busy": self.is_busy}
        return Lookout(self.driver(), cast(Any, SimpleNamespace(desk=self.lake, **job)), self.metrics)

    def life(self, turns: int = 0) -> None:
        """A driver's life of so many turns, and its end."""
        with closing(self.lookout()) as lookout:
            for _ in range(turns):
                lookout.turn()
            lookout.finish()
