"""Partners who come, are checked, and go: what each may do with its own files, and what it may not."""

import io
import json
import os
import shutil
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.client_files import JAVA_FILE, PYTHON_FILE, SETTINGS_FILE, read_client_files
from connectors.granting import everything_of, grant
from connectors.kafka import KafkaRefused, KafkaSettings, KafkaUnreachable, consumer, producer
from connectors.kafka_python import TopicPartition
from connectors.principals import DRIVER, SYSTEM, Right
from connectors.publisher import Publisher
from connectors.quotas import Quota, quota_of
from connectors.ranges import DataMissing, OffsetRange, read_range
from connectors.topics import TopicSpec, create_topics, list_topics
from connectors.users import new_password, set_password, user_exists
from infra.broker_start import prepare
from infra.certificates import key_pem, private_key, request_for
from infra.kafka_jars import quiet
from schemas.consent_events import IdentityLink
from schemas.contracts import decode
from schemas.registry import load_partners
from tests.canaries import member, subject
from tests.secured import SecuredBroker, why_not_published, world_on
from tests.worlds import ROOT, Ended, World, make_world, once, outcomes

CONTRACTS = ("sensor-reading", "lab-result")
NOT_THE_TOPIC = "this user may not do that with the topic"


@pytest.fixture
def office(secured: SecuredBroker, tmp_path: Path) -> World:
    """An operator's deployment on the secured broker: one partner is there already, with topics and no way in."""
    return world_on(secured, tmp_path / "office")


@pytest.fixture
def name(office: World) -> str:
    """A partner that nobody has heard of."""
    return f"acme-{office.partner[1:9]}"


def partners(office: World, *words: str, code: int = 0) -> Ended:
    done = office.execute("partners", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def rows(done: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def add(office: World, name: str, *options: str) -> list[dict[str, Any]]:
    """Make the partner; what the command says of each thing."""
    words = ("--contracts", ",".join(CONTRACTS), "--partitions", "1", "--json")
    return rows(partners(office, "add", name, *words, *options))


def own(office: World, name: str) -> KafkaSettings:
    """How the partner comes in, by its own files."""
    return read_client_files(office.folder / "credentials" / name)


def as_partner(office: World, name: str) -> World:
    """The deployment as this partner sees it: its name, its way in."""
    return replace(office, partner=name, settings=office.settings.model_copy(update={"kafka": own(office, name)}))


def ends(office: World, *topics: str) -> list[int]:
    """How far each topic's first partition has come."""
    with closing(consumer(office.settings.kafka)) as client:
        found = client.end_offsets([TopicPartition(topic, 0) for topic in topics])
    return [found[TopicPartition(topic, 0)] for topic in topics]


def topics(office: World, name: str) -> list[str]:
    return [spec.name for spec in list_topics(office.settings.kafka) if spec.name.startswith(f"{name}.")]


# -- coming


def test_a_dry_run_changes_nothing_and_says_all_that_the_run_does(office: World, name: str) -> None:
    registry = office.settings.partners.read_text()
    would = add(office, name, "--quota-mb-s", "2", "--dry-run")
    assert office.settings.partners.read_text() == registry
    assert topics(office, name) == []
    assert not (office.folder / "credentials").exists()
    assert not user_exists(office.settings.kafka, name)
    assert everything_of(office.settings.kafka, name) == []
    did = add(office, name, "--quota-mb-s", "2")
    assert [row["what"] for row in would] == [row["what"] for row in did]
    assert {row["result"] for row in would} == {"would be made", "would be granted", "would be changed"}
    assert {row["result"] for row in did} == {"made", "granted", "changed"}
    assert {row["result"] for row in add(office, name, "--quota-mb-s", "2")} == {"there"}


def test_what_was_begun_and_not_ended_is_gone_on_with(
    office: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.credentials.set_password", _killed)
        with pytest.raises(Killed):
            office.execute("partners", "add", name, "--contracts", "sensor-reading")
    with pytest.raises(KafkaUnreachable, match="wrong user name or password"):
        consumer(own(office, name))
    partners(office, "add", name, "--contracts", "sensor-reading")
    consumer(own(office, name)).close()


class Killed(BaseException):
    """A kill: nothing catches it."""


def _killed(*_: object) -> None:
    raise Killed


def test_what_it_is_given_is_its_own_alone_and_works_where_it_is_carried(office: World, name: str) -> None:
    add(office, name)
    folder = office.folder / "credentials" / name
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in folder.iterdir()} == {
        *(SETTINGS_FILE, JAVA_FILE, PYTHON_FILE, "kafka.env", "ca.crt", "partners.yaml"),
    }
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    away = folder.rename(office.folder / "away")
    assert list(load_partners(away / "partners.yaml")) == [name]
    theirs = replace(office, config=away / SETTINGS_FILE)
    assert "NO" not in {row["right"] for row in rows(partners(theirs, "check", name, "--json"))}
    day = office.folder / "day.ndjson"
    moment = "2025-06-30T08:15:00+02:00"
    day.write_text(
        json.dumps({"metric": "heart_rate", "unit": "/min", "source": "watch", "time": moment, "value": 61}) + "\n"
    )
    done = theirs.execute("connect", "sensor-json", str(day), "--partner", name, "--subject", subject("ann"))
    assert done.returncode == 0, done.stderr
    assert ends(office, f"{name}.sensor-reading.v1") == [1]


def test_another_contract_and_another_password(office: World, name: str) -> None:
    partners(office, "add", name, "--contracts", "sensor-reading", "--partitions", "1")
    before = own(office, name)
    both = ("--contracts", "sensor-reading,app-export", "--new-password", "--json")
    result = {row["what"].split(",")[0]: row["result"] for row in rows(partners(office, "add", name, *both))}
    assert result["entry in partners.yaml"] == result["login"] == "changed"
    assert result[f"topic {name}.app-export.v1"] == "made"
    assert result[f"topic {name}.sensor-reading.v1"] == "there"
    with pytest.raises(KafkaUnreachable, match="wrong user name or password"):
        consumer(before)
    consumer(own(office, name)).close()
    differs = partners(office, "add", name, "--contracts", "sensor-reading,app-export,lab-result", code=1)
    assert f"topic {name}.rejected.v1 differs: retention.ms is" in differs.stderr
    assert f"{name}.lab-result.v1" in topics(office, name)
    refused = partners(office, "add", name, "--contracts", "sensor-reading", code=1)
    assert "contracts: one that the partner has is missing" in refused.stderr
    assert "partitions: another number" in partners(office, "add", name, "--partitions", "9", code=1).stderr
    assert "contracts: expected some of" in partners(office, "add", name, "--contracts", "rejected", code=1).stderr


@pytest.mark.parametrize("taken", ["admin", "broker", *SYSTEM, "wellspring-new", "kit"])
def test_nobody_gets_the_name_of_another_principal(office: World, taken: str) -> None:
    for way in ("scram", "certificate"):
        refused = partners(office, "add", taken, "--auth", way, code=1)
        assert "expected another name" in refused.stderr
    assert list(load_partners(office.settings.partners)) == [office.partner]


def test_nor_that_of_the_authority_or_of_somebody_whom_the_cluster_knows(office: World, name: str) -> None:
    authority = office.settings.authority
    refused = partners(office, "add", authority, code=1)
    assert "than the consent authority's" in refused.stderr
    set_password(office.settings.kafka, f"{name}-a", new_password())
    other = Right(f"{name}-b", "READ", "TOPIC", "LITERAL", office.topic)
    grant(office.settings.kafka, [other], [])
    for known in (f"{name}-a", f"{name}-b"):
        refused = partners(office, "add", known, "--contracts", "sensor-reading", code=1)
        assert f"the cluster knows a user {known} who is not in" in refused.stderr
    assert list(load_partners(office.settings.partners)) == [office.partner]


def test_on_an_open_broker_a_partner_has_an_entry_and_topics(tmp_path: Path, broker: Any) -> None:
    office = make_world(tmp_path / "world", broker.bootstrap)
    name = f"acme-{office.partner[1:9]}"
    assert "the cluster asks nobody for rights" in partners(office, "add", name, code=1).stderr
    assert {row["result"] for row in add(office, name, "--auth", "none")} == {"made"}
    assert "stays" in partners(office, "remove", name).stdout
    assert list(load_partners(office.settings.partners)) == [office.partner]


# -- what it may


def test_check_finds_every_right_as_it_should_be_and_leaves_nothing_behind(office: World, name: str) -> None:
    add(office, name)
    found = rows(partners(office, "check", name, "--json"))
    assert {row["right"] for row in found} == {"yes"}
    tried = {row["tried"]: row for row in found}
    for contract in CONTRACTS:
        assert tried[f"publish to {name}.{contract}.v1"]["found"] == "allowed"
        assert tried[f"read {name}.{contract}.v1"]["found"] == "refused"
    assert tried[f"read {name}.rejected.v1"]["found"] == "allowed"
    foreign = [office.topic, f"{office.partner}.rejected.v1", office.settings.consent_topic, office.settings.link_topic]
    for topic in foreign:
        assert tried[f"publish to {topic}"]["said"] == tried[f"read {topic}"]["said"] == NOT_THE_TOPIC
    assert [row["said"] for row in found if "the group" in row["tried"]] == 2 * [
        "this user may not do that with the group"
    ]
    assert any("make the topic" in row["tried"] and row["said"] == NOT_THE_TOPIC for row in found)
    assert ends(office, *topics(office, name), *foreign) == [0] * (len(CONTRACTS) + 1 + len(foreign))
    assert topics(office, name) == [
        f"{name}.{contract}.v1" for contract in ("lab-result", "rejected", "sensor-reading")
    ]


@pytest.mark.parametrize(
    ("operation", "resource", "pattern", "where", "told"),
    [
        ("READ", "TOPIC", "PREFIXED", "{name}.", "read {name}.sensor-reading.v1"),
        ("WRITE", "TOPIC", "LITERAL", "{other}", "publish to {other}"),
        ("READ", "TOPIC", "LITERAL", "*", "read {other}"),
        ("WRITE", "TOPIC", "PREFIXED", "a", "publish to {consent}"),
        ("CREATE", "TOPIC", "PREFIXED", "{name}.", "make the topic {name}."),
        ("DELETE", "TOPIC", "PREFIXED", "{name}.", "change or delete its own topics"),
        ("READ", "GROUP", "PREFIXED", "{name}", "use the group {name}"),
        ("WRITE", "TRANSACTIONAL_ID", "LITERAL", "*", "publish in a transaction"),
        ("DESCRIBE", "CLUSTER", "LITERAL", "kafka-cluster", "do anything with the cluster"),
        ("DESCRIBE", "TOPIC", "LITERAL", "{other}", "see topics that are not its own"),
    ],
)
def test_check_finds_what_is_too_much(
    office: World, name: str, operation: str, resource: str, pattern: str, where: str, told: str
) -> None:
    add(office, name)
    names = {"name": name, "other": office.topic, "consent": office.settings.consent_topic}
    grant(office.settings.kafka, [Right(name, operation, resource, pattern, where.format(**names))], [])
    found = partners(office, "check", name, "--json", code=1)
    wrong = [row for row in rows(found) if row["right"] == "NO"]
    assert any(row["tried"].startswith(told.format(**names)) and row["found"] == "allowed" for row in wrong), wrong
    assert ends(office, office.topic, office.settings.consent_topic) == [0, 0]
    assert {row["result"] for row in add(office, name)} == {"there", "revoked"}
    partners(office, "check", name)


def test_what_everybody_may_is_found_and_not_touched_by_adding_a_partner(office: World, name: str) -> None:
    """It may be meant for others; `kafka grant --revoke` takes it away."""
    add(office, name)
    everybody = Right("*", "READ", "TOPIC", "LITERAL", f"{name}.sensor-reading.v1")
    grant(office.settings.kafka, [everybody], [])
    assert {row["result"] for row in add(office, name)} == {"there"}
    wrong = [row["tried"] for row in rows(partners(office, "check", name, "--json", code=1)) if row["right"] == "NO"]
    assert wrong == [f"read {name}.sensor-reading.v1"]
    assert office.execute("kafka", "grant", "--revoke").returncode == 0
    partners(office, "check", name)


def test_check_finds_what_is_missing(office: World, name: str) -> None:
    add(office, name)
    grant(office.settings.kafka, [], [name], revoke=True)
    found = rows(partners(office, "check", name, "--json", code=1))
    wrong = {row["tried"] for row in found if row["right"] == "NO"}
    assert wrong >= {f"publish to {name}.sensor-reading.v1", f"read {name}.rejected.v1"}


def test_what_a_partner_tries_is_refused_in_words(office: World, name: str) -> None:
    """With clients, as somebody would who means it."""
    add(office, name)
    acme = own(office, name)
    assert why_not_published(acme, f"{name}.sensor-reading.v1") == ""
    for topic in (office.topic, office.settings.consent_topic, office.settings.link_topic):
        assert why_not_published(acme, topic) in (f"{topic}: {NOT_THE_TOPIC}", NOT_THE_TOPIC)
    with pytest.raises(KafkaRefused, match="may not"):
        list(read_range(acme, OffsetRange(f"{name}.sensor-reading.v1", 0, 0, 1)))
    with pytest.raises(DataMissing, match="or this user may not read it"):
        list(read_range(acme, OffsetRange(office.topic, 0, 0, 1)))
    with pytest.raises(KafkaRefused, match=NOT_THE_TOPIC):
        create_topics(acme, [TopicSpec(f"{name}.new.v1", 1)])
    with pytest.raises(KafkaRefused, match="rights: this user may not do that on the cluster"):
        grant(acme, [Right(name, "READ", "TOPIC", "LITERAL", office.topic)], [name])


def test_check_finds_a_quota_that_the_registry_has_and_the_cluster_has_not(office: World, name: str) -> None:
    add(office, name, "--quota-mb-s", "2")
    partners(office, "check", name)
    entries = yaml.safe_load(office.settings.partners.read_text())
    entries["partners"][-1]["quota_mb_s"] = 5
    office.settings.partners.write_text(yaml.safe_dump(entries))
    found = rows(partners(office, "check", name, "--json", code=1))
    assert [(row["tried"], row["wanted"], row["found"]) for row in found if row["right"] == "NO"] == [
        ("quota", "5 MB/s", "2 MB/s"),
    ]
    assert office.execute("kafka", "grant", "--revoke").returncode == 0
    partners(office, "check", name)


def test_a_partner_behind_our_mirror_writes_nothing_itself(office: World, name: str) -> None:
    add(office, name)
    entries = yaml.safe_load(office.settings.partners.read_text())
    entries["partners"][-1]["received"] = "header"
    office.settings.partners.write_text(yaml.safe_dump(entries))
    done = office.execute("kafka", "grant", "--revoke")
    assert done.returncode == 0, done.stderr
    assert why_not_published(own(office, name), f"{name}.sensor-reading.v1")
    partners(office, "check", name)


@pytest.mark.timeout(300)
def test_what_it_claims_to_be_has_no_effect(office: World, name: str) -> None:
    """The topic says who sent a message: neither headers nor the body, with another's subject, can."""
    add(office, name)
    office.consent(office.link("ann"), office.grant("ann", "sleep"), office.grant("bob", "sleep"))
    acme = as_partner(office, name)
    office.consent(
        IdentityLink.model_validate(
            {"link_id": f"{name}-bob", "partner": name, "subject": subject("bob"), "member": member("bob")}
        )
    )
    claims = [(key, office.partner.encode()) for key in ("partner", "sender", "principal")]
    with Publisher(acme.settings.kafka, acme.topic) as publisher:
        for person, numbers in (("ann", range(10)), ("bob", range(100, 110))):
            publisher.send(*office.reading(person, numbers, source={"name": office.partner}), claims)
    assert publisher.receipt.acknowledged == 2
    entries = office.work()
    assert {row["partner"] for row in office.rows("sleep", "partner")} == {name}
    assert office.landed("sleep") == once(range(100, 110))  # ann's subject at the other partner is nobody here
    assert outcomes(entries, "sleep") == {"considered": 10, "landed": 10}
    office.assert_sound()


@pytest.mark.timeout(300)
def test_it_reads_its_own_rejections_and_nobody_elses(office: World, name: str) -> None:
    add(office, name)
    add(office, f"{name}-2")
    done = office.execute("kafka", "grant", "--revoke", "--new-passwords", "--users", str(office.folder / "users"))
    assert done.returncode == 0, done.stderr
    with Publisher(own(office, name), f"{name}.sensor-reading.v1") as publisher:
        publisher.send(b"key", b"no message")
    driver = read_client_files(office.folder / "users" / DRIVER)
    replace(office, settings=office.settings.model_copy(update={"kafka": driver})).work()
    rejected = OffsetRange(f"{name}.rejected.v1", 0, 0, 1)
    blocks = list(read_range(own(office, name), rejected))
    told = [decode(value, "rejected") for block in blocks for value in block.column("value").to_pylist()]
    assert [(row["topic"], row["offset"]) for row in told] == [(f"{name}.sensor-reading.v1", 0)]
    with pytest.raises(DataMissing):
        list(read_range(own(office, f"{name}-2"), rejected))


@pytest.mark.timeout(300)
def test_who_sends_more_than_its_quota_is_slowed_down_and_loses_nothing(office: World, name: str) -> None:
    add(office, name)
    add(office, f"{name}-slow", "--quota-mb-s", "0.15", "--quota-percent", "200")
    assert quota_of(office.settings.kafka, f"{name}-slow") == Quota(0.15, 200.0)
    free, slow = (_throttle(own(office, who), f"{who}.sensor-reading.v1") for who in (name, f"{name}-slow"))
    assert free == 0
    assert slow > 500
    assert ends(office, f"{name}-slow.sensor-reading.v1") == [32]
    again = {row["what"]: row["result"] for row in add(office, f"{name}-slow", "--quota-mb-s", "1")}
    assert again["quota: 1 MB/s, 200 % of a thread"] == "changed"


def _throttle(settings: KafkaSettings, topic: str) -> float:
    """The longest that the broker let the producer wait, in milliseconds, over 2 MB that cannot be compressed."""
    client = producer(settings, metrics_enabled=True, batch_size=128 * 1024)
    try:
        sent = [client.send(topic, os.urandom(64 * 1024)) for _ in range(32)]
        for one in sent:
            one.get(timeout=120)
        measured = client.metrics()
    finally:
        client.close(timeout=5)
    return max(group["throttle-time-max"] for group in measured.values() if "throttle-time-max" in group)


# -- certificates


def test_a_partner_comes_in_by_a_certificate(office: World, secured: SecuredBroker, name: str) -> None:
    own_broker(office, secured)
    add(office, name, "--auth", "certificate")
    settings = own(office, name)
    assert (settings.security, settings.username) == ("SSL", None)
    assert why_not_published(settings, f"{name}.sensor-reading.v1") == ""
    partners(office, "check", name)
    assert {row["result"] for row in add(office, name, "--auth", "certificate")} == {"there"}
    assert not user_exists(office.settings.kafka, name)


def own_broker(office: World, secured: SecuredBroker) -> None:
    """The secured broker is the one that the deployment's settings call its own."""
    content = yaml.safe_load(office.config.read_text())
    office.config.write_text(yaml.safe_dump({**content, "broker_folder": str(secured.kafka.folder.path)}))


def test_a_partner_keeps_its_key_to_itself(office: World, secured: SecuredBroker, name: str) -> None:
    own_broker(office, secured)
    key = private_key()
    request = office.folder / "their.csr"
    request.write_bytes(request_for("admin", key))
    add(office, name, "--auth", "certificate", "--request", str(request))
    folder = office.folder / "credentials" / name
    assert {file.name for file in folder.iterdir()} == {f"{name}.crt", "ca.crt", "partners.yaml"}
    (office.folder / "their.key").write_bytes(key_pem(key))
    settings = KafkaSettings(
        bootstrap=f"127.0.0.1:{secured.address.port + 1}",
        security="SSL",
        ca_file=folder / "ca.crt",
        cert_file=folder / f"{name}.crt",
        key_file=office.folder / "their.key",
    )
    assert why_not_published(settings, f"{name}.sensor-reading.v1") == ""
    assert why_not_published(settings, office.settings.consent_topic)  # it asked to be the administrator
    request.write_text("no request")
    refused = partners(office, "add", name, "--auth", "certificate", "--request", str(request), code=1)
    assert "not a certificate request in PEM" in refused.stderr


def test_another_clusters_authority_is_asked(office: World, name: str) -> None:
    result = {row["what"].split(",")[0]: row["result"] for row in add(office, name, "--auth", "certificate")}
    assert result["certificate"] == "waits to be signed"
    folder = office.folder / "credentials" / name
    assert {file.name for file in folder.iterdir()} == {f"{name}.csr", f"{name}.key", "partners.yaml"}


@pytest.mark.parametrize("way", ["scram", "certificate"])
def test_javas_own_client_comes_in_by_the_same_folder(
    office: World, secured: SecuredBroker, name: str, way: str
) -> None:
    if shutil.which("javac") is None:
        pytest.skip("a client's source needs a JDK")
    own_broker(office, secured)
    add(office, name, "--auth", way)
    jars = os.pathsep.join(map(str, prepare(quiet).jars))
    program = [str(shutil.which("java")), "-cp", jars, str(ROOT / "tests" / "PartnerClient.java")]
    said = subprocess.run(
        [*program, f"{name}.sensor-reading.v1", office.topic, f"{name}.rejected.v1"],
        cwd=office.folder / "credentials" / name,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line for line in said.stdout.splitlines() if "ERROR" not in line] == [
        *("published", "TopicAuthorizationException", "0 rejected"),
    ]


# -- going


@pytest.fixture
def going(office: World, name: str) -> World:
    """The office with a partner of which something has landed and something is held."""
    add(office, name)
    acme = as_partner(office, name)
    office.consent(acme.link("ann"), office.grant("ann", "sleep"))
    acme.publish(acme.reading("ann", range(10)), acme.reading("bob", range(20, 25)))
    office.work()
    assert office.landed("sleep") == once(range(10))
    return office


@pytest.mark.timeout(300)
def test_who_is_removed_is_out_at_once_and_what_was_read_stays(going: World, name: str) -> None:
    acme = own(going, name)
    theirs = as_partner(going, name)
    would = rows(partners(going, "remove", name, "--json", "--dry-run"))
    assert not [row for row in would if row["what"].startswith("records that no driver")]
    theirs.publish(theirs.reading("ann", range(90, 95)), theirs.reading("ann", range(95, 99)))
    would = rows(partners(going, "remove", name, "--json", "--dry-run"))
    result = {row["what"]: row["result"] for row in would}
    assert result["readings that are held: 5 (H_NO_CONSENT)"] == "would expire when a driver next starts"
    assert result["records that no driver has read yet: 2"] == "stay unread: let a driver read them first"
    partners(going, "check", name)
    with Publisher(acme, f"{name}.sensor-reading.v1", patience_s=10) as publisher:
        did = rows(partners(going, "remove", name, "--json"))
        publisher.send(b"key", b"value")
    assert publisher.receipt.reasons == {NOT_THE_TOPIC: 1}
    assert [row["what"] for row in would] == [row["what"] for row in did]
    with pytest.raises(KafkaUnreachable, match="wrong user name or password"):
        consumer(acme)
    assert everything_of(going.settings.kafka, name) == []
    assert name not in load_partners(going.settings.partners)
    assert len(topics(going, name)) == 3

    entries = going.work()
    assert [dict(entry.holds or {})["expired"] for entry in entries if entry.holds] == [5]
    assert going.landed("sleep") == once(range(10))
    office_link = IdentityLink.model_validate(
        {"link_id": "late", "partner": name, "subject": subject("bob"), "member": member("bob")}
    )
    going.consent(office_link, going.grant("bob", "sleep"), going.link("cat"), going.grant("cat", "sleep"))
    going.publish(going.reading("cat", range(50, 60)))
    going.work()
    assert going.landed("sleep") == once([*range(10), *range(50, 60)])
    going.assert_sound()
    assert "no partner of that name" in partners(going, "check", name, code=1).stderr


@pytest.mark.timeout(300)
def test_topics_go_when_it_is_said_twice_and_the_driver_goes_on(going: World, name: str) -> None:
    refused = partners(going, "remove", name, "--delete-topics", code=1)
    assert "say it with --yes" in refused.stderr
    assert name in load_partners(going.settings.partners)
    with going.driver():
        refused = partners(going, "remove", name, "--delete-topics", "--yes", code=1)
        assert "a driver is at work" in refused.stderr
        assert name not in load_partners(going.settings.partners)
        assert len(topics(going, name)) == 3
    partners(going, "remove", name, "--delete-topics", "--yes")
    deadline = time.monotonic() + 30
    while topics(going, name) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert topics(going, name) == []
    going.work()
    going.work()
    assert going.landed("sleep") == once(range(10))
    going.assert_sound()
    assert "no partner of that name is registered" in partners(going, "remove", name, code=1).stderr


def test_who_comes_back_gets_a_new_login_and_goes_on_where_it_was(going: World, name: str) -> None:
    before = own(going, name)
    partners(going, "remove", name)
    going.work()
    assert {row["result"] for row in add(going, name) if row["what"].startswith("login")} == {"made"}
    with pytest.raises(KafkaUnreachable, match="wrong user name or password"):
        consumer(before)
    acme = as_partner(going, name)
    acme.publish(acme.reading("ann", range(5, 15)))
    going.work()
    assert going.landed("sleep") == once(range(15))
    going.assert_sound()


def test_what_a_removed_partner_was_to_be_told_is_told_nobody(going: World, name: str) -> None:
    """An entry that was not settled when the driver ended, and whose partner is gone, stops nobody."""

    def crash(step: str) -> None:
        steps.append(step)
        if step == "apply.done" and "manifest" in steps:
            raise Killed

    steps: list[str] = []
    acme = as_partner(going, name)
    acme.publish((b"key", b"no message"))
    with pytest.raises(Killed), going.driver(on_step=crash) as driver:
        driver.cycle()
    partners(going, "remove", name)
    going.work()
    assert going.landed("sleep") == once(range(10))
    going.assert_sound()


def test_output_of_the_commands_shows_no_password(office: World, name: str) -> None:
    said = io.StringIO()
    for words in (("add", name, "--contracts", "sensor-reading"), ("check", name), ("remove", name)):
        done = partners(office, *words)
        said.write(done.stdout + done.stderr)
        if words[0] == "add":
            secret = own(office, name).password
    assert secret is not None
    assert secret.get_secret_value() not in said.getvalue()
