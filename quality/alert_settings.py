"""Who is told when checks begin or cease to fail, by what way, of which studies, and when not."""

from datetime import datetime, time
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from connectors.kafka import AbsolutePath
from quality.checks import Severity
from quality.web.settings import is_loopback
from schemas.clocks import iana_zone
from schemas.registry import Name, Zone

Address = Annotated[str, StringConstraints(pattern=r"^[^\s@<>,;:\"()\[\]\\]+@[A-Za-z0-9.-]+$", max_length=254)]
LEAST_SECRET = 16


def _clock(value: Any) -> Any:
    """A time of day as text. YAML reads 22:00 without quotes as the number of its minutes."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return f"{value // 60:02}:{value % 60:02}"
    return value


TimeOfDay = Annotated[
    str, BeforeValidator(_clock), StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", strict=True)
]


class QuietHours(BaseModel):
    """When a receiver is not told, by the wall clock of a zone; over midnight where `end` is earlier than `begin`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    begin: TimeOfDay
    end: TimeOfDay
    zone: Zone = "UTC"
    critical_passes: bool = False

    @model_validator(mode="after")
    def _is_a_part_of_the_day(self) -> Self:
        if self.begin == self.end:
            raise ValueError("quiet hours must begin and end at different times")
        return self

    def holds_at(self, moment: datetime) -> bool:
        """Whether a moment falls into them."""
        local = moment.astimezone(iana_zone(self.zone)).time()
        begin, end = time.fromisoformat(self.begin), time.fromisoformat(self.end)
        return begin <= local < end if begin < end else local >= begin or local < end


class _Receiver(BaseModel):
    """What every receiver has; `studies` empty for all."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    name: Name
    studies: tuple[Name, ...] = ()
    at_least: Severity = Severity.WARNING
    quiet: QuietHours | None = None
    ca_file: AbsolutePath | None = None

    def hears(self, study: str, severity: Severity) -> bool:
        """Whether it is told of a study's conditions of that severity."""
        order = list(Severity)
        return (not self.studies or study in self.studies) and order.index(severity) >= order.index(self.at_least)


class Webhook(_Receiver):
    """A program that takes signed JSON; the address may itself be a secret, so it is shown nowhere."""

    kind: Literal["webhook"]
    url: SecretStr
    secret: SecretStr | None = None
    secret_file: AbsolutePath | None = None

    @model_validator(mode="after")
    def _can_be_reached_safely(self) -> Self:
        if not _is_safe(self.url.get_secret_value()):
            raise ValueError("expected an address that begins with https:// (http:// for this machine only)")
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("expected either secret or secret_file")
        if self.secret is not None and len(self.secret.get_secret_value()) < LEAST_SECRET:
            raise ValueError(f"expected a secret of {LEAST_SECRET} characters or more")
        return self


class Mailbox(_Receiver):
    """People who read mail."""

    kind: Literal["smtp"]
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    password_file: AbsolutePath | None = None
    sender: Address
    to: Annotated[tuple[Address, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _logs_in_safely(self) -> Self:
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError("tls may be none only where the server is this machine")
        given = [one for one in (self.password, self.password_file) if one is not None]
        if len(given) != (self.username is not None):
            raise ValueError("username goes with either password or password_file")
        return self


Receiver = Annotated[Webhook | Mailbox, Field(discriminator="kind")]


class AlertSettings(BaseModel):
    """The block `alerts` of the settings."""

    model_config = ConfigDict(extra="forbid")
    waiting_days: Annotated[float, Field(gt=0, le=365)] = Field(
        default=7.0, description="Days after which rows that wait in quarantine for a decision are told of."
    )
    receivers: tuple[Receiver, ...] = Field(
        default=(), description="Who is told, as [Alerts](#alerts) says; in the environment as JSON. None: nobody is."
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        if len(set(names)) != len(names):
            raise ValueError("two receivers have the same name")
        return self


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
