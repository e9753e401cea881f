import pytest

from connectors.topics import Held, TopicOutcome, TopicResult, TopicSpec, _compared, wanted_topics
from schemas.registry import Partner, RegistryError

DAY_MS = 86_400_000
DAY_US = DAY_MS * 1000
ACME = Partner(name="acme", partitions=8, retention_days=9, max_message_bytes=2_000_000)
MIRROR = Partner(name="mirror", contracts=("sensor-reading", "lab-result"), received="header")


def specs() -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in wanted_topics([ACME, MIRROR], "trust", Held(DAY_US, 10 * DAY_US))}


def test_every_contract_has_a_topic_and_every_partner_one_for_what_was_rejected() -> None:
    assert list(specs()) == [
        "acme.sensor-reading.v1",
        "acme.rejected.v1",
        "mirror.sensor-reading.v1",
        "mirror.lab-result.v1",
        "mirror.rejected.v1",
        "trust.consent-event.v1",
        "trust.identity-link.v1",
    ]


def test_a_data_topic_is_as_its_partner_is_registered() -> None:
    acme = specs()["acme.sensor-reading.v1"]
    assert acme.partitions == 8
    assert acme.settings["message.timestamp.type"] == "LogAppendTime"
    assert acme.settings["retention.ms"] == str(9 * 86_400_000)
    assert acme.settings["max.message.bytes"] == "2000000"


def test_only_a_mirror_sets_its_own_times() -> None:
    stamps = {name: spec.settings["message.timestamp.type"] for name, spec in specs().items()}
    assert {name for name, stamp in stamps.items() if stamp == "CreateTime"} == {
        "mirror.sensor-reading.v1",
        "mirror.lab-result.v1",
    }


def test_rejected_pointers_are_kept_as_long_as_what_they_point_to() -> None:
    assert specs()["acme.rejected.v1"].settings["retention.ms"] == str(9 * 86_400_000)


def test_what_may_be_held_is_kept_for_a_day_more_than_that() -> None:
    lab = Partner(name="lab", contracts=("sensor-reading", "lab-result", "kit-event"))

    def kept(person_days: int, kit_days: int) -> dict[str, int]:
        specs = wanted_topics([lab], "trust", Held(person_days * DAY_US, kit_days * DAY_US))[:4]
        return {spec.name.split(".")[1]: int(spec.settings["retention.ms"]) // DAY_MS for spec in specs}

    assert kept(3, 10) == {"sensor-reading": 7, "lab-result": 11, "kit-event": 11, "rejected": 11}
    assert kept(3, 3) == {"sensor-reading": 7, "lab-result": 7, "kit-event": 7, "rejected": 7}
    assert kept(20, 10) == {"sensor-reading": 21, "lab-result": 21, "kit-event": 21, "rejected": 21}


def test_consent_is_kept_for_ever_in_one_partition_and_never_compacted() -> None:
    consent = specs()["trust.consent-event.v1"]
    assert consent.partitions == 1
    assert consent.settings["cleanup.policy"] == "delete"
    assert consent.settings["retention.ms"] == consent.settings["retention.bytes"] == "-1"
    assert consent.settings["flush.messages"] == "1"


def test_links_are_compacted_in_one_partition() -> None:
    links = specs()["trust.identity-link.v1"]
    assert links.partitions == 1
    assert links.settings["cleanup.policy"] == "compact"


def test_each_setting_that_differs_is_named() -> None:
    wanted = TopicSpec("t", 4, {"retention.ms": "1", "cleanup.policy": "delete"})
    assert _compared(wanted, TopicSpec("t", 4, {**wanted.settings, "more": "x"})) == TopicResult(
        "t", TopicOutcome.EXISTS
    )
    assert _compared(wanted, TopicSpec("t", 2, {"retention.ms": "2"})).differences == (
        "partitions is 2, not 4",
        "retention.ms is 2, not 1",
        "cleanup.policy is not told, not delete",
    )


@pytest.mark.parametrize("authority", ["acme", "admin", "wellspring-driver"])
def test_nobody_who_publishes_readings_could_publish_consent_too(authority: str) -> None:
    """A partner writes to whatever begins with its name."""
    with pytest.raises(RegistryError, match="expected another name"):
        wanted_topics([Partner(name="acme")], authority, 0)


def test_settings_that_this_user_may_not_see_are_no_difference() -> None:
    wanted = specs()["acme.sensor-reading.v1"]
    unseen = TopicSpec(wanted.name, wanted.partitions)
    found = _compared(wanted, unseen)
    assert found.outcome == TopicOutcome.UNREADABLE
    assert found.differences == ("its settings could not be read: this needs the right DESCRIBE_CONFIGS on the topic",)
    assert _compared(wanted, TopicSpec(wanted.name, 3)).outcome == TopicOutcome.DIFFERS
