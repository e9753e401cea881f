"""The list of contracts in `schemas/README.md`, made from their files: `python -m schemas.contracts_page --write`."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from schemas.contracts import FOLDER, Contract, contracts
from schemas.generated_page import Listing, table


def listing() -> str:
    """Every contract in Markdown: its versions and fingerprints, and each field of the latest with type and doc."""
    parts = []
    for name in sorted({contract.name for contract in contracts().values()}):
        versions = sorted((c for c in contracts().values() if c.name == name), key=lambda c: c.order)
        schema = json.loads((FOLDER / f"{name}.{versions[-1].version}.avsc").read_text(encoding="utf-8"))
        parts += [
            f"### `{name}`",
            schema["doc"],
            table(("version", "file", "fingerprint on the wire"), map(_version, versions)),
            table(("field", "type", "default", "what it is"), _fields(schema, "")),
        ]
    return "\n\n".join(parts) + "\n"


def _version(contract: Contract) -> tuple[str, ...]:
    file = f"{contract.name}.{contract.version}.avsc"
    return contract.version, f"[`contracts/{file}`](contracts/{file})", f"`{contract.fingerprint.hex(' ')}`"


def _fields(record: Any, path: str) -> Iterator[tuple[str, ...]]:
    """The record's fields in order, those of the records inside a field after it."""
    for field in record["fields"]:
        name = f"{path}{field['name']}"
        default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
        yield f"`{name}`", _type(field["type"]), default, field["doc"]
        for inner in _records(field["type"]):
            if isinstance(field["type"], list):
                yield f"`{name}` as {inner['name']}", "record", "", inner["doc"]
            yield from _fields(inner, f"{name}.")


def _records(kind: Any) -> list[Any]:
    """The records defined in a type: those of an array's items too."""
    branches = kind if isinstance(kind, list) else [kind]
    branches = [branch["items"] if _type(branch).startswith("array of record") else branch for branch in branches]
    return [branch for branch in branches if isinstance(branch, dict) and branch["type"] == "record"]


def _type(kind: Any) -> str:
    if isinstance(kind, str):
        return f"record {kind.rpartition('.')[2]}" if "." in kind else kind
    if isinstance(kind, list):
        return " or ".join(_type(branch) for branch in kind)
    if kind["type"] == "array":
        return f"array of {_type(kind['items'])}"
    if kind["type"] == "enum":
        return f"enum: {', '.join(kind['symbols'])}"
    return f"record {kind['name']}"


CONTRACTS = Listing("contracts", "schemas.contracts_page", listing)

if __name__ == "__main__":
    sys.exit(CONTRACTS.main())
