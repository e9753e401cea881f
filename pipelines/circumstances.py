"""What a driver works under, and what has changed since the last one began: settings, registries, versions.

Each start compares them and says what is different, since whoever changes a setting seldom is the one who is surprised by
it. They lie in `_control/`, so nothing is among them that is secret, about a person, or the name of a file.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, JsonValue

from pipelines.settings import Settings
from pipelines.store import Store
from schemas.contracts import contracts
from schemas.families import FAMILIES
from schemas.metrics import catalogue

KEY = "_control/circumstances.json"
COLUMNS = "versions.columns"
"""The one that says whether tables have to be brought up to date."""
_SHOWN: Any = {
    "authority": True,
    "kafka": {"bootstrap", "security", "mechanism"},
    "limits": True,
    "quality": True,
    "runner": {"kind", "parallelism", "workers"},
    "alerts": {"waiting_days"},
}

_OF_A_QUOTA = re.compile(r"partners\..*\.quota_(mb_s|percent)")

Circumstances = Mapping[str, str]
"""Texts by dotted name, such as `limits.hold_hours`."""


def circumstances(
    settings: Settings,
    partners: Mapping[str, BaseModel],
    studies: Mapping[str, BaseModel],
    laboratories: Mapping[str, BaseModel],
) -> Circumstances:
    """Those of a driver that begins now; of a laboratory's mapping file and of the catalogues, a hash."""
    tree = {
        **settings.model_dump(mode="json", include=_SHOWN),
        "partners": _by_name(partners, leave="name"),
        "studies": _by_name(studies, leave="id"),
        "laboratories": {name: _hash(mapping.model_dump_json()) for name, mapping in laboratories.items()},
        "versions": _versions(),
    }
    return dict(_flat(tree))


def kept(store: Store) -> Circumstances | None:
    """Those under which a driver last began; None where none has."""
    content = store.get(KEY)
    found: Circumstances | None = None if content is None else json.loads(content)
    return found


def keep(store: Store, now: Circumstances) -> None:
    store.put(KEY, json.dumps(now, indent=1, sort_keys=True).encode())


def changes(before: Circumstances, now: Circumstances) -> list[JsonValue]:
    """A line for each that is different, new or gone."""
    names = sorted(before.keys() | now.keys())
    return [_change(name, before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)]


def _change(name: str, before: str | None, now: str | None) -> str:
    todo = "; Kafka has it once `wellspring kafka grant` is said" if _OF_A_QUOTA.fullmatch(name) and now else ""
    if before is None:
        return f"{name}: {now} (new)" + (todo if now != "null" else "")
    return f"{name}: {before} -> {now}{todo}" if now is not None else f"{name}: {before} (gone)"


def _by_name(entries: Mapping[str, BaseModel], leave: str) -> dict[str, Any]:
    return {name: entry.model_dump(mode="json", exclude={leave}) for name, entry in entries.items()}


@cache
def _versions() -> dict[str, str]:
    columns = {name: str(family.schema) for name, family in FAMILIES.items()}
    return {
        "wellspring": version("wellspring"),
        "contracts": _hash(json.dumps(sorted(contract.label for contract in contracts().values()))),
        "metrics": catalogue().version,
        "checks": _hash(files("quality").joinpath("checks.yaml").read_text(encoding="utf-8")),
        "columns": _hash(json.dumps(columns, sort_keys=True)),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield name, value if isinstance(value, str) else json.dumps(value)
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{name}.{key}" if name else key)


def told(lines: Iterable[JsonValue]) -> str:
    """What an operator reads at a start, indented."""
    return "changed since the last start:" + "".join(f"\n  {line}" for line in lines)
