"""Who may do what: the least that each needs, and nobody under another's name."""

from pathlib import Path

import pytest

from connectors.principals import (
    CONNECTOR,
    DRIVER,
    MIRROR,
    OPERATOR,
    SYSTEM,
    Right,
    partner_rights,
    principals,
    system,
    wanted_rights,
)
from connectors.principals_page import PAGE, PRINCIPALS, listing
from schemas.registry import (
    ALMIGHTY,
    Partner,
    RegistryError,
    checked_partner,
    load_partners,
    save_partners,
)

ACME = Partner(name="acme", contracts=("sensor-reading", "lab-result"))
MIRRORED = Partner(name="old-feed", contracts=("sensor-reading",), received="header")
RIGHTS = wanted_rights([ACME, MIRRORED], "office")


def may(principal: str, operation: str) -> set[str]:
    return {right.name for right in RIGHTS if (right.principal, right.operation) == (principal, operation)}


def test_a_partner_writes_under_its_name_and_reads_its_rejections() -> None:
    assert list(partner_rights(ACME)) == [
        Right("acme", "WRITE", "TOPIC", "PREFIXED", "acme."),
        Right("acme", "READ", "TOPIC", "LITERAL", "acme.rejected.v1"),
    ]


def test_a_partner_behind_our_mirror_writes_nothing_and_the_mirror_for_no_other() -> None:
    """The header that says when a record came in is believed: nobody but the mirror may write one."""
    assert may("old-feed", "WRITE") == set()
    assert may(CONNECTOR, "WRITE") == {"acme.sensor-reading.v1", "acme.lab-result.v1"}
    assert may(MIRROR, "WRITE") == {"old-feed.sensor-reading.v1"}


def test_the_driver_reads_data_and_consent_and_writes_rejections_alone() -> None:
    data = {"acme.sensor-reading.v1", "acme.lab-result.v1", "old-feed.sensor-reading.v1"}
    assert may(DRIVER, "READ") == {*data, "office.consent-event.v1", "office.identity-link.v1"}
    assert may(DRIVER, "WRITE") == {"acme.rejected.v1", "old-feed.rejected.v1"}
    assert may(DRIVER, "DESCRIBE_CONFIGS") == may(DRIVER, "READ") - {
        "office.consent-event.v1",
        "office.identity-link.v1",
    }
    operations = {right.operation for right in RIGHTS if right.principal == DRIVER}
    assert operations == {"READ", "WRITE", "DESCRIBE_CONFIGS"}


def test_nobody_but_the_authority_writes_consent_and_nobody_but_the_driver_reads_data() -> None:
    for right in RIGHTS:
        if right.operation in ("WRITE", "ALL") and right.covers("office.consent-event.v1"):
            assert right.principal == "office"
        if right.operation in ("READ", "ALL") and right.covers("acme.sensor-reading.v1"):
            assert right.principal == DRIVER
    assert not [right for right in RIGHTS if right.operation == "ALL" or right.resource == "GROUP"]


def test_an_operator_deletes_partners_topics_and_never_consent() -> None:
    assert may(OPERATOR, "DELETE") == {"acme.", "old-feed."}


def test_everybody_with_a_right_has_a_place_in_the_table() -> None:
    assert {right.principal for right in RIGHTS} <= set(principals([ACME, MIRRORED], "office"))
    assert len(RIGHTS) == len(set(RIGHTS))


@pytest.mark.parametrize(
    ("right", "topic", "covered"),
    [
        (Right("x", "READ", "TOPIC", "PREFIXED", "acme."), "acme.rejected.v1", True),
        (Right("x", "READ", "TOPIC", "PREFIXED", "acme."), "acme-eu.rejected.v1", False),
        (Right("x", "READ", "TOPIC", "LITERAL", "*"), "acme.rejected.v1", True),
        (Right("x", "READ", "TOPIC", "LITERAL", "acme."), "acme.rejected.v1", False),
        (Right("x", "READ", "GROUP", "PREFIXED", ""), "acme.rejected.v1", False),
    ],
)
def test_what_a_right_covers(right: Right, topic: str, covered: bool) -> None:
    assert right.covers(topic) is covered


@pytest.mark.parametrize("name", [*SYSTEM, *sorted(ALMIGHTY), "wellspring-anything"])
def test_nobody_else_has_the_name_of_another_principal(name: str) -> None:
    with pytest.raises(RegistryError, match="expected another name"):
        checked_partner({"name": name})
    with pytest.raises(RegistryError, match="expected another name"):
        wanted_rights([], name)


def test_the_authority_is_no_partner() -> None:
    with pytest.raises(RegistryError, match="than the consent authority's"):
        wanted_rights([ACME], "acme")


def test_the_registry_is_written_back_as_it_was_read(tmp_path: Path) -> None:
    file = tmp_path / "partners.yaml"
    assert save_partners(file, [ACME, MIRRORED]) is None
    assert list(load_partners(file).values()) == [ACME, MIRRORED]
    commented = "# who sends what\n" + file.read_text()
    file.write_text(commented)
    kept = save_partners(file, [ACME])
    assert kept is not None and kept.read_text() == commented
    assert list(load_partners(file)) == ["acme"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["partners.yaml", "partners.yaml.before"]


def test_the_page_is_in_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert PRINCIPALS.in_page(page) == page, "run python -m connectors.principals_page --write"
    stale = tmp_path / "page.md"
    stale.write_text(page.replace("READ on topic", "READ on topics", 1), encoding="utf-8")
    assert PRINCIPALS.main(["--page", str(stale), "--check"]) == 1
    assert "--write" in capsys.readouterr().err


def test_the_page_says_of_each_principal_what_it_may() -> None:
    said = listing()
    assert all(f"`{name}`" in said for name in (*SYSTEM, "<authority>", "<partner>"))
    assert "WRITE on topics `<partner>.*`; READ on topic `<partner>.rejected.v1`" in said


def test_another_installation_on_the_cluster_has_principals_of_its_own() -> None:
    rights = wanted_rights([ACME], "office", "north-")
    assert {right.principal for right in rights} == {
        *("north-driver", "north-connector", "north-operator", "office", "acme"),
    }
    renamed = {(right.principal.replace("north-", "wellspring-"), right.words) for right in rights}
    assert renamed == {(right.principal, right.words) for right in wanted_rights([ACME], "office")}
    assert principals([ACME], "office", "north-")[:4] == list(system("north-"))
    with pytest.raises(RegistryError, match="partner north-lab: expected another name: the system's own begin so"):
        wanted_rights([Partner(name="north-lab")], "office", "north-")
    with pytest.raises(RegistryError, match="authority: expected another name"):
        wanted_rights([ACME], "north-office", "north-")
