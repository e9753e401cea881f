"""The JSON form of a message, for people to read and write: examples, and messages that somebody wants to have judged.

    {"contract": "sensor-reading", "version": "1.1", "message": {…}}

The message has the contract's fields by name; one that may be left out may be left out. An enum is its symbol, a
record an object (of several possible ones, the one whose fields it has), and bytes are `{"hex": "0000b042"}`, two
digits a byte as they are on the wire, blanks allowed between bytes. Without `version` it is the latest.
"""

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from schemas.conform import fault
from schemas.contracts import Contract, contracts, encode
from schemas.reasons import Reason, Rejected

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHAPE = '{"contract": "…", "version": "…", "message": {…}}'


@dataclass(frozen=True)
class JsonForm:
    """A message as it stands in JSON, and the contract that it says it is of."""

    contract: Contract
    message: Any

    def encode(self) -> bytes:
        """The message's bytes; Rejected with the path of the first field that is not what the contract says."""
        message = _with_bytes(self.message, "")
        problem = fault(self.contract.schema, message)
        if problem is not None:
            raise problem
        return encode(self.contract.name, message, self.contract)


def is_json(data: bytes) -> bool:
    """Whether these bytes set out to be JSON: a message's own begin with a marker that JSON does not know."""
    return data.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"{"


def read_json(data: bytes) -> JsonForm:
    """The JSON form in a file's bytes; Rejected where it is none, or names a contract that there is not."""
    try:
        form = from_json(data.removeprefix(_BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError:
        form = None
    if not isinstance(form, dict):
        raise Rejected(Reason.FIELD, "", f"JSON of the form {_SHAPE}")
    for name in ("contract", "message"):
        if name not in form:
            raise Rejected(Reason.FIELD, name, f"the field to be there: {_SHAPE}")
    if form.keys() - {"contract", "version", "message"}:
        raise Rejected(Reason.FIELD, "(unknown field)", f"only {_SHAPE}")
    return JsonForm(_named(form["contract"], form.get("version")), form["message"])


def _named(name: Any, version: Any) -> Contract:
    versions = [c for c in contracts().values() if c.name == name]
    if not versions:
        raise Rejected(
            Reason.CONTRACT, "contract", f"one of {', '.join(sorted({c.name for c in contracts().values()}))}"
        )
    found = [c for c in versions if version in (None, c.version)]
    if not found:
        raise Rejected(Reason.FINGERPRINT, "version", f"one of {', '.join(sorted(c.version for c in versions))}")
    return max(found, key=lambda c: c.order)


def _with_bytes(value: Any, path: str) -> Any:
    """The value with bytes in place of each `{"hex": "…"}`."""
    if isinstance(value, list):
        return [_with_bytes(item, f"{path}[{number}]") for number, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"hex"}:
        return _from_hex(value["hex"], path)
    return {name: _with_bytes(inner, f"{path}.{name}".removeprefix(".")) for name, inner in value.items()}


def _from_hex(text: Any, path: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (ValueError, TypeError):
        raise Rejected(Reason.FIELD, f"{path}.hex", "two hexadecimal digits a byte") from None
