"""The studies' keys, and what is made with them: pseudonyms, tokens of people's names for things, and origins.

A key is 32 random bytes in the vault, readable by its owner only. Whoever has it can reverse the study's
pseudonyms by trying members, so it never leaves the vault; its fingerprint stands in the ledger.
"""

import hashlib
import hmac
import secrets
import struct
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from pipelines.vault import Vault, as_vault

PSEUDONYM_LENGTH = 26
TOKEN_LENGTH = 16
_COORDINATES = struct.Struct("<8sIq")


class KeyMissing(Exception):
    """A study without its key: nothing can be landed for it."""


class StudyKey:
    """What one study's key makes. Every result is the same for the same input, for as long as the key lives.

    Two of the same study and the same bytes are equal, so that what was made with one is remembered for the next plan's.
    """

    def __init__(self, study: str, key: bytes) -> None:
        self.study = study
        self._key = key
        self._origins = AESSIV(self._derive("origin", 64))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StudyKey) and (self.study, self._key) == (other.study, other._key)

    def __hash__(self) -> int:
        return hash((self.study, self._key))

    def _derive(self, purpose: str, size: int = 32) -> bytes:
        digest = hmac.new(self._key, f"v1|{purpose}|{self.study}".encode(), hashlib.sha512).digest()
        return digest[:size]

    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this key from another without telling the key."""
        return self._derive("fingerprint").hex()[:16]

    def pseudonym(self, member: str) -> str:
        """The person as this study knows them."""
        digest = hmac.new(self._key, f"v1|{self.study}|{member}".encode(), hashlib.sha256).digest()
        return _base32(digest, PSEUDONYM_LENGTH)

    def secret64(self, member: str) -> int:
        """64 secret bits of this study and member, mixed into key64 and record64."""
        digest = hmac.new(self._key, f"v1|secret|{self.study}|{member}".encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:8], "little")

    def token(self, partner: str, name: str) -> str:
        """A name that somebody gave a device or app, as this study sees it."""
        digest = hmac.new(self._key, f"v1|source|{self.study}|{partner}|{name}".encode(), hashlib.sha256).digest()
        return _base32(digest, TOKEN_LENGTH)

    def origin(self, topic_hash: bytes, partition: int, offset: int) -> bytes:
        """A message's coordinates under AES-SIV: equal coordinates give equal tokens, and only the key opens them."""
        return self._origins.encrypt(_COORDINATES.pack(topic_hash, partition, offset), None)

    def coordinates(self, origin: bytes) -> tuple[bytes, int, int]:
        """Topic hash, partition and offset behind an origin; KeyMissing where another key made it."""
        try:
            topic_hash, partition, offset = _COORDINATES.unpack(self._origins.decrypt(origin, None))
        except InvalidTag:
            raise KeyMissing(f"the key of study {self.study} did not make this origin") from None
        return topic_hash, partition, offset


_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _base32(digest: bytes, length: int) -> str:
    """The first characters of the digest in base32 (RFC 4648); ten times faster than the standard library's encoder."""
    bits = int.from_bytes(digest, "big") >> (8 * len(digest) - 5 * length)
    return "".join([_BASE32[(bits >> shift) & 31] for shift in range(5 * (length - 1), -1, -5)])


def topic_hash(topic: str) -> bytes:
    """8 bytes that stand for a topic in an origin."""
    return hashlib.blake2b(topic.encode(), digest_size=8).digest()


def bucket(pseudonym: str) -> int:
    """A number from 0 to 255 by which a person's files can be found through the file statistics."""
    return hashlib.blake2b(pseudonym.encode(), digest_size=1).digest()[0]


class KeyRing:
    """The studies' keys in the vault, under `keys/`."""

    def __init__(self, vault: Vault | Path) -> None:
        self._vault = as_vault(vault)
        self.key = lru_cache(maxsize=None)(self._read)

    def create(self, study: str) -> bool:
        """Make the study's random key unless it has one; True where it was made."""
        return self._vault.create(_name(study), secrets.token_bytes(32))

    def has(self, study: str) -> bool:
        """Whether there is a key of this study, whole or not."""
        return self._vault.secret(_name(study)) is not None

    def _read(self, study: str) -> StudyKey:
        key = self._vault.secret(_name(study))
        if key is None:
            raise KeyMissing(
                f"study {study} has no key in the vault: restore the vault's keys/, "
                "or, for a new study, `wellspring studies add` it"
            )
        if len(key) != 32:
            raise KeyMissing(f"the key of study {study} is damaged: restore the vault's folder keys/ from its backup")
        return StudyKey(study, key)


def _name(study: str) -> str:
    return f"keys/{study}.key"
