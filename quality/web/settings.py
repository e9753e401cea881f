"""How the stewards' desk is served, and by whom its users are known."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from connectors.kafka import AbsolutePath


class StewardSettings(BaseModel):
    """The block `steward` of the settings."""

    model_config = ConfigDict(extra="forbid")
    users: AbsolutePath = Field(
        default=Path("users.yaml"),
        validate_default=True,
        description="The desk's users, with the hashes of their passwords and their roles.",
    )
    host: str = Field(default="127.0.0.1", description="Address on which the desk listens.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8600, description="Port on which it listens.")
    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+$",
        description="Where browsers reach the desk, where that is a proxy's address, as `https://quality.example.org`. "
        "With https, cookies go by https only. Needed where it listens on more than this machine.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses and networks (as `10.1.0.0/16`) of the proxies before the desk, where `url` is set. Only "
        "their word (`X-Forwarded-For`) is taken for who asks, and of it the last address that is none of theirs: without "
        "it all who come by another proxy are one address, and wait for each other's wrong passwords.",
    )
    idle_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = Field(
        default=30.0, description="After so many minutes without a request one has to sign in again."
    )
    session_hours: Annotated[float, Field(gt=0, le=72)] = Field(
        default=10.0, description="After so many hours one has to sign in again in any case."
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://[^?#\s]+$",
        description="Identity provider (OpenID Connect) by which users may sign in, by https (`http://` on this machine "
        "only); its redirect address is `<url>/sign-in/back`.",
    )
    oidc_client_id: str | None = Field(default=None, description="The desk's name at the identity provider.")
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="Its secret there; better in the environment than in a file. It is shown nowhere."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            try:
                ip_network(text)
            except ValueError:
                raise ValueError(
                    "expected addresses, or networks as 10.1.0.0/16 without bits beside the network"
                ) from None
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.url is None and not is_loopback(self.host):
            raise ValueError("url is needed where host is not this machine's own")
        if self.oidc_issuer and not _is_safe(self.oidc_issuer):
            raise ValueError("oidc_issuer has to begin with https://, since who reads along could sign in as anybody")
        if (self.oidc_issuer is None) != (self.oidc_client_id is None):
            raise ValueError("oidc_issuer and oidc_client_id go together")
        return self

    @property
    def origin(self) -> str:
        """The address that browsers use, without a path."""
        return self.url or f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def is_https(self) -> bool:
        return self.origin.startswith("https://")

    @property
    def hosts(self) -> frozenset[str]:
        """The names under which requests may come, without a port: another site's name that leads here is none."""
        named = {urlsplit(self.origin).hostname or ""}
        return frozenset(named | {"localhost", "127.0.0.1", "::1"} if is_loopback(self.host) else named)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_safe(address: str) -> bool:
    """Whether nobody on the way can read or change what is said there."""
    said = urlsplit(address)
    return said.scheme == "https" or is_loopback(said.hostname or "")
