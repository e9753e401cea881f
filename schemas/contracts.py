"""The contracts: Avro schema files, found by fingerprint, and the single-object encoding of their messages.

A message is the marker C3 01, the writer's schema's CRC-64-AVRO fingerprint (8 bytes, little-endian) and the Avro body.
All versions of all contracts lie in `contracts/`, so a message written years ago is read with its own writer's schema
and resolved to today's.
"""

import io
import json
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType, fingerprint, to_parsing_canonical_form

from schemas.conform import fault
from schemas.heads import HeadedReader, PlainReader
from schemas.reasons import Reason, Rejected

MARKER = b"\xc3\x01"
HEADER_BYTES = 10
FOLDER = Path(__file__).parent / "contracts"

# What fastavro raises on bytes that are not what the schema says; found by mutating valid messages.
_UNREADABLE = (EOFError, IndexError, ValueError, OverflowError, KeyError, TypeError, MemoryError, struct.error)
# What it raises on a message that does not fit; its texts repeat the value.
_UNWRITABLE = (ValueError, TypeError, OverflowError, KeyError, AttributeError)


class ContractError(Exception):
    """A contract file that breaks the rules for contracts: a defect of ours, not of a message."""


@dataclass(frozen=True)
class Contract:
    """One version of one contract; `fingerprint` as it stands on the wire."""

    name: str
    version: str
    schema: Any
    fingerprint: bytes

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def order(self) -> tuple[int, ...]:
        """By what versions are ordered: 1.10 comes after 1.9."""
        return tuple(int(part) for part in self.version.split("."))


@cache
def contracts() -> dict[bytes, Contract]:
    """Every version of every contract by its fingerprint."""
    found: dict[bytes, Contract] = {}
    for path in sorted(FOLDER.glob("*.avsc")):
        contract = read_contract(path)
        if contract.fingerprint in found:
            raise ContractError(f"{contract.label} has the same fingerprint as {found[contract.fingerprint].label}")
        found[contract.fingerprint] = contract
    return found


def read_contract(path: Path) -> Contract:
    """The contract in a file `<name>.<major>.<minor>.avsc`; ContractError where it breaks a rule for contracts."""
    name, version = path.stem.split(".", 1)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        schema = fastavro.parse_schema(raw)
    except (json.JSONDecodeError, SchemaParseException, UnknownType) as error:
        raise ContractError(f"{path.name} is not an Avro schema: {error}") from None
    _refuse_zero_width_items(raw, path.name)
    checksum = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    return Contract(name, version, schema, checksum)


def _refuse_zero_width_items(node: Any, file: str) -> None:
    """Items of no bytes would let a few bytes claim millions of them."""
    if isinstance(node, list):
        for branch in node:
            _refuse_zero_width_items(branch, file)
    elif isinstance(node, dict):
        items = node.get("items", node.get("values"))
        if node.get("type") in ("array", "map") and items is not None and _zero_width(items):
            raise ContractError(f"{file} has an array whose items take no bytes")
        for inner in node.values():
            _refuse_zero_width_items(inner, file)


def _zero_width(kind: Any) -> bool:
    if not isinstance(kind, dict):
        return bool(kind == "null")
    if kind["type"] == "record":
        return all(_zero_width(field["type"]) for field in kind["fields"])
    return bool(kind["type"] == "null" or kind.get("size") == 0)


@cache
def latest(name: str) -> Contract:
    """Today's version of a contract, the one that messages are written with and resolved to."""
    versions = [c for c in contracts().values() if c.name == name]
    if not versions:
        raise ContractError(f"there is no contract {name}")
    return max(versions, key=lambda c: c.order)


def encode(name: str, message: dict[str, Any], contract: Contract | None = None) -> bytes:
    """The message in single-object encoding, written with the contract's latest version unless told another.

    Rejected, with the field's path, where it is not what the contract says; a field that the contract does not have is
    a fault too, since it may be another one misspelt.
    """
    contract = contract or latest(name)
    buffer = io.BytesIO()
    buffer.write(MARKER + contract.fingerprint)
    try:
        fastavro.schemaless_writer(buffer, contract.schema, message, strict_allow_default=True)
    except _UNWRITABLE:
        pass
    else:
        return buffer.getvalue()
    raise fault(contract.schema, message) or Rejected(Reason.FIELD, "", f"a message of {contract.label}")


def decode(payload: bytes | None, name: str) -> dict[str, Any]:
    """The message of contract `name` in a record's value, as its latest version; Rejected where it is none.

    The body must be consumed to its last byte.
    """
    contract = identify(payload)
    if contract.name != name:
        raise Rejected(Reason.CONTRACT, "", f"a message of the contract {name}")
    assert payload is not None
    return _read_body(payload, contract)


def identify(payload: bytes | None) -> Contract:
    """The contract version that wrote a payload; Rejected where the payload does not say."""
    if not payload:
        raise Rejected(Reason.EMPTY)
    if payload[:2] != MARKER or len(payload) < HEADER_BYTES:
        raise Rejected(Reason.NOT_AVRO)
    contract = contracts().get(payload[2:HEADER_BYTES])
    if contract is None:
        raise Rejected(Reason.FINGERPRINT)
    return contract


def _read_body(payload: bytes, writer: Contract) -> dict[str, Any]:
    try:
        message, end = _reader(writer.fingerprint).read(payload, HEADER_BYTES)
    except _UNREADABLE:
        raise Rejected(Reason.TRUNCATED) from None
    if end != len(payload):
        raise Rejected(Reason.TRAILING)
    if not isinstance(message, dict):
        raise Rejected(Reason.TRUNCATED)
    return message


@cache
def _reader(fingerprint: bytes) -> HeadedReader | PlainReader:
    """What reads the bodies of one version as today's."""
    writer = contracts()[fingerprint]
    today = latest(writer.name)
    if writer.name in _LAST_OF_HEAD:
        return HeadedReader(writer.schema, today.schema, _LAST_OF_HEAD[writer.name])
    return PlainReader(writer.schema, today.schema)


# The last of the fields that come first and that a device repeats in each of its messages.
_LAST_OF_HEAD = {"sensor-reading": "zone"}
