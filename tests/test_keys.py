"""Keys: readable by their owner only, the same results for ever, and nothing that links two studies."""

import base64
import hashlib
import hmac
import os
import stat
from collections import Counter
from pathlib import Path

import pytest

from pipelines.keys import KeyMissing, KeyRing, StudyKey, bucket, topic_hash

KEY = bytes(range(32))
sleep, cycle = StudyKey("sleep", KEY), StudyKey("cycle", bytes(32))
HASH = topic_hash("acme.sensor-reading.v1")


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "vault")
    before = os.umask(0)
    try:
        assert ring.create("sleep")
    finally:
        os.umask(before)
    path = tmp_path / "vault" / "keys" / "sleep.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    held = path.read_bytes()
    assert not ring.create("sleep") and path.read_bytes() == held and len(held) == 32
    assert ring.create("cycle") and (path.parent / "cycle.key").read_bytes() != held


def test_a_missing_or_damaged_key_is_said_so_without_a_byte_of_it(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    with pytest.raises(KeyMissing, match="study sleep has no key in the vault"):
        ring.key("sleep")
    ring.create("sleep")
    path = tmp_path / "keys" / "sleep.key"
    path.write_bytes(b"secret-of-31-bytes".ljust(31, b"."))
    with pytest.raises(KeyMissing, match="damaged") as raised:
        ring.key("sleep")
    assert "secret" not in repr(raised.value)


def test_a_pseudonym_is_what_the_documents_say() -> None:
    """Pinned, and against the standard library: a pseudonym that changed would split every person in two."""
    digest = hmac.new(KEY, b"v1|sleep|m-ann", hashlib.sha256).digest()
    assert sleep.pseudonym("m-ann") == base64.b32encode(digest).decode()[:26] == "AMTR3R7XJB2D6J7W5MOBF34P2C"
    assert sleep.token("acme", "Ann's phone") == "7PLM4Z5NJRIDSL5A"
    assert sleep.fingerprint() == "f62cd932aa405405"
    assert bucket("AMTR3R7XJB2D6J7W5MOBF34P2C") == 206


def test_the_same_key_gives_the_same_results_in_every_process() -> None:
    again = StudyKey("sleep", KEY)
    assert again.pseudonym("m") == sleep.pseudonym("m")
    assert again.secret64("m") == sleep.secret64("m")
    assert again.token("acme", "w") == sleep.token("acme", "w")
    assert again.origin(HASH, 3, 12) == sleep.origin(HASH, 3, 12)
    assert again.fingerprint() == sleep.fingerprint()


@pytest.mark.parametrize("other", [cycle, StudyKey("cycle", KEY), StudyKey("sleep", bytes(32))])
def test_nothing_of_one_study_is_found_in_another(other: StudyKey) -> None:
    """Not even where two studies were given one key by mistake."""
    assert other.pseudonym("m") != sleep.pseudonym("m")
    assert other.secret64("m") != sleep.secret64("m")
    assert other.token("acme", "w") != sleep.token("acme", "w")
    assert other.origin(HASH, 3, 12) != sleep.origin(HASH, 3, 12)
    assert other.fingerprint() != sleep.fingerprint()


def test_names_and_members_cannot_stand_in_for_each_other() -> None:
    made = [sleep.pseudonym("x"), sleep.pseudonym("y"), sleep.token("acme", "x")[:16], sleep.token("beat", "x")[:16]]
    assert len({text[:16] for text in made}) == 4


def test_an_origin_opens_with_its_key_alone() -> None:
    origin = sleep.origin(HASH, 7, 1 << 40)
    assert sleep.coordinates(origin) == (HASH, 7, 1 << 40)
    assert HASH not in origin
    for wrong in (lambda: cycle.coordinates(origin), lambda: sleep.coordinates(origin[:-1] + b"\0")):
        with pytest.raises(KeyMissing):
            wrong()


def test_people_spread_over_the_buckets() -> None:
    found = [bucket(sleep.pseudonym(f"m{n}")) for n in range(5_000)]
    assert set(found) == set(range(256)) and max(Counter(found).values()) < 50


def test_keys_are_the_same_by_study_and_bytes() -> None:
    again, others = StudyKey("sleep", KEY), {StudyKey("cycle", KEY), StudyKey("sleep", bytes(32))}
    assert again == sleep and hash(again) == hash(sleep)
    assert len({sleep, again, *others}) == 3
