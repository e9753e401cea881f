"""The settings reference in `infra/README.md`, made from the models: `python -m pipelines.settings_page --write`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipelines.settings import Settings
from pipelines.settings_source import places, variable
from schemas.generated_page import Listing, table

PAGE = Path(__file__).parents[1] / "infra" / "README.md"

# What the Kafka clients' settings mean to an operator; the other models say it in their fields.
_KAFKA = {
    "bootstrap": "Addresses of the brokers: host:port, several with commas between; 9092 where no port is given.",
    "security": "How the connection is protected: TLS where it says SSL, a login where it says SASL.",
    "ca_file": "Certificates of the authorities that may have signed the brokers', PEM; those of the system where not "
    "given.",
    "cert_file": "Certificate by which the brokers know this client, PEM, with `key_file`.",
    "key_file": "Its private key, PEM, without a pass phrase.",
    "username": "Name for the login.",
    "password": "Password for the login; better in the environment than in a file. It is shown nowhere.",
    "mechanism": "How the password is proven.",
    "connect_timeout_s": "Seconds within which a connection comes about, or its true cause of failure is said.",
}


class Setting(NamedTuple):
    """One setting: its place in the file (`kafka.bootstrap`), its variable, its default as YAML, what it means."""

    name: str
    variable: str
    default: str
    meaning: str


def settings() -> Iterator[Setting]:
    """Every setting in the model's order, those of a section where the section stands."""
    for place, field, is_section in places(Settings):
        if not is_section:
            yield Setting(".".join(place), variable(place), _default(field), _meaning(place, field))


def listing() -> str:
    """The settings in Markdown."""
    rows = [(f"`{s.name}`", f"`{s.variable}`", s.default and f"`{s.default}`", s.meaning) for s in settings()]
    return table(("setting", "environment variable", "default", "meaning"), rows) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return ""
    return value if isinstance(value, str) else str(value) if isinstance(value, Path) else json.dumps(value)


def _meaning(place: tuple[str, ...], field: FieldInfo) -> str:
    said = field.description or (_KAFKA.get(place[-1]) if place[0] == "kafka" else None)
    if said is None:
        raise LookupError(f"the setting {'.'.join(place)} has no description")
    return " ".join(part for part in (said, _choices(field.annotation), _bounds(field)) if part)


def _choices(kind: Any) -> str:
    """The values that may be chosen from; none where the setting is free."""
    choices = [str(choice) for choice in get_args(kind) if isinstance(choice, str)]
    return f"One of {', '.join(f'`{choice}`' for choice in choices)}." if get_origin(kind) and choices else ""


def _bounds(field: FieldInfo) -> str:
    """The least and the most that a number may be."""
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    found = [f"{words[name]} {getattr(rule, name)}" for rule in field.metadata for name in words if hasattr(rule, name)]
    return f"{', '.join(found).capitalize()}." if found else ""


SETTINGS = Listing("settings", "pipelines.settings_page", listing)

if __name__ == "__main__":
    sys.exit(SETTINGS.main(["--page", str(PAGE), *sys.argv[1:]]))
