"""A certificate authority in a folder: its own key and certificate, and what it signs, as PEM files.

It is the local broker's, and of no other cluster. Times are arguments, aware and in UTC; keys are readable by their
owner alone.
"""

import os
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LASTS = timedelta(days=90)
"""How long a certificate is good."""

RENEWED_BEFORE = timedelta(days=30)
"""One that ends sooner than this is made anew."""

_AUTHORITY_LASTS = timedelta(days=3650)
_CLOCKS_DIFFER_BY = timedelta(hours=1)
_HOSTS = ("127.0.0.1", "localhost")


class CertificateRefused(Exception):
    """What the authority will not sign; the text says why."""


def private_key() -> ec.EllipticCurvePrivateKey:
    """A new key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS 8, without a pass phrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_for(name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """What somebody else's authority is asked to sign: this name and the key's public half, PEM."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_called(name)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def ends(pem: Path) -> datetime:
    """Until when the first certificate of a PEM file is good, UTC."""
    return x509.load_pem_x509_certificate(pem.read_bytes()).not_valid_after_utc


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, in one step and from its first byte on."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)


class Authority:
    """The authority of a folder, made when it is first opened. It signs no name of `kept`, which are its own."""

    def __init__(self, folder: Path, now: datetime, kept: frozenset[str] = frozenset()) -> None:
        self._kept = kept
        self.certificate = folder / "ca.crt"
        key_file = folder / "ca.key"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not key_file.exists():
            write_private(key_file, key_pem(private_key()))
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateRefused(f"{key_file} is not a key that this authority has made")
        self._key = key
        if not self.certificate.exists() or ends(self.certificate) < now + LASTS + RENEWED_BEFORE:
            self._certify_itself(now)

    def _certify_itself(self, now: datetime) -> None:
        """With the key that it has: what it signed before stays good."""
        itself = x509.BasicConstraints(ca=True, path_length=0)
        signs = _key_usage(signs_certificates=True)
        builder = _unsigned(_called("Wellspring local Kafka"), self._key.public_key(), now, now + _AUTHORITY_LASTS)
        builder = builder.issuer_name(_called("Wellspring local Kafka")).add_extension(itself, critical=True)
        write_private(
            self.certificate, _pem(builder.add_extension(signs, critical=True).sign(self._key, hashes.SHA256()))
        )

    def certify(self, name: str, key: ec.EllipticCurvePublicKey, now: datetime, lasts: timedelta = LASTS) -> bytes:
        """A client's certificate for the principal `name`, PEM. CertificateRefused where it is one of the own names."""
        if name in self._kept:
            raise CertificateRefused(f"{name} is a name of the broker's own: choose another")
        return self._certified(name, key, now, lasts)

    def certify_request(self, name: str, request: bytes, now: datetime) -> bytes:
        """The same for the key of a request (PEM). Whatever name the request says, the certificate says `name`."""
        try:
            read = x509.load_pem_x509_csr(request)
        except ValueError:
            raise CertificateRefused("the request is not a certificate request in PEM") from None
        key = read.public_key()
        if not read.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise CertificateRefused(
                "the request is not one by a key on an elliptic curve (P-256) that signed it itself"
            )
        return self.certify(name, key, now)

    def issue(self, name: str, file: Path, now: datetime, lasts: timedelta = LASTS) -> None:
        """One of the own names: a new key and its certificate for this machine in one file."""
        key = private_key()
        write_private(file, key_pem(key) + self._certified(name, key.public_key(), now, lasts, _HOSTS))

    def has_signed(self, pem: Path) -> bool:
        """Whether the first certificate of the file is this authority's."""
        certificate = x509.load_pem_x509_certificate(pem.read_bytes())
        try:
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(self.certificate.read_bytes()))
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _certified(
        self, name: str, key: ec.EllipticCurvePublicKey, now: datetime, lasts: timedelta, hosts: tuple[str, ...] = ()
    ) -> bytes:
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = _unsigned(_called(name), key, now, now + lasts).issuer_name(_called("Wellspring local Kafka"))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256()))


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _unsigned(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(min(now, until) - _CLOCKS_DIFFER_BY).not_valid_after(until)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
