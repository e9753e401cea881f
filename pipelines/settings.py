"""The operator's settings: one YAML file, each value of which an environment variable `WELLSPRING_…` can replace, or a
file of that name in a folder of secrets."""

import os
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from connectors.kafka import AbsolutePath, KafkaSettings
from connectors.topics import Held
from pipelines.places import Address, Place
from pipelines.runner_settings import PLANS_ELSEWHERE, RunnerKind, RunnerSettings
from pipelines.settings_source import BETWEEN, PREFIX, SECRETS_VARIABLE, blamed, misspelt, not_json
from quality.alert_settings import AlertSettings
from quality.web.settings import StewardSettings
from schemas.registry import OURS
from schemas.yaml_faults import first_fault, place_in_yaml

DEFAULT_FILE = "wellspring.yaml"
FILE_VARIABLE = "WELLSPRING_CONFIG"


class SettingsError(Exception):
    """Settings that cannot be used; the text names the setting, never its value."""


class Limits(BaseModel):
    """How much one plan may take, and how often."""

    model_config = ConfigDict(extra="forbid")
    freshness_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=10.0, description="Seconds from one plan to the next while little comes in."
    )
    plan_records: Annotated[int, Field(ge=1)] = Field(
        default=20_000, description="Most records in a plan; a plan starts early when so many wait."
    )
    plan_mb: Annotated[int, Field(ge=1)] = Field(
        default=256,
        description="Most megabytes of messages in a plan, unpacked, each counted for every study that it goes to; "
        "estimated from what the last plans read.",
    )
    plan_files: Annotated[int, Field(ge=1)] = Field(
        default=2_000,
        description="Most files that a plan writes. A plan that would write more is made again with half its records.",
    )
    hold_hours: Annotated[float, Field(gt=0, le=24 * 30)] = Field(
        default=72.0, description="How long a reading of an unknown person waits for a link and a first grant."
    )
    kit_hold_days: Annotated[float, Field(gt=0, le=90)] = Field(
        default=7.0, description="How long a result waits for its kit to be activated."
    )
    compact_files: Annotated[int, Field(ge=2)] = Field(
        default=50, description="So many files of one table and month are made into one."
    )


class Quality(BaseModel):
    """When the readings that have landed are judged as a whole."""

    model_config = ConfigDict(extra="forbid")
    every_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=60.0,
        description="Seconds after which a driver that follows judges the days that have changed, when it has nothing "
        "else to do. One that ends when all is done judges them then.",
    )
    days_at_once: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=10, description="Most days of a study that are judged before the driver looks for new readings again."
    )
    suites_every_h: Annotated[float, Field(ge=0, le=8_760)] = Field(
        default=24.0,
        description="Hours after which a driver that follows has the newest day that has ended judged by suites, in a "
        "process of its own; 0 for never.",
    )


class MetricsSettings(BaseModel):
    """Where a driver that follows shows its figures."""

    model_config = ConfigDict(extra="forbid")
    host: str = Field(default="127.0.0.1", description="Address on which the figures can be fetched.")
    port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None, description="Port of `/metrics` and `/healthz`; without one there are none. At most 65535."
    )


class Settings(BaseSettings):
    """Where everything lies and how it is reached. Paths in the file are relative to the file."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=BETWEEN, extra="forbid")
    lake: Place = Field(
        default=Path("lake"),
        description="Folder of the studies' tables and the ledger, or `s3://BUCKET/PREFIX`; how a bucket is reached "
        "says the environment.",
    )
    vault: Place = Field(
        default=Path("vault"),
        description="Folder of keys, consent register and holds, or `s3://BUCKET/PREFIX`; not readable by studies.",
    )
    vault_work: AbsolutePath = Field(
        default=Path(".wellspring-vault"),
        description="Folder on this machine for copies of a vault in a bucket, which may be lost at any moment; as secret "
        "as the vault.",
    )
    partners: AbsolutePath = Field(default=Path("partners.yaml"), description="Registry of the partners.")
    studies: AbsolutePath = Field(default=Path("studies.yaml"), description="Registry of the studies.")
    laboratories: AbsolutePath = Field(
        default=Path("laboratories"), description="Folder of the laboratories' mapping files, one YAML file each."
    )
    authority: str = Field(
        default="authority",
        pattern=r"^[a-z][a-z0-9-]{0,39}$",
        description="Name of the consent authority, the prefix of its topics.",
    )
    principals: str = Field(
        default=OURS,
        pattern=r"^[a-z][a-z0-9-]{0,30}-$",
        description="How the names of the system's own principals in Kafka begin: another for each installation on one "
        "cluster.",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="How Kafka is reached.")
    broker_folder: AbsolutePath = Field(
        default=Path("kafka"), description="Folder of the local broker that `wellspring kafka up` starts."
    )
    limits: Limits = Field(default_factory=lambda: Limits(), description="How much a plan takes, and how often.")
    runner: RunnerSettings = Field(default_factory=lambda: RunnerSettings(), description="Where plans are run.")
    quality: Quality = Field(
        default_factory=lambda: Quality(), description="When the readings that have landed are judged as a whole."
    )
    steward: StewardSettings = Field(
        default_factory=lambda: StewardSettings(), description="The stewards' desk: its users, and how it is served."
    )
    alerts: AlertSettings = Field(
        default_factory=lambda: AlertSettings(), description="Who is told when checks begin or cease to fail."
    )
    metrics: MetricsSettings = Field(
        default_factory=lambda: MetricsSettings(), description="Where a driver that follows shows its figures."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = os.environ.get(SECRETS_VARIABLE)
        secrets = NestedSecretsSettingsSource(file_secret_settings, secrets_dir=folder, secrets_dir_missing="error")
        return env_settings, secrets, init_settings

    @model_validator(mode="after")
    def _plans_that_suit_the_runner(self) -> Self:
        self.limits = suited(self.limits, self.runner)
        return self

    def on_runner(self, kind: RunnerKind) -> "Settings":
        """The same settings with another runner, whose limits they are where the operator has set none."""
        runner = self.runner.model_copy(update={"kind": kind})
        return self.model_copy(update={"runner": runner, "limits": suited(self.limits, runner)})

    @property
    def places(self) -> dict[str, Path | Address]:
        """Lake and vault by the name of their setting."""
        return {"lake": self.lake, "vault": self.vault}

    @property
    def consent_topic(self) -> str:
        return f"{self.authority}.consent-event.v1"

    @property
    def link_topic(self) -> str:
        return f"{self.authority}.identity-link.v1"

    @property
    def hold_us(self) -> int:
        """How long a reading waits for a link and a first grant, microseconds."""
        return round(self.limits.hold_hours * 3_600_000_000)

    @property
    def kit_hold_us(self) -> int:
        """How long a result waits for its kit to be activated, microseconds."""
        return round(self.limits.kit_hold_days * 86_400_000_000)

    @property
    def held_us(self) -> Held:
        """Both of them."""
        return Held(self.hold_us, self.kit_hold_us)


def suited(limits: Limits, runner: RunnerSettings) -> Limits:
    """The limits, those that the operator has not set as they suit the runner."""
    own = limits.model_dump(include=limits.model_fields_set)
    chosen = {**(PLANS_ELSEWHERE if runner.is_elsewhere else {}), **own}
    return Limits.model_construct(_fields_set=limits.model_fields_set, **{**Limits().model_dump(), **chosen})


def load_settings(path: Path | None) -> Settings:
    """The settings in the file, or in the one that the environment names, or in `wellspring.yaml`, or the defaults.

    SettingsError where a named file is missing or a setting cannot be used.
    """
    named = path or (Path(os.environ[FILE_VARIABLE]) if FILE_VARIABLE in os.environ else None)
    file = (named or Path(DEFAULT_FILE)).absolute()
    if not file.exists():
        raise SettingsError(
            f"there is no settings file {file}: name one with --config or {FILE_VARIABLE}; `wellspring demo` writes one"
        )
    content = _content(file)
    before = Path.cwd()
    os.chdir(file.parent)
    try:
        return _settings(content, file.name)
    finally:
        os.chdir(before)


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file.name} is not YAML{place_in_yaml(error)}") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(content, dict | None) or not all(isinstance(name, str) for name in content or ()):
        raise SettingsError(f"{file.name} is not a mapping of settings to values")
    return content or {}


def _settings(content: dict[str, Any], name: str) -> Settings:
    if (words := misspelt(Settings)) is not None:
        raise SettingsError(words)
    try:
        return Settings(**content)
    except ValidationError as error:
        place = error.errors(include_input=False, include_url=False, include_context=False)[0]["loc"]
        raise SettingsError(f"{blamed(name, place)}: {first_fault(error)}") from None
    except SourceError as error:
        raise SettingsError(not_json(error) or f"{name} or the environment: {error}") from None


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as JSON, secrets hidden."""
    return settings.model_dump(mode="json")
