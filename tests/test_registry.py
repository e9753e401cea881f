"""The registries: what an operator may write, and refusals that name the entry and the field but no value."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.registry import Partner, RegistryError, Study, load_partners, load_studies, micros, save_studies

VALUE = "q9-what-was-written"


def written(folder: Path, text: str) -> Path:
    path = folder / "registry.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_partner_needs_a_name_and_has_usable_defaults(tmp_path: Path) -> None:
    found = load_partners(written(tmp_path, "partners:\n- name: acme\n- {name: beat, partitions: 8}\n"))
    assert list(found) == ["acme", "beat"] and found["beat"].partitions == 8
    assert found["acme"] == Partner(name="acme", contracts=("sensor-reading",), partitions=4, retention_days=7)
    assert found["acme"].topic("sensor-reading") == "acme.sensor-reading.v1"
    assert found["acme"].live_devices and found["acme"].received == "broker" and found["acme"].assumed_zone is None


def test_an_empty_registry_is_one(tmp_path: Path) -> None:
    assert load_partners(written(tmp_path, "")) == {} and load_studies(written(tmp_path, "studies: []")) == {}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"partners: [{{name: '{VALUE.upper()}'}}]", "partners.0.name"),
        ("partners: [{name: ../up}]", "partners.0.name"),
        ("partners: [{name: a.b}]", "partners.0.name"),
        (
            "partners: [{name: acme}, {name: kit}]",
            "partners.1.name: Value error, expected another name: kit stands for",
        ),
        ("partners: [{name: acme}, {name: beat, partitions: 0}]", "partners.1.partitions"),
        ("partners: [{name: acme, retention_days: 3}]", "partners.0.retention_days"),
        (f"partners: [{{name: acme, received: {VALUE}}}]", "partners.0.received"),
        (f"partners: [{{name: acme, {VALUE}s: 1}}]", f"partners.0.{VALUE}s"),
        ("partners: [{name: acme, max_message_bytes: 99999999}]", "partners.0.max_message_bytes"),
        (f"partners: {VALUE}", "partners"),
        ("partners: [{name: acme}, {name: acme}]", "acme is registered twice"),
        (f"partners: [{{name: acme, assumed_zone: {VALUE}}}]", "partners.0.assumed_zone"),
        ("partners: [", "is not YAML at line"),
        (VALUE, "registry"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(RegistryError) as raised:
        load_partners(written(tmp_path, text))
    assert where in str(raised.value)
    assert VALUE not in repr(raised.value).lower().replace(where, "")


def test_a_missing_registry_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="there is no registry .*wellspring demo"):
        load_studies(tmp_path / "none.yaml")


def test_a_study_ends_after_it_begins(tmp_path: Path) -> None:
    times = "active_from: 2026-01-01T00:00:00Z, active_until: 2025-01-01T00:00:00Z"
    with pytest.raises(RegistryError, match=r"studies\.0: .*later than active_from"):
        load_studies(written(tmp_path, f"studies: [{{id: sleep, {times}}}]"))
    with pytest.raises(RegistryError, match=r"studies\.0\.active_from"):
        load_studies(written(tmp_path, "studies: [{id: sleep, active_from: 2026-01-01T00:00:00}]"))


def test_studies_are_written_back_as_they_were(tmp_path: Path) -> None:
    studies = {
        "sleep": Study(id="sleep", title="Schlaf & Träume: 1", basis_after_withdrawal="anonymised_only"),
        "cycle": Study(id="cycle", active_from=datetime(2026, 1, 1, tzinfo=UTC)),
    }
    path = tmp_path / "studies.yaml"
    save_studies(path, studies)
    assert load_studies(path) == studies and list(load_studies(path)) == ["cycle", "sleep"]


@pytest.mark.parametrize(
    ("basis", "keeps"), [("none", False), ("public_interest_research", True), ("anonymised_only", True)]
)
def test_only_a_basis_lets_a_study_keep(basis: str, keeps: bool) -> None:
    assert Study.model_validate({"id": "sleep", "basis_after_withdrawal": basis}).keeps_after_withdrawal is keeps


def test_moments_are_microseconds_to_the_last_digit() -> None:
    assert micros(datetime(2026, 3, 14, 12, 0, 0, 123457, tzinfo=UTC), 0) == 1_773_489_600_123_457
    assert micros(None, -1) == -1
