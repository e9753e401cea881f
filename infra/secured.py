"""What makes a local broker a secured one, as production's is: its certificates, its administrator, its listeners.

Three ways in, on the broker's port a login over TLS (SCRAM-SHA-512), on the port after it a client's certificate, and
the controller's. Without a right that was given nobody may do anything, but for the broker and its administrator.
"""

import secrets
import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from infra.broker_ready import LOOPBACK
from infra.certificates import RENEWED_BEFORE, Authority, ends, write_private

BROKER, ADMIN = "broker", "admin"
"""The principals who may do everything: no certificate and no login of anybody else may bear these names."""

MECHANISM = "SCRAM-SHA-512"


class Secured:
    """What lies in the folder `secure` of a broker's folder; nobody but its owner may look into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker_pem = folder / "broker.pem"
        self.ca_file = folder / "ca.crt"
        self._password_file = folder / "admin.password"

    @property
    def is_there(self) -> bool:
        """Whether the broker of this folder is a secured one."""
        return self.folder.is_dir()

    def make(self, now: datetime) -> bool:
        """Make what is missing, and anew what ends soon; whether the broker's certificate is a new one."""
        authority = self.authority(now)
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(32).encode())
        if self.broker_pem.exists() and authority.has_signed(self.broker_pem) and not self.ends_soon(now):
            return False
        authority.issue(BROKER, self.broker_pem, now)
        return True

    def authority(self, now: datetime) -> Authority:
        """The authority that signs for this broker and its clients."""
        return Authority(self.folder, now, frozenset((BROKER, ADMIN)))

    def ends_soon(self, now: datetime) -> bool:
        """Whether the broker's certificate is to be made anew."""
        return ends(self.broker_pem) < now + RENEWED_BEFORE

    @property
    def password(self) -> str:
        """The administrator's."""
        return self._password_file.read_text("ascii")

    @property
    def _format_file(self) -> Path:
        return self.folder / "format.arguments"

    def format_arguments(self) -> list[str]:
        """What lays out a data folder in which the administrator can log in.

        In a file: the arguments of a process can be read by everybody on the machine.
        """
        write_private(self._format_file, f"--add-scram\n{MECHANISM}=[name={ADMIN},password={self.password}]\n".encode())
        return [f"@{self._format_file}"]

    def forget_format_arguments(self) -> None:
        """Delete that file."""
        self._format_file.unlink(missing_ok=True)

    def settings(self, port: int, controller_port: int) -> dict[str, str]:
        """The part of server.properties that differs from an open broker's."""
        listeners = f"SCRAM://{LOOPBACK}:{port},MTLS://{LOOPBACK}:{certificate_port(port)},CONTROLLER://{LOOPBACK}:{controller_port}"
        return {
            **_HOW,
            "listeners": listeners,
            "advertised.listeners": listeners,
            "ssl.keystore.location": str(self.broker_pem),
            "ssl.truststore.location": str(self.ca_file),
        }

    def client(self) -> ssl.SSLContext:
        """How to speak to the broker as itself."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.load_cert_chain(self.broker_pem)
        return context


def certificate_port(port: int) -> int:
    """Where clients with a certificate come in, by the port of the others."""
    return port + 1


_HOW: Mapping[str, str] = {
    "listener.security.protocol.map": "SCRAM:SASL_SSL,MTLS:SSL,CONTROLLER:SSL",
    "inter.broker.listener.name": "MTLS",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.client.auth": "none",
    "listener.name.mtls.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
    "sasl.enabled.mechanisms": MECHANISM,
    f"listener.name.scram.{MECHANISM.lower()}.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:{BROKER};User:{ADMIN}",
    "allow.everyone.if.no.acl.found": "false",
}
