"""Consent asked again about rows that have their pseudonym already: may they still become part of a study's data?

The verdict is that of the run, twice: at the moment at which the reading came in, and at this one. What was let in then
and is no longer consented to now stays out. A study that no longer runs may still settle what came in while it did. Whose a
reading is, is not asked again: a row has no subject any more. A replay of its record asks that too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.consent.arrays import ALWAYS, ChainArrays
from pipelines.consent.register import Register
from pipelines.consent.snapshot import Snapshot
from pipelines.consent.verdict import NO_CHAIN, NO_CHAIN_AT_ALL, NUMBER, SURE, judge
from pipelines.keys import StudyKey
from schemas.reasons import Code

Codes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


def judge_again(
    rows: pa.Table, key: StudyKey, register: Register, snapshot: Snapshot, now_us: int, hold_us: Ints
) -> Codes:
    """[n] one code each, a place in `verdict.CODES`, for rows with pseudonym, metric, start, end and received.

    `hold_us` [n] is how long a reading waits for a first grant. To find whose a pseudonym is takes a hash a member.
    """
    names = rows.column("pseudonym").combine_chunks().dictionary_encode()
    refs = _refs(register, key, names.dictionary.to_pylist())
    chains, of_name = _chains(snapshot, key.study, refs)
    of_row = of_name[names.indices.to_numpy()]
    metric, known = _metrics(rows, snapshot)
    start, end, received = (_micros(rows, name) for name in ("start", "end", "received"))
    sure = np.full(len(rows), SURE, dtype=np.int8)
    then = judge(chains, of_row, metric, start, end, received, sure, hold_us).code
    settling = replace(chains, active_from=_same(chains, ALWAYS[0]), active_until=_same(chains, ALWAYS[1]))
    now = judge(settling, of_row, metric, start, end, np.maximum(received, now_us), sure, hold_us).code
    code = np.where(then == NUMBER[Code.OK], now, then)
    return np.where(known, code, np.uint8(NUMBER[Code.NO_AUTHORITY])).astype(np.uint8)


def _refs(register: Register, key: StudyKey, pseudonyms: list[str]) -> list[int]:
    """Each pseudonym's member, -1 for one that is nobody's."""
    wanted, found = set(pseudonyms), dict[str, int]()
    for ref, member in register.members():
        if len(found) == len(wanted):
            break
        if (name := key.pseudonym(member)) in wanted:
            found[name] = ref
    return [found.get(name, -1) for name in pseudonyms]


def _chains(snapshot: Snapshot, study: str, refs: list[int]) -> tuple[ChainArrays, npt.NDArray[np.int32]]:
    """The members' chains with the study, and each member's place among these, or why there is none."""
    members = snapshot.chains_of(np.array(refs, dtype=np.int64))
    owner = np.repeat(np.arange(len(refs)), np.diff(members.offsets))
    number = snapshot.studies.index(study) if study in snapshot.studies else -1
    at = np.flatnonzero(members.study == number)
    place = np.where(np.diff(members.offsets) > 0, NO_CHAIN, NO_CHAIN_AT_ALL).astype(np.int32)
    place[owner[at]] = np.arange(len(at))
    return snapshot.gather(members.chain[at]), place


def _metrics(rows: pa.Table, snapshot: Snapshot) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Each row's metric as a column of the chains' sets, and whether the catalogue still has it."""
    codes = rows.column("metric").combine_chunks().dictionary_encode()
    number: Mapping[str, int] = {code: place for place, code in enumerate(snapshot.metrics)}
    place = np.array([number.get(code, -1) for code in codes.dictionary.to_pylist()], dtype=np.int32)
    found = place[codes.indices.to_numpy()]
    return np.maximum(found, 0), found >= 0


def _micros(rows: pa.Table, name: str) -> Any:
    return rows.column(name).cast(pa.int64()).to_numpy()


def _same(chains: ChainArrays, moment: int) -> Ints:
    return np.full(len(chains.active_from), moment, dtype=np.int64)
