"""From a judged block to one block a study, in which nobody can be recognised who is not in that study.

Every column is built anew from the rows that cross: no buffer, dictionary or name of a withheld row comes along.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.blocks import Block, batch, column, taken, texts
from pipelines.claims import Claims, Grant
from pipelines.consent.snapshot import Snapshot
from pipelines.identity import keyed
from pipelines.keys import KeyRing, StudyKey, bucket, topic_hash

_CROSSING = (
    "received",
    "metric",
    "unit",
    "unit_sent",
    "modality",
    "device_model",
    "firmware",
    "app",
    "app_version",
    "channels",
)


def study_block(block: Block, partner: str, claims: Claims, grant: Grant, snapshot: Snapshot, keys: KeyRing) -> Block:
    """The part of a block that its consent lets into one study, under that study's pseudonyms."""
    key = keys.key(grant.study)
    rows = None if grant.allowed.all() else np.flatnonzero(grant.allowed[claims.unit_of])
    units = claims.unit_of if rows is None else claims.unit_of[rows]
    group, message, member = _groups(claims, grant)
    messages = _messages(block, partner, message, [snapshot.member_id(ref) for ref in member.tolist()], key)
    of_message = group[units]
    secret = column(messages, "secret")[of_message]
    readings = {
        name: _crossing(block.readings, name, rows) for name in block.readings.schema.names if name != "message"
    }
    readings["key64"] = keyed(np.asarray(readings.pop("sent")), secret)
    for name in ("record", "specimen"):
        if name in readings:
            hashed = np.asarray(readings.pop(name))
            readings[f"{name}64"] = pa.array(keyed(hashed, secret), mask=hashed == 0)
    if "run" in readings:
        readings["run"] = _runs(key, partner, np.asarray(readings["run"]))
    readings |= {"message": of_message.astype(np.int32), "consent_seq": grant.consent_seq[units]}
    meta = {"study": grant.study, "partner": partner, "family": block.meta["family"]}
    return Block(meta, {"messages": _without(messages, "secret"), "readings": batch(readings)})


def _crossing(part: pa.RecordBatch, name: str, rows: Any) -> Any:
    """A column of the rows that cross, in memory of its own."""
    values = part.column(name)
    if rows is None:
        return values
    plain = pa.types.is_primitive(values.type) and not values.null_count
    return taken(values.to_numpy() if plain else values, rows)


def _groups(claims: Claims, grant: Grant) -> tuple[Any, Any, Any]:
    """The group of each unit, and each group's message and member: one group for each message and member that cross."""
    units = np.flatnonzero(grant.allowed)
    pair = claims.message[units].astype(np.int64) << 32 | claims.member[units].astype(np.int64)
    distinct, inverse = np.unique(pair, return_inverse=True)
    group = np.zeros(len(grant.allowed), dtype=np.int64)
    group[units] = inverse
    return group, distinct >> 32, distinct & 0xFFFFFFFF


def _messages(block: Block, partner: str, message: Any, members: list[str], key: StudyKey) -> pa.RecordBatch:
    chosen = block.messages.take(pa.array(message))
    people = [_person(key, member) for member in members]
    topic, partition = topic_hash(block.meta["topic"]), block.meta["partition"]
    columns: dict[str, Any] = {name: chosen.column(name) for name in _CROSSING}
    columns["pseudonym"] = pa.array([person[0] for person in people], pa.string())
    columns["pbucket"] = np.array([person[1] for person in people], dtype=np.int16)
    columns["secret"] = np.array([person[2] for person in people], dtype=np.uint64)
    columns["source"] = pa.array([_token(key, partner, name) for name in texts(chosen, "source_name")], pa.string())
    columns["origin"] = pa.array([key.origin(topic, partition, at) for at in texts(chosen, "offset")], pa.binary())
    return batch(columns)


@lru_cache(maxsize=500_000)
def _person(key: StudyKey, member: str) -> tuple[str, int, int]:
    pseudonym = key.pseudonym(member)
    return pseudonym, bucket(pseudonym), key.secret64(member)


@lru_cache(maxsize=100_000)
def _token(key: StudyKey, partner: str, name: str) -> str:
    return key.token(partner, name)


def _runs(key: StudyKey, partner: str, hashed: Any) -> pa.Array:
    """A laboratory's runs by the study's own names, null for none: all that was measured in one run has the same."""
    distinct, place = np.unique(hashed, return_inverse=True)
    names = [_token(key, partner, f"run\x1f{run}") if run else None for run in distinct.tolist()]
    return pa.array(names, pa.string()).take(pa.array(place))


def _without(part: pa.RecordBatch, *names: str) -> pa.RecordBatch:
    return part.select([name for name in part.schema.names if name not in names])
