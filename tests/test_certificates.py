"""The local broker's authority: what it signs, for how long, for whom not; and files that only their owner reads."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from infra.certificates import (
    LASTS,
    RENEWED_BEFORE,
    Authority,
    CertificateRefused,
    ends,
    key_pem,
    private_key,
    request_for,
    write_private,
)
from infra.secured import ADMIN, BROKER, Secured

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names(pem: bytes) -> list[str]:
    subject = x509.load_pem_x509_certificate(pem).subject
    return [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def test_everything_is_its_owners_alone(tmp_path: Path) -> None:
    secured = Secured(tmp_path / "secure")
    secured.make(NOW)
    secured.format_arguments()
    assert mode(secured.folder) == 0o700
    assert {mode(file) for file in secured.folder.iterdir()} == {0o600}
    assert len(list(secured.folder.iterdir())) == 5
    secured.forget_format_arguments()
    assert len(list(secured.folder.iterdir())) == 4


def test_a_private_file_is_never_open_to_others_not_even_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert (mode(file), file.read_bytes(), list(tmp_path.iterdir())) == (0o600, b"new", [file])


def test_the_administrators_password_is_in_no_argument(tmp_path: Path) -> None:
    secured = Secured(tmp_path / "secure")
    secured.make(NOW)
    assert secured.password not in " ".join(secured.format_arguments())


def test_what_is_there_stays_until_it_ends_soon(tmp_path: Path) -> None:
    secured = Secured(tmp_path / "secure")
    assert secured.make(NOW)
    first, password, ca = secured.broker_pem.read_bytes(), secured.password, secured.ca_file.read_bytes()
    soon = NOW + LASTS - RENEWED_BEFORE
    assert not secured.make(soon)
    assert secured.broker_pem.read_bytes() == first
    assert secured.make(soon + DAY)
    assert secured.broker_pem.read_bytes() != first
    assert ends(secured.broker_pem) == soon + DAY + LASTS
    assert (secured.password, secured.ca_file.read_bytes()) == (password, ca)


def test_one_that_has_ended_or_is_of_another_authority_is_made_anew(tmp_path: Path) -> None:
    secured, other = Secured(tmp_path / "secure"), Secured(tmp_path / "other")
    secured.make(NOW)
    secured.authority(NOW).issue(BROKER, secured.broker_pem, NOW, -DAY)
    assert secured.make(NOW)
    other.make(NOW)
    secured.broker_pem.write_bytes(other.broker_pem.read_bytes())
    assert secured.make(NOW)
    assert secured.authority(NOW).has_signed(secured.broker_pem)


def test_an_authority_that_ends_certifies_itself_again_with_the_key_that_it_has(tmp_path: Path) -> None:
    first = Authority(tmp_path, NOW)
    file = tmp_path / "old.pem"
    late = NOW + timedelta(days=3600)
    first.issue("old", file, late)
    before = first.certificate.read_bytes()
    again = Authority(tmp_path, late)
    assert again.certificate.read_bytes() != before
    assert again.has_signed(file)


@pytest.mark.parametrize("name", [BROKER, ADMIN])
def test_nobody_gets_the_name_of_a_principal_who_may_do_everything(tmp_path: Path, name: str) -> None:
    authority = Secured(tmp_path).authority(NOW)
    with pytest.raises(CertificateRefused, match="name of the broker's own"):
        authority.certify(name, private_key().public_key(), NOW)
    with pytest.raises(CertificateRefused, match="name of the broker's own"):
        authority.certify_request(name, request_for("acme", private_key()), NOW)


def test_a_request_decides_nothing_but_the_key(tmp_path: Path) -> None:
    key = private_key()
    pem = Secured(tmp_path).authority(NOW).certify_request("acme", request_for(ADMIN, key), NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    assert names(pem) == ["acme"]
    assert len(certificate.subject) == 1
    assert certificate.public_key() == key.public_key()
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    authority = Secured(tmp_path).authority(NOW)
    with pytest.raises(CertificateRefused, match="not a certificate request in PEM"):
        authority.certify_request("acme", key_pem(private_key()), NOW)
    weak = rsa.generate_private_key(65537, 1024)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme")])
    request = (
        x509.CertificateSigningRequestBuilder().subject_name(named).sign(weak, SHA256()).public_bytes(Encoding.PEM)
    )
    with pytest.raises(CertificateRefused, match="elliptic curve"):
        authority.certify_request("acme", request, NOW)


def test_the_brokers_certificate_is_one_of_a_server_for_this_machine(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    secured.make(NOW)
    certificate = x509.load_pem_x509_certificate(secured.broker_pem.read_bytes())
    hosts = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert hosts.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in hosts.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert names(secured.broker_pem.read_bytes()) == [BROKER]
    assert secured.client().verify_mode is ssl.CERT_REQUIRED
