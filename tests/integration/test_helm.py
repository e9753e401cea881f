"""The chart, rendered by helm itself with several sets of values: manifests that Kubernetes' schemas take, pods that are
restricted, one driver. (Nothing here is put on a cluster.)"""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.options.pipeline_options import PortableOptions

from pipelines.runners import pipeline_options
from pipelines.settings import load_settings
from pipelines.settings_page import settings
from schemas.registry import load_partners, load_studies
from tests.command import put_together
from tests.documents import OPERATORS, table
from tests.kubernetes import (
    CHART,
    KUBERNETES,
    Manifest,
    containers,
    faults,
    helm,
    of_kind,
    pods,
    rendered,
    unrestricted,
)

SETS = sorted(path.name for path in (CHART / "ci").iterdir())
LEAST = ("--set", "settings.kafka.bootstrap=kafka:9092", "--set", "desk.enabled=false")
OWN_VARIABLES = {
    "TMPDIR",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "WELLSPRING_SECRETS",
}
every_set = pytest.mark.parametrize("values", SETS)


@pytest.fixture(scope="session")
def program() -> Path:
    """Helm; the tests are skipped where there is none and none can be built."""
    found = helm()
    if found is None:
        pytest.skip("no helm: install it, or Go, by which it is built once")
    return found


@cache
def _made(program: Path, values: str) -> list[Manifest]:
    found = rendered(program, "--values", str(CHART / "ci" / values))
    assert found.manifests, found.errors
    return found.manifests


@pytest.fixture
def made(program: Path, values: str) -> list[Manifest]:
    """What comes of a set of values."""
    return _made(program, values)


# -- what Kubernetes says


@every_set
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_it(made: list[Manifest], version: str) -> None:
    known = [
        one for one in made if one["kind"] != "ServiceMonitor"
    ]  # the Prometheus operator's, which has no schema here
    assert len(known) >= 6
    assert [fault for one in known for fault in faults(one, version)] == []


def test_a_field_too_many_or_of_the_wrong_type_is_noticed(program: Path) -> None:
    (driver,) = of_kind(_made(program, SETS[0]), "StatefulSet")
    for wrong in ({"replica": 1}, {"replicas": "one"}):
        assert faults({**driver, "spec": {**driver["spec"], **wrong}}, KUBERNETES[-1])


@every_set
def test_helm_finds_nothing_to_say(program: Path, values: str) -> None:
    words = [
        program,
        "lint",
        "--strict",
        CHART,
        "--values",
        str(CHART / "ci" / values),
        "--kube-version",
        KUBERNETES[1],
    ]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


# -- what a pod may do


@every_set
def test_every_pod_is_restricted(made: list[Manifest]) -> None:
    assert {name: found for name, pod, _ in pods(made) if (found := unrestricted(pod))} == {}
    for _, pod, _ in pods(made):
        assert pod["automountServiceAccountToken"] is False and pod["serviceAccountName"] == "well-wellspring"
        for one in containers(pod):
            assert "memory" in one["resources"]["limits"] and "cpu" in one["resources"]["requests"]
            assert not one["image"].endswith(":latest") and re.search(r":\S|@sha256:", one["image"])


def test_a_pod_that_may_more_is_noticed(program: Path) -> None:
    for _, pod, _ in pods(_made(program, SETS[0])):
        assert unrestricted({**pod, "securityContext": {}}) == ["runs as root", "seccomp"]
        assert unrestricted({**pod, "hostNetwork": True}) == ["hostNetwork"]
        bare = [{**pod["containers"][0], "securityContext": {}}]
        assert len(unrestricted({**pod, "containers": bare})) == 3


@every_set
def test_the_network_is_closed_but_for_what_is_needed(made: list[Manifest]) -> None:
    (policy,) = of_kind(made, "NetworkPolicy")
    selected = policy["spec"]["podSelector"]["matchLabels"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert all(selected.items() <= labels.items() for _, _, labels in pods(made))
    assert all(rule.get("from") for rule in policy["spec"]["ingress"])
    assert all(rule.get("ports") or rule.get("to") for rule in policy["spec"]["egress"])


# -- what belongs together


@every_set
def test_there_is_one_driver(made: list[Manifest]) -> None:
    drives = [one for _, pod, _ in pods(made) for one in containers(pod) if one.get("args", [""])[0] == "run"]
    (home,) = of_kind(made, "StatefulSet")
    assert (
        len(drives) == 1
        and home["spec"]["replicas"] == 1
        and drives[0] in home["spec"]["template"]["spec"]["containers"]
    )
    assert home["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 300
    assert drives[0]["livenessProbe"]["httpGet"]["path"] == "/healthz"


@every_set
def test_selectors_find_their_pods_and_ports_are_there(made: list[Manifest]) -> None:
    for one in of_kind(made, "StatefulSet", "Deployment"):
        assert one["spec"]["selector"]["matchLabels"].items() <= one["spec"]["template"]["metadata"]["labels"].items()
    for service in of_kind(made, "Service"):
        found = [pod for _, pod, labels in pods(made) if service["spec"]["selector"].items() <= labels.items()]
        assert len(found) == 1, service["metadata"]["name"]
        ports = [port for one in containers(found[0]) for port in one.get("ports", ())]
        open_ports = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        assert all(port.get("targetPort", port["port"]) in open_ports for port in service["spec"]["ports"])


@every_set
def test_what_is_mounted_is_there(made: list[Manifest]) -> None:
    names = {(one["kind"], one["metadata"]["name"]) for one in made}
    for _, pod, _ in pods(made):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for one in containers(pod):
            assert {mount["name"] for mount in one["volumeMounts"]} <= set(volumes)
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName", "")
            assert not claim.startswith("well-") or ("PersistentVolumeClaim", claim) in names
            sources = [source["configMap"] for source in volume.get("projected", {}).get("sources", ())]
            assert all(("ConfigMap", source["name"]) in names for source in sources)


def test_places_are_volumes_or_addresses(program: Path) -> None:
    claims = {values: of_kind(_made(program, values), "PersistentVolumeClaim") for values in SETS}
    assert {values: len(found) for values, found in claims.items()} == {
        "default-values.yaml": 2, "flink-values.yaml": 1, "ingress-values.yaml": 2, "s3-values.yaml": 0,
    }  # fmt: skip
    for claim in claims["default-values.yaml"]:
        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    ((_, pod, _),) = [one for one in pods(_made(program, "s3-values.yaml")) if one[0] == "well-wellspring"]
    said = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert (said["WELLSPRING_LAKE"], said["WELLSPRING_VAULT"]) == ("s3://wellspring-lake", "s3://wellspring-vault")
    assert said["AWS_SECRET_ACCESS_KEY"] is None  # it comes from a secret


@every_set
def test_settings_registries_and_commands_are_ours(
    made: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "WELLSPRING_SECRETS" in str(made):  # a Secret of the operator's, as it is mounted
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "WELLSPRING_KAFKA__PASSWORD").write_text("of the operator's")
        monkeypatch.setenv("WELLSPRING_SECRETS", str(tmp_path / "secrets"))
    for name, text in of_kind(made, "ConfigMap")[0]["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = load_settings(tmp_path / "wellspring.yaml")
    assert found.kafka.addresses and load_partners(found.partners) and load_studies(found.studies)
    known = {setting.variable for setting in settings()} | OWN_VARIABLES
    for _, pod, _ in pods(made):
        for one in containers(pod):
            assert {variable["name"] for variable in one.get("env", ())} <= known
            if "wellspring" in one["image"] and "command" not in one:
                _assert_command(one["args"])


def _assert_command(words: list[str]) -> None:
    command: Any = put_together()
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []
    assert not getattr(command, "commands", {}) or command.name == "steward"


def test_driver_job_server_task_managers_and_workers_find_each_other(program: Path, tmp_path: Path) -> None:
    """As Beam's source has it: a client is told the artifacts' endpoint as --job-host with --artifact-port, unless it
    has one of its own; a TaskManager asks `worker_pool` for workers, whom it then tells addresses of its loopback."""
    own = ("--set", "settings.runner.options={--max_cache_memory_usage_mb=100}")
    made = rendered(program, "--values", str(CHART / "ci" / "flink-values.yaml"), *own).manifests
    (config,) = [one for one in of_kind(made, "ConfigMap") if "wellspring.yaml" in one["data"]]
    (tmp_path / "wellspring.yaml").write_text(config["data"]["wellspring.yaml"], encoding="utf-8")
    runner = load_settings(tmp_path / "wellspring.yaml").runner
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(made, "Service")}
    named = {one["name"]: (pod, one, labels) for _, pod, labels in pods(made) for one in containers(pod)}

    pod, server, labels = named["jobserver"]
    given = dict(word.removeprefix("--").split("=", 1) for word in server["args"])
    host, port = runner.job_endpoint.split(":")
    assert (given["job-host"], given["job-port"]) == ("0.0.0.0", port)
    artifacts = pipeline_options(runner).view_as(PortableOptions).artifact_endpoint
    assert artifacts == f"{host}:{given['artifact-port']}"
    assert runner.options[1] == "--max_cache_memory_usage_mb=100"  # the operator's come last, and hold
    assert services[host]["selector"].items() <= labels.items()
    ports = {one["port"] for one in services[host]["ports"]}
    assert {int(given["job-port"]), int(given["artifact-port"])} <= ports
    assert ports == {one["containerPort"] for one in server["ports"]}

    master, rest = given["flink-master"].split(":")
    assert services[master]["selector"].items() <= named["jobmanager"][2].items()
    assert int(rest) in {one["port"] for one in services[master]["ports"]}

    pod, worker, _ = named["worker"]
    assert {one["name"] for one in containers(pod)} == {"taskmanager", "worker"}
    assert not pod.get("hostNetwork")
    pool_port = runner.worker_pool.removeprefix("localhost:")
    assert (worker["command"], worker["args"]) == (["wellspring-worker"], ["--pool", pool_port])
    assert [one["containerPort"] for one in worker["ports"]] == [int(pool_port)]
    assert (runner.kind, runner.workers, runner.parallelism) == ("flink", "external", 3 * 2)


@every_set
def test_no_secret_is_in_a_manifest(made: list[Manifest]) -> None:
    assert of_kind(made, "Secret") == []
    for _, pod, _ in pods(made):
        for one in containers(pod):
            said = {variable["name"] for variable in one.get("env", ()) if "value" in variable}
            assert not [name for name in said if re.search("PASSWORD|SECRET_|ACCESS_KEY", name)]


def test_figures_are_found_by_an_operator(program: Path) -> None:
    made = _made(program, "ingress-values.yaml")
    (monitor,) = of_kind(made, "ServiceMonitor")
    (service,) = [one for one in of_kind(made, "Service") if one["spec"].get("clusterIP") == "None"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


# -- values


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("driver.replicas=2", "replicas"),
        ("image.tag=latest", "tag"),
        ("lake.address=/srv/lake", "address"),
        ("settings.kafka.bootstrap=", "where are the brokers"),
        ("settings.lake=/srv/lake", "give lake.address"),
        ("desk.enabled=true", "where do browsers reach the desk"),
        ("flink.enabled=true", "ReadWriteMany"),
        ("watch[0].partner=acme", "address"),
    ],
)
def test_values_that_cannot_be_are_refused_in_words(program: Path, wrong: str, words: str) -> None:
    found = rendered(program, *LEAST, "--set", wrong)
    assert not found.manifests and words in found.errors, found.errors


def test_a_desk_without_a_place_for_its_users_is_refused(program: Path) -> None:
    more = ("desk.enabled=true", "desk.url=https://quality.example.org", "vault.address=s3://vault")
    found = rendered(program, *LEAST, *(word for one in more for word in ("--set", one)))
    assert "desk.usersSecret" in found.errors


def test_every_value_is_in_the_schema_and_in_a_set() -> None:
    given = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]) - {"global"} == set(given) and schema["additionalProperties"] is False
    used = [yaml.safe_load((CHART / "ci" / name).read_text(encoding="utf-8")) for name in SETS]
    assert set(given) - {name for one in used for name in one} <= {"driver"}  # which all of them have


def test_every_value_is_documented() -> None:
    given = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    told = {name for cell, *_ in table(OPERATORS, "chart-values") for name in re.findall(r"`(\w+)", cell)}
    assert set(given) <= told


def test_its_versions_are_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = re.search(
        r'^version = "(.+)"$', (CHART.parents[2] / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert project and chart["appVersion"] == project[1]
