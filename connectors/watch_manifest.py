"""What says whose a dropped file is: a manifest beside it, or a pattern of names."""

import json
import re
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from schemas.headers import Text
from schemas.registry import Name
from schemas.yaml_faults import first_fault, place_in_yaml

SUFFIXES = (".manifest.yaml", ".manifest.json")
MOST_BYTES = 64 * 1024
"""Of a manifest: a person's, or a program's, few lines."""

_PARTS = re.compile(r"(\{[^{}]*\}|\*)")
_FIELDS = {
    "{partner}": r"(?P<partner>[a-z][a-z0-9-]{0,39})",
    "{subject}": r"(?P<subject>.{1,200}?)",
    "{laboratory}": r"(?P<laboratory>[a-z][a-z0-9-]{0,39})",
    "*": r".*",
}


class FileFault(Exception):
    """A file that is not taken for what it is said to be; the text says why, by field and rule, never by value."""


class Manifest(BaseModel):
    """Whose a file is, and what it is. `size` in bytes and `sha256` in hexadecimal are of the whole file; `laboratory`
    is the laboratory's name in its mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    partner: Name
    format: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    subject: Text | None = None
    laboratory: Text | None = None
    size: Annotated[int, Field(ge=0, strict=True)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)] | None = None


def is_manifest(name: str) -> bool:
    return name.endswith(SUFFIXES)


def parse_manifest(content: bytes, name: str, partner: str | None = None) -> Manifest:
    """The manifest in a file of that name; FileFault. `partner` is the only one that it may name, and need not."""
    fields = _fields(content, name)
    if partner is not None and fields.setdefault("partner", partner) != partner:
        raise FileFault("its manifest: partner: must be the one whose files are taken here")
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        raise FileFault(f"its manifest: {first_fault(error)}") from None


def _fields(content: bytes, name: str) -> dict[str, Any]:
    if len(content) > MOST_BYTES:
        raise FileFault(f"its manifest is larger than {MOST_BYTES} bytes")
    try:
        fields = json.loads(content) if name.endswith(".json") else yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind = "JSON" if name.endswith(".json") else f"YAML{place_in_yaml(error)}"
        raise FileFault(f"its manifest is not {kind}") from None
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise FileFault("its manifest is not a mapping of fields to values")
    return fields


class NamePattern:
    """Names that say whose a file is, as `{partner}_{subject}_{format}_*`: fields, and `*` for anything.

    A name that could be read in several ways is read with the shortest subject.
    ValueError, with words, where the pattern cannot say what is needed.
    """

    def __init__(self, pattern: str, formats: list[str], partner: str | None = None) -> None:
        self._partner = partner
        fields = {**_FIELDS, "{format}": f"(?P<format>{'|'.join(map(re.escape, formats))})"}
        parts = _PARTS.split(pattern)
        found = [part for part in parts if part.startswith("{")]
        if unknown := [part for part in found if part not in fields]:
            raise ValueError(f"{unknown[0]} is none of {', '.join(name for name in fields if name != '*')}")
        if len(set(found)) != len(found):
            raise ValueError("a field is there twice")
        needed = {"{format}"} if partner else {"{format}", "{partner}"}
        if missing := sorted(needed - set(found)):
            raise ValueError(f"it does not say {' and '.join(missing)}")
        self._names = re.compile("".join(fields.get(part, re.escape(part)) for part in parts), re.DOTALL)

    def manifest(self, name: str) -> Manifest | None:
        """What the name says; None where it is not of the pattern, or names another partner than the only one."""
        found = self._names.fullmatch(name)
        if found is None:
            return None
        fields = found.groupdict()
        if self._partner is not None and fields.setdefault("partner", self._partner) != self._partner:
            return None
        try:
            return Manifest.model_validate(fields)
        except ValidationError:  # bytes that are no text
            return None
