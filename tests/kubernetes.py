"""What a chart renders to, and what Kubernetes would say of it: its schemas (strict, offline), and the standard "restricted"
of Pod Security, of which every rule that a pod here could break is written out."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import yaml

from tests.documents import ROOT
from tests.go_programs import go_program

CHART = ROOT / "infra" / "helm" / "wellspring"
HELM = "v3.19.0"
KUBERNETES = ("1.29", "1.34", kubernetes_validate.latest_version())
ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}

Manifest = dict[str, Any]


class Rendered(NamedTuple):
    """What helm says: manifests, or why there are none."""

    manifests: list[Manifest]
    errors: str


def helm() -> Path | None:
    """Helm's program; None where it is not to be had."""
    return go_program("helm.sh/helm/v3/cmd/helm", HELM)


def rendered(program: Path, *words: str) -> Rendered:
    """`helm template` of the chart with these options; nothing is asked of a cluster or of a registry."""
    told = subprocess.run(
        [program, "template", "well", CHART, "--namespace", "health", "--kube-version", KUBERNETES[1], *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = [one for one in yaml.safe_load_all(told.stdout) if one] if told.returncode == 0 else []
    return Rendered(found, told.stderr)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] in kinds]


def faults(manifest: Manifest, version: str) -> list[str]:
    """What Kubernetes of that version would refuse; what is a field too many as well."""
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return [f"{manifest['kind']} {manifest['metadata']['name']}: {str(error).splitlines()[0]}"]
    return []


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Mapping[str, str]]]:
    """The pods that come of them: whose, their specification, their labels."""
    for one in of_kind(manifests, "StatefulSet", "Deployment", "Job"):
        template = one["spec"]["template"]
        yield one["metadata"]["name"], template["spec"], template["metadata"]["labels"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def unrestricted(pod: Manifest) -> list[str]:
    """Where a pod does not keep to "restricted", and a read-only root, which that does not ask for."""
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if name in pod]
    found += [volume["name"] for volume in pod.get("volumes", ()) if not set(volume) - {"name"} <= ALLOWED_VOLUMES]
    own = pod["securityContext"]
    if own.get("runAsNonRoot") is not True or not own.get("runAsUser") or own.get("sysctls"):
        found.append("runs as root")
    if own.get("seccompProfile") != {"type": "RuntimeDefault"}:
        found.append("seccomp")
    return found + [f"{one['name']}: {fault}" for one in containers(pod) for fault in _unconfined(one)]


def _unconfined(container: Manifest) -> Iterator[str]:
    own = container["securityContext"]
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "escalates"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "writes to its root"
    if {"runAsUser", "runAsNonRoot", "seccompProfile"} & set(own) or any(
        "hostPort" in p for p in container.get("ports", ())
    ):
        yield "is not as its pod"
