"""Whom nobody can remove as a partner."""

from pathlib import Path
from typing import Any

import pytest

from connectors.kafka import KafkaUnreachable
from connectors.topics import TopicSpec
from pipelines import partner_removal
from pipelines.partner_removal import remove
from pipelines.partners import PartnerRefused
from pipelines.settings import Settings
from schemas.registry import load_partners


@pytest.mark.parametrize("name", ["office", "wellspring-driver", "admin"])
def test_neither_the_consent_authority_nor_the_system_is_a_partner(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partner_removal, "list_topics", lambda *_: pytest.fail("Kafka was asked"))
    with pytest.raises(PartnerRefused, match="that is no partner's name"):
        list(remove(Settings(authority="office"), name, tmp_path, with_topics=True, dry_run=False))


def test_a_partner_whose_name_the_system_s_own_begin_with_since_then_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "partners.yaml").write_text("partners: [{name: north-lab}]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(partner_removal, "list_topics", lambda *_: [])
    settings = Settings(principals="north-")
    with pytest.raises(PartnerRefused, match="that is no partner's name"):
        list(remove(settings, "north-driver", tmp_path, with_topics=False, dry_run=False))
    list(remove(settings, "north-lab", tmp_path, with_topics=False, dry_run=False))
    assert list(load_partners(tmp_path / "partners.yaml")) == []


def test_a_vault_or_lake_that_cannot_be_asked_keeps_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who removes a partner need not have the vault at hand."""
    (tmp_path / "partners.yaml").write_text("partners: [{name: acme}, {name: other}]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(partner_removal, "list_topics", lambda *_: [TopicSpec("acme.sensor-reading.v1", 1)])
    monkeypatch.setattr(partner_removal, "RangeReader", failing(KafkaUnreachable("nothing listens there")))
    monkeypatch.setattr(partner_removal, "vault_of", failing(PermissionError(13, "Permission denied")))
    steps = {step.what: step.result for step in remove(Settings(), "acme", tmp_path, with_topics=False, dry_run=False)}
    assert steps["records that no driver has read yet"] == "not known: nothing listens there"
    assert steps["readings that are held"] == "not known: it cannot be read: Permission denied"
    assert list(load_partners(tmp_path / "partners.yaml")) == ["other"]


def test_kit_events_are_the_register_s_and_not_what_a_driver_has_left_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    class Reader:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> "Reader":
            return self

        def __exit__(self, *_: object) -> None: ...
        def begin_offsets(self, topics: list[str]) -> dict[tuple[str, int], int]:
            return {}

        def end_offsets(self, topics: list[str]) -> dict[tuple[str, int], int]:
            asked.append(topics)
            return {(topic, 0): 5 for topic in topics}

    (tmp_path / "partners.yaml").write_text("partners: [{name: lab}]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    topics = [f"lab.{contract}.v1" for contract in ("kit-event", "lab-result", "rejected", "sensor-reading")]
    monkeypatch.setattr(partner_removal, "list_topics", lambda *_: [TopicSpec(topic, 1) for topic in topics])
    monkeypatch.setattr(partner_removal, "RangeReader", Reader)
    steps = [step.what for step in remove(Settings(), "lab", tmp_path, with_topics=False, dry_run=True)]
    assert asked == [["lab.lab-result.v1", "lab.sensor-reading.v1"]]
    assert "records that no driver has read yet: 10" in steps


def failing(error: Exception) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail
