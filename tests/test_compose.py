"""The compose file as it is written down: by the specification's own schema, and each container with the least it needs.
(Nothing here starts it.)"""

import hashlib
import re
from functools import cache
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipelines.settings import load_settings
from pipelines.settings_page import settings
from schemas.registry import load_partners, load_studies
from tests.command import put_together
from tests.dockerfiles import instructions
from tests.documents import ROOT

FOLDER = ROOT / "infra" / "compose"
SCHEMA = ROOT / "tests" / "vendor" / "compose-spec.json"  # of compose-go 2.16.2, Apache-2.0: compose-spec-NOTICE.txt
SCHEMA_SHA256 = "f266dcbb043229405d7cedd5aec918f9102c2b3d5e3850808fdd8edd564a43ff"
OWN = "wellspring:0.1.0"


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    return found


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"] == OWN}
every_service = pytest.mark.parametrize("name", SERVICES)
every_one_of_ours = pytest.mark.parametrize("name", OURS)


def test_it_is_what_the_specification_says() -> None:
    text = SCHEMA.read_bytes()
    assert hashlib.sha256(text).hexdigest() == SCHEMA_SHA256
    validator = Draft202012Validator(yaml.safe_load(text))
    assert [fault.message for fault in validator.iter_errors(compose())] == []
    wrong = {"services": {"driver": {"image": OWN, "read-only": True}}}
    assert list(validator.iter_errors(wrong))


@every_service
def test_each_container_may_do_the_least(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices", "userns_mode"} & set(service)
    assert "/var/run/docker.sock" not in str(service)
    assert service.get("user") == "10001:10001" or name == "kafka"  # whose image has a user of its own


@every_service
def test_each_image_is_pinned_and_each_container_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])
    health = service.get("healthcheck")
    assert health or service["command"][0] == "run"  # which has the image's own
    assert health is None or health.get("disable") or health["test"][0] == "CMD"
    assert (service.get("restart") is None) == (name in ("topics", "keys"))


@every_service
def test_nothing_is_open_but_on_this_machine(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))
    assert compose()["networks"]["inside"] == {"internal": True}
    assert "inside" in SERVICES[name]["networks"]


@every_service
def test_no_secret_is_in_a_variable(name: str) -> None:
    service = SERVICES[name]
    said = service.get("environment", {})
    assert not [key for key in said if re.search(r"PASSWORD|SECRET(?!S$)|ACCESS_KEY", key)]
    assert set(service.get("secrets", ())) <= set(compose()["secrets"])
    for secret in service.get("secrets", ()):
        assert f"/run/secrets/{secret}" in str(service)


def test_secrets_are_files_that_are_not_in_the_repository() -> None:
    files = [one["file"] for one in compose()["secrets"].values()]
    assert all(file.startswith("./secrets/") for file in files)
    assert "/infra/compose/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@every_service
def test_what_it_waits_for_is_there_and_comes_to_that(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        ends = SERVICES[other].get("restart") is None
        assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")


@every_service
def test_what_it_writes_to_is_a_volume_or_in_memory(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        assert volume["type"] == "volume" or volume["read_only"] is True
        assert volume["type"] == "bind" or volume["source"] in compose()["volumes"]


@every_one_of_ours
def test_what_ours_start_is_a_command_with_settings_that_there_are(name: str) -> None:
    service = OURS[name]
    words, command = list(service["command"]), put_together()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []
    ours = {key for key in service.get("environment", {}) if key.startswith("WELLSPRING_")}
    assert ours <= {setting.variable for setting in settings()}


@every_one_of_ours
def test_the_volumes_of_ours_belong_to_its_user_in_the_image(name: str) -> None:
    made = " ".join(one.text for one in instructions(ROOT / "infra" / "image" / "Dockerfile") if one.word == "RUN")
    for volume in OURS[name]["volumes"]:
        assert volume["type"] == "bind" or f"{volume['target']} " in made


def test_the_broker_is_of_the_version_that_the_tests_run_with() -> None:
    jars = (ROOT / "infra" / "kafka-jars.lock").read_text(encoding="utf-8")
    version = re.search(r"org\.apache\.kafka:kafka_2\.13:(\S+)", jars)
    assert version and SERVICES["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_its_settings_and_registries_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_settings(FOLDER / "config" / "wellspring.yaml")
    assert found.kafka.addresses == [("kafka", 9092)]
    partners = load_partners(found.partners)
    assert list(load_studies(found.studies)) == ["sleep"] and list(partners) == ["acme"]
    assert SERVICES["watch"]["command"][1:4] == ["s3://uploads/acme", "--partner", "acme"]
