"""What a principal is given to reach Kafka, as files: for Wellspring, the environment, clients in Java and in Python.

All of them hold the password, so nobody but their owner can read them.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from connectors.kafka import KafkaSettings

SETTINGS_FILE = "wellspring.yaml"
ENVIRONMENT_FILE = "kafka.env"
JAVA_FILE = "client.properties"
PYTHON_FILE = "client.json"
_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
_FILES = ("ca_file", "cert_file", "key_file")


def private_folder(folder: Path) -> Path:
    """The folder, readable by its owner alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step and from its first byte on."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(file)


def write_client_files(folder: Path, settings: KafkaSettings, **more: object) -> list[Path]:
    """The files by which these settings can be used, with copies of the certificates; `more` goes into Wellspring's.

    The folder can be handed on as it is: but for the environment's, the files name each other by relative paths.
    """
    private_folder(folder)
    inside = settings.model_copy(update=dict(_taken_in(folder, settings)))
    contents = {
        SETTINGS_FILE: yaml.safe_dump({**more, "kafka": _section(inside)}, sort_keys=False),
        ENVIRONMENT_FILE: _environment(inside),
        JAVA_FILE: _properties(folder, inside),
        PYTHON_FILE: _arguments(inside),
    }
    for name, text in contents.items():
        write_private(folder / name, text)
    return [folder / name for name in contents]


def read_client_files(folder: Path) -> KafkaSettings:
    """How the principal of this folder comes in, whatever the environment says. FileNotFoundError where nothing says it."""
    section = yaml.safe_load((folder / SETTINGS_FILE).read_text(encoding="utf-8"))["kafka"]
    files = {name: folder / section[name] for name in _FILES if name in section}
    return KafkaSettings.model_validate({**section, **files})


def _taken_in(folder: Path, settings: KafkaSettings) -> Iterator[tuple[str, Path]]:
    for name in _FILES:
        given: Path | None = getattr(settings, name)
        if given is not None:
            own = folder / given.name
            if own != given:
                shutil.copyfile(given, own)
            own.chmod(0o600)
            yield name, own


def _fields(settings: KafkaSettings) -> dict[str, str]:
    """What is not as it is by default, as text, the password in plain."""
    fields = {name: str(value) for name, value in settings.model_dump(exclude_defaults=True).items()}
    if settings.password is not None:
        fields["password"] = settings.password.get_secret_value()
    return {"bootstrap": settings.bootstrap, **fields}


def _section(settings: KafkaSettings) -> dict[str, object]:
    fields: dict[str, object] = dict(_fields(settings))
    for name in _FILES:
        if name in fields:
            fields[name] = Path(str(fields[name])).name
    if "connect_timeout_s" in fields:
        fields["connect_timeout_s"] = settings.connect_timeout_s
    return fields


def _environment(settings: KafkaSettings) -> str:
    """Lines that a shell and systemd read alike; names, passwords and paths are quoted."""
    variables = {f"kafka__{name}".upper(): value for name, value in _fields(settings).items()}
    lines = (f"WELLSPRING_{name}='{_unquoted(value)}'" for name, value in variables.items())
    return "\n".join(lines) + "\n"


def _unquoted(value: str) -> str:
    if "'" in value or "\n" in value:
        raise ValueError("a value with a quotation mark or a line's end cannot be written to an environment file")
    return value


def _properties(folder: Path, settings: KafkaSettings) -> str:
    """For Apache Kafka's own clients, to be used in the folder itself: paths are names of files in it."""
    lines = {"bootstrap.servers": settings.bootstrap, "security.protocol": settings.security}
    if settings.ca_file is not None:
        lines |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": settings.ca_file.name}
    if settings.cert_file is not None and settings.key_file is not None:
        both = folder / f"{settings.cert_file.stem}.pem"
        write_private(both, settings.key_file.read_text("ascii") + settings.cert_file.read_text("ascii"))
        lines |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": both.name}
    if settings.login and settings.password is not None:
        secret = settings.password.get_secret_value().replace("\\", "\\\\").replace('"', '\\"')
        login = f'{_MODULE} required username="{settings.username}" password="{secret}";'
        lines |= {"sasl.mechanism": settings.mechanism, "sasl.jaas.config": login.replace("\\", "\\\\")}
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _arguments(settings: KafkaSettings) -> str:
    """For kafka-python, in its own names; paths are names of files in the folder."""
    said = {"bootstrap_servers": settings.bootstrap, "security_protocol": settings.security}
    if settings.login and settings.password is not None:
        said |= {"sasl_mechanism": settings.mechanism, "sasl_plain_username": settings.username or ""}
        said |= {"sasl_plain_password": settings.password.get_secret_value()}
    own = {"ssl_cafile": settings.ca_file, "ssl_certfile": settings.cert_file, "ssl_keyfile": settings.key_file}
    said |= {name: file.name for name, file in own.items() if file is not None}
    return json.dumps(said, indent=2) + "\n"
