"""Places: a folder or an address in a bucket, and nothing that could carry a secret."""

from pathlib import Path

import pytest

from pipelines.object_store import ObjectStore
from pipelines.places import Address, folder_of, place_of, store_of
from pipelines.settings import SettingsError, load_settings, shown
from pipelines.store import FolderStore


def written(folder: Path, text: str) -> Path:
    file = folder / "wellspring.yaml"
    file.write_text(text)
    return file


def test_a_folder_stays_relative_to_the_file_and_an_address_stays_as_it_is(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "lake: data/lake")).lake == tmp_path / "data" / "lake"
    settings = load_settings(written(tmp_path, "lake: s3://studies/wellspring/lake/"))
    assert settings.lake == Address("s3://studies/wellspring/lake") and isinstance(settings.lake, Address)
    assert shown(settings)["lake"] == "s3://studies/wellspring/lake"


def test_the_environment_names_an_address_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLSPRING_LAKE", "s3://studies")
    assert load_settings(written(tmp_path, "{}")).lake == Address("s3://studies")


@pytest.mark.parametrize(
    "said",
    [
        "s3://",
        "s3://B",
        "s3://key:secret@studies/lake",
        "s3://studies/lake?versionId=secret",
        "s3://studies//lake",
        "s3://studies/../lake",
        "s3://studies/lake/_tmp",
        "s3://studies/a lake",
        "https://secret.example/lake",
        "S3://studies",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(tmp_path: Path, said: str) -> None:
    with pytest.raises(SettingsError, match="lake: ") as refusal:
        load_settings(written(tmp_path, f"lake: '{said}'"))
    assert "secret" not in str(refusal.value) and "s3://BUCKET" in str(refusal.value)


def test_each_place_has_its_store(tmp_path: Path) -> None:
    assert isinstance(store_of(tmp_path), FolderStore) and isinstance(store_of(str(tmp_path)), FolderStore)
    assert isinstance(store_of(Address("s3://studies/lake")), ObjectStore)
    assert isinstance(store_of("s3://studies/lake"), ObjectStore)


def test_what_needs_a_folder_says_so(tmp_path: Path) -> None:
    assert folder_of(place_of(str(tmp_path))) == tmp_path
    with pytest.raises(ValueError, match="needs a folder"):
        folder_of(Address("s3://studies/lake"))
