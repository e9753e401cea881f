"""The two registries an operator keeps: partners who may publish, studies that may receive."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from schemas.clocks import iana_zone
from schemas.reasons import Rejected
from schemas.yaml_faults import first_fault, place_in_yaml

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
KIT = "kit"
"""In place of a partner in the links of kits: a barcode is one person's, whichever laboratory reports on it."""

OURS = "wellspring-"
"""How the names of the system's own principals begin: nobody else may bear one, since Kafka knows everybody by name."""

SENSOR_READING = "sensor-reading"
READING_CONTRACTS = (SENSOR_READING, "app-export", "lab-result")
"""The contracts whose messages hold readings."""

ALMIGHTY = frozenset(("admin", "administrator", "anonymous", "broker", "controller", "kafka", "root", "superuser"))
"""Names under which clusters have principals who may do everything."""

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
KeepBasis = Literal["none", "public_interest_research", "anonymised_only"]


class RegistryError(Exception):
    """A registry file that cannot be used; the text names the entry and the field, never a value."""


def _zone(name: str) -> str:
    try:
        iana_zone(name)
    except Rejected as fault:
        raise ValueError(f"expected {fault.expected}") from None
    return name


def _partner_name(name: str) -> str:
    if name == KIT:
        raise ValueError(f"expected another name: {KIT} stands for kits in identity links")
    if name.startswith(OURS) or name in ALMIGHTY:
        raise ValueError("expected another name: it is that of a principal with other rights")
    return name


Zone = Annotated[str, AfterValidator(_zone)]
PartnerName = Annotated[Name, AfterValidator(_partner_name)]


class Partner(BaseModel):
    """Who may publish, and how their topics are made and read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: PartnerName
    contracts: tuple[Name, ...] = (SENSOR_READING,)
    partitions: Annotated[int, Field(ge=1, le=512)] = 4
    live_devices: bool = True
    assumed_zone: Zone | None = None
    received: Literal["broker", "header"] = "broker"
    retention_days: Annotated[int, Field(ge=4)] = 7
    max_message_bytes: Annotated[int, Field(ge=1024, le=8 * 1024 * 1024)] = 1024 * 1024
    firmware: tuple[str, ...] = ()
    quota_mb_s: Annotated[float, Field(gt=0)] | None = None
    quota_percent: Annotated[float, Field(gt=0)] | None = None

    def topic(self, contract: str) -> str:
        return f"{self.name}.{contract}.v1"


def contract_of(topic: str) -> str:
    """The contract of a partner's topic, `<partner>.<contract>.v1`."""
    return topic.rsplit(".", 2)[1]


def reading_topics(partners: Iterable[Partner]) -> list[str]:
    """The partners' topics that a run reads."""
    return [one.topic(contract) for one in partners for contract in one.contracts if contract in READING_CONTRACTS]


class Study(BaseModel):
    """Who may receive: when it runs, and whether its legal basis lets it keep data after a withdrawal.

    A specimen that was longer on its way to the laboratory than `transit_limit_days` is flagged. Of fewer people than
    `smallest_cell` no number is published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: Name
    title: str = ""
    active_from: AwareDatetime | None = None
    active_until: AwareDatetime | None = None
    basis_after_withdrawal: KeepBasis = "none"
    transit_limit_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    smallest_cell: Annotated[int, Field(ge=2, le=1000)] = 10

    @property
    def keeps_after_withdrawal(self) -> bool:
        return self.basis_after_withdrawal != "none"

    @property
    def transit_limit_us(self) -> int | None:
        """The limit in microseconds, None where there is none."""
        return None if self.transit_limit_days is None else round(self.transit_limit_days * 86_400_000_000)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.active_from and self.active_until and self.active_until <= self.active_from:
            raise ValueError("active_until must be later than active_from")
        return self


class Partners(BaseModel):
    model_config = ConfigDict(extra="forbid")
    partners: tuple[Partner, ...] = ()


class Studies(BaseModel):
    model_config = ConfigDict(extra="forbid")
    studies: tuple[Study, ...] = ()


def load_partners(path: Path) -> dict[str, Partner]:
    """Partners by name; RegistryError where the file or an entry is not what it should be."""
    return _unique((p.name, p) for p in _load(path, Partners).partners)


def load_studies(path: Path) -> dict[str, Study]:
    """Studies by id; RegistryError where the file or an entry is not what it should be."""
    return _unique((s.id, s) for s in _load(path, Studies).studies)


def checked_study(fields: Mapping[str, Any]) -> Study:
    """The study of these fields; RegistryError where they cannot be one's."""
    try:
        return Study.model_validate(fields)
    except ValidationError as error:
        raise RegistryError(first_fault(error)) from None


def checked_partner(fields: Mapping[str, Any]) -> Partner:
    """The partner of these fields; RegistryError where they cannot be one's."""
    try:
        return Partner.model_validate(fields)
    except ValidationError as error:
        raise RegistryError(first_fault(error)) from None


def save_partners(path: Path, partners: Iterable[Partner]) -> Path | None:
    """Write the registry back, in its order; where comments would be lost, the former one stays: that file.

    There is always a whole one.
    """
    rows = [p.model_dump(mode="json", exclude_defaults=True) | {"name": p.name} for p in partners]
    rows = [{"name": row.pop("name"), **row} for row in rows]
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = path.with_name(f"{path.name}.before") if "#" in before else None
    if kept is not None:
        kept.write_text(before, encoding="utf-8")
    new = path.with_name(f"{path.name}.new")
    new.write_text(yaml.safe_dump({"partners": rows}, sort_keys=False), encoding="utf-8")
    new.replace(path)
    return kept


def save_studies(path: Path, studies: dict[str, Study]) -> None:
    """Write the registry back, sorted by id, so that a version control system shows small changes."""
    rows = [s.model_dump(mode="json", exclude_defaults=True) for _, s in sorted(studies.items())]
    path.write_text(yaml.safe_dump({"studies": rows}, sort_keys=False), encoding="utf-8")


def _load(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except FileNotFoundError:
        raise RegistryError(f"there is no registry {path}; `wellspring demo` writes one to look at") from None
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise RegistryError(f"{path} is not YAML{place_in_yaml(error)}") from None
    except ValidationError as error:
        raise RegistryError(f"{path}: {first_fault(error)}") from None


def _unique(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, entry in pairs:
        if name in found:
            raise RegistryError(f"{name} is registered twice")
        found[name] = entry
    return found


def micros(moment: datetime | None, missing: int) -> int:
    """Microseconds since the epoch, UTC; `missing` where there is no moment."""
    return missing if moment is None else round(moment.timestamp() * 1_000_000)
