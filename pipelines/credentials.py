"""Logins and certificates of principals, each with the files by which it comes in.

The files are written before the cluster knows the password: whoever is stopped in between begins again, and no user is
left whose password nobody has.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.client_files import private_folder, read_client_files, write_client_files
from connectors.client_files import write_private as write_private_text
from connectors.kafka import KafkaSettings
from connectors.users import new_password, set_password, user_exists
from infra.certificates import RENEWED_BEFORE, Authority, ends, key_pem, private_key, request_for, write_private


class Made(StrEnum):
    """What became of a login, a certificate or anything else that is to be there."""

    THERE = "there"
    MADE = "made"
    CHANGED = "changed"
    TO_MAKE = "would be made"
    TO_CHANGE = "would be changed"
    ELSEWHERE = "there, its password is not here"
    DIFFERS = "differs"
    UNREADABLE = "there, not comparable"
    UNSIGNED = "waits to be signed"


@dataclass(frozen=True)
class Given:
    """Where a principal's files lie, and what stands in its Wellspring settings beside Kafka."""

    folder: Path
    more: Mapping[str, Any]

    def write(self, settings: KafkaSettings) -> None:
        """The files for these settings."""
        write_client_files(self.folder, settings, **self.more)

    def knows_password(self, name: str) -> bool:
        """Whether a password for this user is in the files."""
        try:
            return read_client_files(self.folder).username == name
        except FileNotFoundError:
            return False


def make_login(
    kafka: KafkaSettings, bootstrap: str, name: str, given: Given, *, renew: bool = False, dry_run: bool = False
) -> Made:
    """A user with a random password, and its files; with `renew` another password. KafkaUnreachable, KafkaRefused."""
    exists = user_exists(kafka, name)
    if exists and not renew:
        return Made.THERE if given.knows_password(name) else Made.ELSEWHERE
    if dry_run:
        return Made.TO_CHANGE if exists else Made.TO_MAKE
    password = new_password()
    given.write(
        KafkaSettings(
            bootstrap=bootstrap,
            security="SASL_SSL" if kafka.tls else "SASL_PLAINTEXT",
            ca_file=kafka.ca_file,
            username=name,
            password=password,
        )
    )
    set_password(kafka, name, password)
    return Made.CHANGED if exists else Made.MADE


def make_certificate(
    authority: Authority, bootstrap: str, name: str, given: Given, now: datetime, *, dry_run: bool = False
) -> Made:
    """A key, and a certificate for it by this authority, with their files. One that ends soon is made anew."""
    certificate = given.folder / f"{name}.crt"
    exists = certificate.exists() and authority.has_signed(certificate)
    if exists and ends(certificate) > now + RENEWED_BEFORE:
        return Made.THERE
    if dry_run:
        return Made.TO_CHANGE if exists else Made.TO_MAKE
    key = _key(given.folder / f"{name}.key")
    write_private(certificate, authority.certify(name, key.public_key(), now))
    given.write(
        KafkaSettings(
            bootstrap=bootstrap,
            security="SSL",
            ca_file=authority.certificate,
            cert_file=certificate,
            key_file=given.folder / f"{name}.key",
        )
    )
    return Made.CHANGED if exists else Made.MADE


def sign_request(authority: Authority, name: str, request: Path, given: Given, now: datetime) -> Made:
    """A certificate for the key that the partner keeps to itself; the files are that and the authority's certificate."""
    signed = authority.certify_request(name, request.read_bytes(), now)
    private_folder(given.folder)
    write_private(given.folder / f"{name}.crt", signed)
    shutil.copyfile(authority.certificate, given.folder / authority.certificate.name)
    return Made.MADE


def ask_for_certificate(name: str, given: Given, *, dry_run: bool = False) -> Made:
    """A key, and a request for the authority of a cluster that is not ours to sign."""
    request = given.folder / f"{name}.csr"
    if not request.exists() and not dry_run:
        write_private_text(request, request_for(name, _key(given.folder / f"{name}.key")).decode("ascii"))
    return Made.UNSIGNED


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    """The key of this file, made where there is none."""
    private_folder(file.parent)
    if not file.exists():
        write_private(file, key_pem(private_key()))
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "made by this module"
    return key
