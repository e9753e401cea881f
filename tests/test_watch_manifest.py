"""What says whose a dropped file is: manifests that can be used, those that cannot, and patterns of names."""

import json
from typing import Any

import pytest

from connectors.watch_manifest import MOST_BYTES, FileFault, NamePattern, parse_manifest
from tests.canaries import MARK

FORMATS = ["apple-health", "hl7v2"]
FIELDS = {"partner": "acme", "subject": "p-17", "format": "apple-health"}


def test_yaml_and_json_say_the_same() -> None:
    in_yaml = b"partner: acme\nsubject: p-17\nformat: apple-health\nsize: 12\nlaboratory: north\n"
    in_json = json.dumps({**FIELDS, "size": 12, "laboratory": "north"}, indent="\t").encode()
    assert parse_manifest(in_yaml, "x.manifest.yaml") == parse_manifest(in_json, "x.manifest.json")


def test_a_hash_may_be_written_in_either_case() -> None:
    content = json.dumps({**FIELDS, "sha256": "AB" * 32}).encode()
    assert parse_manifest(content, "x.manifest.json").sha256 == "ab" * 32


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"partner": None}, "partner: "),
        ({"partner": f"{MARK} & sons"}, "partner: "),
        ({"subject": ""}, "subject: "),
        ({"subject": 17}, "subject: "),
        ({"size": -1}, "size: "),
        ({"size": "12"}, "size: "),
        ({"sha256": MARK}, "sha256: "),
        ({"laboratory": ""}, "laboratory: "),
        ({"subjekt": MARK}, "subjekt: Extra"),
        ({"format": None}, "format: "),
    ],
)
def test_a_field_that_cannot_be_used_is_told_without_its_value(fields: dict[str, Any], words: str) -> None:
    given = {key: value for key, value in {**FIELDS, **fields}.items() if value is not None}
    with pytest.raises(FileFault) as fault:
        parse_manifest(json.dumps(given).encode(), "x.manifest.json")
    assert str(fault.value).startswith(f"its manifest: {words}")
    assert MARK not in str(fault.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a mapping"),
        (b"- acme", "is not a mapping"),
        (b"1: acme", "is not a mapping"),
        (b"partner: [acme", "is not YAML at line"),
        (b"partner: \xff\xfe", "is not YAML"),
        (b"partner: 2021-99-99", "is not YAML"),
        (b"[" * 30_000, "is not YAML"),
        (b"#" * (MOST_BYTES + 1), "is larger than"),
    ],
)
def test_what_is_no_manifest_is_told(content: bytes, words: str) -> None:
    with pytest.raises(FileFault, match=f"its manifest {words}"):
        parse_manifest(content, "x.manifest.yaml")


@pytest.mark.parametrize("content", [b"{", b"[" * 30_000, b"\xff"])
def test_what_is_no_json_is_told(content: bytes) -> None:
    with pytest.raises(FileFault, match="its manifest is not JSON"):
        parse_manifest(content, "x.manifest.json")


def test_the_only_partner_need_not_be_named_and_no_other_may() -> None:
    assert parse_manifest(b"{format: hl7v2}", "x.manifest.yaml", "acme").partner == "acme"
    with pytest.raises(FileFault, match="partner: must be the one whose files are taken here"):
        parse_manifest(b"{format: hl7v2, partner: other}", "x.manifest.yaml", "acme")


@pytest.mark.parametrize(
    ("pattern", "name", "said"),
    [
        ("{partner}_{subject}_{format}_*", "acme_p-17_apple-health_export.zip", ("acme", "p-17", "apple-health")),
        ("{partner}_{subject}_{format}_*", "acme_p_17_apple-health_export.zip", ("acme", "p_17", "apple-health")),
        ("{partner}_{subject}_{format}_*", "acme_p-17_hl7v2_", ("acme", "p-17", "hl7v2")),
        ("{format}-{partner}.*", "hl7v2-north-lab.hl7", ("north-lab", None, "hl7v2")),
        ("({format})[{partner}]*", "(hl7v2)[acme]x", ("acme", None, "hl7v2")),
        ("{partner}_{subject}_{format}_*", "acme_p-17_fitbit_export.zip", None),
        ("{partner}_{subject}_{format}_*", "acme_apple-health_export.zip", None),
        ("{partner}_{subject}_{format}_*", "ACME_p-17_apple-health_export.zip", None),
        ("{partner}.{format}", "acme.hl7v2.bak", None),
        ("{partner}.{format}", "acmexhl7v2", None),
    ],
)
def test_a_name_says_what_its_pattern_holds(pattern: str, name: str, said: tuple[str, ...] | None) -> None:
    found = NamePattern(pattern, FORMATS).manifest(name)
    assert (found and (found.partner, found.subject, found.format)) == said


def test_a_name_of_another_partner_than_the_only_one_is_none() -> None:
    assert NamePattern("{partner}_{format}", FORMATS, "acme").manifest("other_hl7v2") is None
    found = NamePattern("{format}_*", FORMATS, "acme").manifest("hl7v2_x")
    assert found and found.partner == "acme"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{partner}_{subject}", "does not say {format}"),
        ("{format}", "does not say {partner}"),
        ("*", r"does not say {format} and {partner}"),
        ("{partner}_{format}_{date}", "{date} is none of {partner}, {subject}, {laboratory}, {format}"),
        ("{partner}_{format}_{partner}", "twice"),
    ],
)
def test_a_pattern_that_cannot_say_enough_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NamePattern(pattern, FORMATS)
