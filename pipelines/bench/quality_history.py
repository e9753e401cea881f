"""A lake with nothing but a year of results: as many as a large study has, for the pages and the report that read them."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.entries import Kind, TableChange, now_us
from pipelines.files import DataFile, table_key
from pipelines.keys import KeyRing
from pipelines.landing import publish
from pipelines.ledger import Ledger
from pipelines.places import store_of
from pipelines.settings import Settings, load_settings
from pipelines.store import Store
from pipelines.tables import Tables
from pipelines.vault import vault_of
from pipelines.zones import DAY_US
from quality.checks import Check, Where, checks
from quality.job.results import GATE
from quality.job.times import day_number
from schemas.families import CHECK_COUNT, CHECK_RESULT, UTC_MICROS, Family
from schemas.metrics import catalogue
from schemas.registry import Study, save_studies

Place = npt.NDArray[np.int64]
STUDY = "large"
CHECKS, STRATA, DAYS = 60, 600, 365
_MODELS, _FIRMWARE, _PARTNERS = 5, 8, 3


def lake_of_results(folder: Path) -> tuple[Settings, date]:
    """Settings of a lake with CHECKS x STRATA x DAYS results, and its last day: a file a month, of the last month a day."""
    folder.mkdir(parents=True)
    config = folder / "wellspring.yaml"
    config.write_text("{}\n", encoding="utf-8")
    (folder / "partners.yaml").write_text("partners: []\n", encoding="utf-8")
    save_studies(folder / "studies.yaml", {STUDY: Study(id=STUDY)})
    settings = load_settings(config)
    KeyRing(vault_of(settings)).create(STUDY)
    store = store_of(settings.lake)
    ledger = Ledger(store)
    ledger.takeover(now_us(), {"reason": "start"})
    tables = Tables(store, ledger)
    tables.recover()
    last = date.today() - timedelta(days=1)
    changes: dict[str, TableChange] = {}
    for family in (CHECK_COUNT, CHECK_RESULT):
        table = table_key(STUDY, family.name)
        changes[table] = TableChange(add=tuple(_files(store, ledger, table, family, last)))
    tables.append_and_apply(ledger.draft(Kind.JUDGE, now_us(), cause={"study": STUDY}, tables=changes))
    tables.save()
    return settings, last


def _files(store: Store, ledger: Ledger, table: str, family: Family, last: date) -> list[DataFile]:
    days = [last - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    months: dict[str, list[date]] = {}
    for day in days:
        months.setdefault(f"{day:%Y-%m}", []).append(day)
    own = [check for check in list(checks().values())[:CHECKS] if _is_of(check, family)]
    parts = [(month, part) for month, of in months.items() for part in ([[d] for d in of] if last in of else [of])]
    at = ledger.next_n, ledger.epoch
    return [publish(store, _rows(family, own, part, at[0]), table, month, *at) for month, part in parts]


def _is_of(check: Check, family: Family) -> bool:
    return family is CHECK_RESULT or check.where is not Where.JOB


def _rows(family: Family, own: list[Check], days: list[date], n: int) -> pa.Table:
    """A row for each check, day and stratum, in the family's order; of the gate's results one besides for all strata."""
    check, day, stratum = (
        part.ravel() for part in np.meshgrid(*map(np.arange, (len(own), len(days), STRATA)), indexing="ij")
    )
    judges = np.array(["job" if one.where is Where.JOB else GATE for one in own])
    table = _of_strata(family, own, days, n, (check, day, stratum), judges)
    if family is CHECK_RESULT:
        first = table.filter(pc.and_(pc.equal(table.column("judge"), GATE), pa.array(stratum == 0)))
        for name in ("partner", "family", "metric", "device_model", "firmware"):
            place = table.schema.get_field_index(name)
            first = first.set_column(place, table.schema.field(place), pa.nulls(len(first), pa.string()))
        table = pa.concat_tables([table, first])
    return table.sort_by([(name, "ascending") for name in family.sort_key])


def _of_strata(
    family: Family, own: list[Check], days: list[date], n: int, places: tuple[Place, Place, Place], judges: Any
) -> pa.Table:
    check, day, stratum = places
    size, random = len(check), np.random.default_rng(7)
    codes = sorted(catalogue().codes)
    metrics = codes[: STRATA // (_MODELS * _PARTNERS)]
    began = np.array([day_number(one) * DAY_US for one in days])
    columns = {
        "judge": pa.array(judges[check]),
        "partner": _words([f"partner-{i}" for i in range(_PARTNERS)], stratum % _PARTNERS),
        "family": pa.repeat("observation", size),
        "metric": _words(metrics, stratum // (_MODELS * _PARTNERS)),
        "device_model": _words([f"model-{i}" for i in range(_MODELS)], stratum // _PARTNERS % _MODELS),
        "firmware": _words([f"1.{i}.0" for i in range(_FIRMWARE)], stratum % _FIRMWARE),
        "start": pa.array(began[day], UTC_MICROS),
        "check": _words([one.id for one in own], check),
        "version": pa.repeat(pa.scalar(1, pa.int32()), size),
        "n_eval": pa.array(random.integers(1_000, 5_000, size)),
        "n_fail": pa.array(random.integers(0, 50, size)),
        "n_na": pa.array(random.integers(0, 50, size)),
        "people": pa.array(random.integers(40, 300, size), pa.int32()),
        "people_failing": pa.array(random.integers(0, 40, size), pa.int32()),
        "people_passing": pa.array(random.integers(20, 40, size), pa.int32()),
        "most_of_one": pa.array(random.integers(5, 50, size)),
        "measure": pa.array(random.random(size)),
        "entry": pa.repeat(pa.scalar(n, pa.int64()), size),
    }
    return pa.table({name: columns[name] for name in family.schema.names}, schema=family.schema)


def _words(words: list[str], place: npt.NDArray[np.int64]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(place % len(words), pa.int32()), pa.array(words)).cast(pa.string())
