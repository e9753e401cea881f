"""How everything stands, without a broker: each part for itself, and what cannot be read keeps no other from being told."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka import KafkaUnreachable
from connectors.source_file import StorageFailed
from pipelines import status as status_module
from pipelines.commands.status import _size
from pipelines.entries import now_us
from pipelines.settings import load_settings
from pipelines.status import status
from tests.command import execute
from tests.lakes import Driver

AWAY = "Kafka at 127.0.0.1:1 cannot be used: nothing listens there"


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, registries, a small lake, and no Kafka."""
    (tmp_path / "wellspring.yaml").write_text("{}", encoding="utf-8")
    (tmp_path / "partners.yaml").write_text("partners: [{name: acme}]\n", encoding="utf-8")
    (tmp_path / "studies.yaml").write_text("studies: [{id: sleep}]\n", encoding="utf-8")
    Driver(tmp_path / "lake").land("sleep", count=4)

    def away(*_: object) -> None:
        raise KafkaUnreachable(AWAY)

    monkeypatch.setattr(status_module, "in_kafka", away)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(folder: Path) -> dict[str, Any]:
    return status(load_settings(folder / "wellspring.yaml"), now_us())


def failing(error: Exception) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_what_is_away_is_said_and_the_rest_is_told(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["status"]) == 1
    said = capsys.readouterr().out
    assert f"not known: {AWAY}" in said and "!! kafka" in said and "entry 2 (ingest)" in said and "disk " in said
    assert execute(["status", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["kafka"] == {"bootstrap": "127.0.0.1:9092", "error": AWAY}
    assert found["problems"][0] == {
        "urgency": "now", "about": "kafka", "what": AWAY, "next": found["problems"][0]["next"],
    }  # fmt: skip


def test_a_lake_that_cannot_even_be_named_keeps_nothing_else_from_being_told(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "store_of", failing(StorageFailed("the lake's bucket: there is no profile")))
    found = told(deployment)
    for part in ("driver", "ledger", "consent", "requests"):
        assert found[part] == {"error": "the lake's bucket: there is no profile"}
    assert found["registries"] == {"partners": 1, "studies": 1} and found["disks"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/srv/vault/holds.sqlite"), "it cannot be read: Permission denied"),
        (sqlite3.OperationalError("unable to open database file"), "it cannot be read: unable to open database file"),
    ],
)
def test_a_vault_that_this_user_may_not_read_keeps_nothing_else_from_being_told(
    deployment: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    (deployment / "vault").mkdir()
    (deployment / "vault" / "vault-id").write_text("0123", encoding="ascii")
    monkeypatch.setattr(status_module, "Holds", failing(error))
    found = told(deployment)
    assert found["consent"] == {"error": words}
    assert found["ledger"]["last"]["n"] == 2 and found["requests"]["waiting"] == 0


@pytest.mark.parametrize(
    ("registry", "words", "unknown"),
    [
        ("partners", "there is no registry", {"kafka"}),
        ("studies", "there is no registry", {"consent", "quarantine"}),
        ("studies", "is not YAML", {"consent", "quarantine"}),
    ],
)
def test_a_registry_that_cannot_be_used_is_said_once_and_the_rest_is_told(
    deployment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    registry: str,
    words: str,
    unknown: set[str],
) -> None:
    monkeypatch.setattr(status_module, "in_kafka", lambda *_: {"oldest_unread": None})
    file = deployment / f"{registry}.yaml"
    file.write_text("a: [", encoding="utf-8") if "YAML" in words else file.unlink()
    assert execute(["status", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert words in found["registries"]["error"] and file.name in found["registries"]["error"]
    assert {
        part
        for part in ("ledger", "kafka", "consent", "quality", "quarantine", "alerts", "requests")
        if "error" in found[part]
    } == unknown
    assert found["ledger"]["last"]["n"] == 2 and found["disks"]["lake"]["size"] > 0
    urgent = [one["about"] for one in found["problems"] if one["urgency"] == "now"]
    assert urgent == ["registries"]


def test_both_registries_are_told_of(deployment: Path) -> None:
    for name in ("partners", "studies"):
        (deployment / f"{name}.yaml").unlink()
    assert told(deployment)["registries"]["error"].count("there is no registry") == 2


def test_a_ledger_that_is_lost_is_told_as_a_driver_would(deployment: Path) -> None:
    next((deployment / "lake" / "_control" / "ledger").glob("*1.json")).unlink()
    assert "the ledger has no entry 1" in told(deployment)["ledger"]["error"]


def test_nothing_is_made_by_looking(deployment: Path) -> None:
    before = sorted(path for path in deployment.rglob("*"))
    told(deployment)
    assert sorted(path for path in deployment.rglob("*")) == before


def test_sizes_are_in_the_unit_that_fits() -> None:
    assert [_size(n) for n in (0, 999, 1000, 2_500_000, 3e12, 5e18)] == [
        "0 bytes", "999 bytes", "1 kB", "2 MB", "3 TB", "5000 PB",
    ]  # fmt: skip
