"""The folder of a demo: laid out, found again, and cleared of what an earlier demo made, of nothing else."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.kafka_jars import Progress
from infra.local_kafka import Address, LocalKafka
from pipelines.commands.common import Refused
from pipelines.demo.kit import RESULT_FILES
from pipelines.demo.laboratory import MAPPING
from pipelines.demo.people import BANDS, NORTH_LAB, PACER, PHONES, WATCHES
from pipelines.demo.phone import EXPORT, LATER_EXPORT
from pipelines.demo.world import STUDIES
from pipelines.heartbeat import live_heartbeat
from pipelines.keys import KeyRing
from pipelines.settings import Settings, load_settings
from pipelines.settings_source import BETWEEN, variable
from pipelines.store import FolderStore
from pipelines.vault import vault_of
from schemas.registry import Study, save_studies

MARKER = ".wellspring-demo"
AUTHORITY = "consents"
_FOLDERS = ("kafka", "lake", "vault")
_LABORATORY = f"laboratories/{NORTH_LAB}.yaml"
_KIT_EVENTS = "exports/kit-events.ndjson"
_FILES = (
    *("wellspring.yaml", "partners.yaml", "studies.yaml", "users.yaml", _LABORATORY),
    *(f"consents-{act}.ndjson" for act in (1, 2, 3, 4)),
    *(f"exports/{name}" for name in (EXPORT, LATER_EXPORT, *RESULT_FILES)),
    _KIT_EVENTS,
)
_MARK = "This folder belongs to `wellspring demo`, which deletes its files when it runs here again.\n"
_HEAD = "# Written by `wellspring demo`. Every setting and its meaning: the settings reference in infra/README.md.\n"


@dataclass(frozen=True)
class Ground:
    """Where everything of one demo lies."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "wellspring.yaml"

    @property
    def kafka(self) -> LocalKafka:
        return LocalKafka(self.folder / "kafka")

    def consents(self, act: int) -> Path:
        """What people agreed to in an act, as the consent authority publishes it."""
        return self.folder / f"consents-{act + 1}.ndjson"

    def export(self, name: str) -> Path:
        """A file that a phone or a laboratory gives."""
        return self.folder / "exports" / name

    @property
    def kit_events(self) -> Path:
        """What happened to the kit, as `wellspring kits publish` takes it."""
        return self.folder / _KIT_EVENTS

    @property
    def users(self) -> Path:
        """The stewards' desk's users."""
        return self.folder / "users.yaml"

    @property
    def reports(self) -> Path:
        """The folder of the studies' reports, a file for each study and day."""
        return self.folder / "reports"

    @property
    def laboratory(self) -> Path:
        """The laboratory's mapping file."""
        return self.folder / _LABORATORY


def break_ground(folder: Path, now_us: int, on_progress: Progress) -> Ground:
    """The empty folder of a new demo; an earlier demo's broker is stopped and its files are deleted first."""
    _refuse_settings_from_elsewhere()
    ground = Ground(folder.expanduser().absolute())
    if (ground.folder / MARKER).is_file():
        _refuse_while_driven(ground, now_us)
        ground.kafka.down(on_progress)
        _clear(ground)
    elif ground.folder.exists() and (not ground.folder.is_dir() or any(ground.folder.iterdir())):
        raise Refused(
            f"{ground.folder} is not empty and no demo has made it, so nothing in it was touched: "
            "name a new folder with --dir"
        )
    ground.folder.mkdir(parents=True, exist_ok=True)
    (ground.folder / MARKER).write_text(_MARK, encoding="utf-8")
    return ground


def _refuse_settings_from_elsewhere() -> None:
    """A setting in the environment goes before the demo's own file: its data would go to another lake or Kafka."""
    names = {variable([name]) for name in Settings.model_fields}
    found = sorted(v for v in os.environ if v.upper().split(BETWEEN)[0] in names)
    if found:
        raise Refused(f"the demo uses nothing but its own folder: unset {', '.join(found)} and run it again")


def _refuse_while_driven(ground: Ground, now_us: int) -> None:
    lake = ground.folder / "lake"
    if lake.is_dir() and live_heartbeat(FolderStore(lake), now_us) is not None:
        raise Refused(f"a driver is at work on {lake}: stop it, or name another folder with --dir")


def _clear(ground: Ground) -> None:
    try:
        for folder in (ground.folder / name for name in _FOLDERS):
            if folder.is_dir():
                shutil.rmtree(folder)
        for name in _FILES:
            (ground.folder / name).unlink(missing_ok=True)
        for report in (path for study in STUDIES for path in ground.reports.glob(f"{study}-????-??-??.html")):
            report.unlink()
    except OSError as error:
        raise Refused(f"what an earlier demo left in {ground.folder} cannot be deleted: {error.strerror}") from None


_PARTNERS = [
    *({"name": name, "contracts": ["sensor-reading"], "partitions": 4} for name in (WATCHES, BANDS)),
    {"name": PACER, "contracts": ["sensor-reading"], "partitions": 2, "received": "header"},
    {"name": PHONES, "contracts": ["app-export"], "partitions": 1},
    {"name": NORTH_LAB, "contracts": ["lab-result", "kit-event"], "partitions": 1, "retention_days": 8},
]


def settle(ground: Ground, address: Address) -> Settings:
    """Write settings and registries for the broker at `address`, and make the studies' keys; the settings."""
    _write_yaml(
        ground.config,
        {
            "lake": "lake",
            "vault": "vault",
            "partners": "partners.yaml",
            "studies": "studies.yaml",
            "authority": AUTHORITY,
            "kafka": {"bootstrap": address.bootstrap},
            "broker_folder": "kafka",
            "limits": {"freshness_s": 1.0},
            "steward": {"users": "users.yaml"},
        },
    )
    _write_yaml(ground.folder / "partners.yaml", {"partners": _PARTNERS})
    ground.laboratory.parent.mkdir(exist_ok=True)
    _write_yaml(ground.laboratory, MAPPING.model_dump(mode="json", exclude_unset=True))
    settings = load_settings(ground.config)
    studies = {
        name: Study(id=name, title=title, basis_after_withdrawal=basis) for name, (title, basis) in STUDIES.items()
    }
    save_studies(settings.studies, studies)
    keys = KeyRing(vault_of(settings))
    for name in studies:
        keys.create(name)
    return settings


def _write_yaml(path: Path, content: dict[str, object]) -> None:
    path.write_text(_HEAD + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
