"""What a principal is given: files that only their owner reads, and that say the same in three languages."""

import json
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors.client_files import (
    ENVIRONMENT_FILE,
    JAVA_FILE,
    PYTHON_FILE,
    SETTINGS_FILE,
    read_client_files,
    write_client_files,
)
from connectors.kafka import KafkaSettings
from pipelines.settings import load_settings

PASSWORD = "a-password_of-46-characters"


def login(folder: Path) -> KafkaSettings:
    ca = folder / "ca.crt"
    ca.write_text("a certificate\n")
    return KafkaSettings(
        bootstrap="kafka.example.org:9094",
        security="SASL_SSL",
        ca_file=ca,
        username="acme",
        password=SecretStr(PASSWORD),
        connect_timeout_s=7.5,
    )


def certificate(folder: Path) -> KafkaSettings:
    for name in ("ca.crt", "acme.crt", "acme.key"):
        (folder / name).write_text(f"{name}\n")
    files = {"ca_file": folder / "ca.crt", "cert_file": folder / "acme.crt", "key_file": folder / "acme.key"}
    return KafkaSettings(bootstrap="kafka.example.org:9095", security="SSL", **files)


def environment(file: Path) -> dict[str, str]:
    """The variables, as a shell understands the file."""
    said = subprocess.run(["sh", "-c", 'set -a; . "$1"; env -0', "sh", file], capture_output=True, check=True, env={})
    pairs = (line.partition("=") for line in said.stdout.decode().split("\0"))
    return {name: value for name, _, value in pairs if name.startswith("WELLSPRING_")}


def properties(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def test_only_their_owner_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    folder.mkdir(mode=0o755)
    write_client_files(folder, certificate(tmp_path))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert {file.name for file in folder.iterdir()} == {
        *(SETTINGS_FILE, ENVIRONMENT_FILE, JAVA_FILE, PYTHON_FILE),
        *("ca.crt", "acme.crt", "acme.key", "acme.pem"),
    }


def test_the_settings_file_works_wherever_the_folder_is_carried(tmp_path: Path) -> None:
    given = login(tmp_path)
    write_client_files(tmp_path / "here", given, authority="consent-office")
    (tmp_path / "here").rename(tmp_path / "there")
    read = load_settings(tmp_path / "there" / SETTINGS_FILE)
    assert read.authority == "consent-office"
    assert read.kafka == given.model_copy(update={"ca_file": tmp_path / "there" / "ca.crt"})


def test_the_environment_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = login(tmp_path)
    write_client_files(tmp_path / "acme", given)
    for name, value in environment(tmp_path / "acme" / ENVIRONMENT_FILE).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "empty.yaml").write_text("")
    assert load_settings(tmp_path / "empty.yaml").kafka == given.model_copy(
        update={"ca_file": tmp_path / "acme" / "ca.crt"}
    )


def test_the_files_are_read_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator, whose variables are an administrator's, tries what a partner may do."""
    given = login(tmp_path)
    write_client_files(tmp_path / "acme", given)
    monkeypatch.setenv("WELLSPRING_KAFKA__USERNAME", "admin")
    assert read_client_files(tmp_path / "acme") == given.model_copy(update={"ca_file": tmp_path / "acme" / "ca.crt"})
    with pytest.raises(FileNotFoundError):
        read_client_files(tmp_path / "nobody")


def test_java_logs_in_by_the_same_password(tmp_path: Path) -> None:
    write_client_files(tmp_path / "acme", login(tmp_path))
    assert properties(tmp_path / "acme" / JAVA_FILE) == {
        "bootstrap.servers": "kafka.example.org:9094",
        "security.protocol": "SASL_SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "ca.crt",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="acme" password="{PASSWORD}";',
    }


def test_java_finds_key_and_certificate_in_one_file(tmp_path: Path) -> None:
    write_client_files(tmp_path / "acme", certificate(tmp_path))
    said = properties(tmp_path / "acme" / JAVA_FILE)
    assert said["ssl.keystore.location"] == "acme.pem"
    assert (tmp_path / "acme" / "acme.pem").read_text() == "acme.key\nacme.crt\n"
    assert "sasl.mechanism" not in said


def test_python_is_told_in_its_own_words(tmp_path: Path) -> None:
    write_client_files(tmp_path / "acme", login(tmp_path))
    assert json.loads((tmp_path / "acme" / PYTHON_FILE).read_text()) == {
        "bootstrap_servers": "kafka.example.org:9094",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "acme",
        "sasl_plain_password": PASSWORD,
        "ssl_cafile": "ca.crt",
    }
    write_client_files(tmp_path / "acme", certificate(tmp_path))
    said = json.loads((tmp_path / "acme" / PYTHON_FILE).read_text())
    assert (said["ssl_certfile"], said["ssl_keyfile"]) == ("acme.crt", "acme.key")
    assert "sasl_mechanism" not in said


def test_a_value_that_would_end_its_quotation_is_written_nowhere(tmp_path: Path) -> None:
    given = login(tmp_path).model_copy(update={"password": SecretStr("it's")})
    with pytest.raises(ValueError, match="quotation mark") as raised:
        write_client_files(tmp_path / "acme", given)
    assert "it's" not in str(raised.value)
