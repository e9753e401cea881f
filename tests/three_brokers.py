"""A cluster of three nodes for tests, each broker and controller: every record has three copies, two of which are asked for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from connectors.kafka import KafkaSettings, admin
from infra.broker_process import free_port, is_alive, kill, spawn, stop
from infra.broker_ready import LOOPBACK, ask_metadata
from infra.broker_settings import STARTED, BrokerFolder, log4j_properties, server_properties
from infra.broker_start import Runtime, new_cluster_id, prepare
from infra.kafka_jars import quiet

NODES = (1, 2, 3)
_READY_S = 180.0
_COPIES = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class ThreeBrokers:
    """Nodes 1 to 3 of one cluster; each keeps its ports and its data over its restarts."""

    def __init__(self, folder: Path) -> None:
        self._runtime: Runtime = prepare(quiet)
        self._folders = {node: BrokerFolder(folder / f"node-{node}") for node in NODES}
        ports: list[int] = []
        for _ in range(2 * len(NODES)):
            ports.append(free_port(*ports))
        self._ports = dict(zip(NODES, ports[: len(NODES)], strict=True))
        self._controllers = dict(zip(NODES, ports[len(NODES) :], strict=True))
        self._processes: dict[int, psutil.Process] = {}
        cluster = new_cluster_id()
        for node in NODES:
            self._lay_out(node, cluster)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{LOOPBACK}:{port}" for port in self._ports.values())

    def start(self, *nodes: int) -> None:
        """Start these nodes, all where none is named, and wait until each sees whoever runs."""
        for node in nodes or NODES:
            folder = self._folders[node]
            options = [f"-Dlog4j2.configurationFile={folder.logging.as_uri()}"]
            command = self._runtime.command(folder, "kafka.Kafka", [str(folder.properties)], options)
            self._processes[node] = spawn(command, folder.console)
        for node in nodes or NODES:
            self._wait_until_ready(node)

    def kill(self, node: int) -> None:
        """End it as a crash would (SIGKILL)."""
        kill(self._processes[node])

    def restart(self, node: int) -> None:
        """Ask it to stop, and start it again."""
        assert stop(self._processes[node], 60.0), "it did not stop by itself"
        self.start(node)

    def end(self) -> None:
        for process in self._processes.values():
            kill(process)

    def leader(self, topic: str, partition: int) -> int:
        """The node that leads a partition."""
        return int(self._partition(topic, partition)["leader_id"])

    def in_sync(self, topic: str, partition: int) -> list[int]:
        """The nodes whose copies of a partition are whole."""
        return sorted(self._partition(topic, partition)["isr_nodes"])

    def _partition(self, topic: str, partition: int) -> dict[str, Any]:
        with admin(KafkaSettings(bootstrap=self.bootstrap, connect_timeout_s=30)) as client:
            parts = client.describe_topics([topic])[0]["partitions"]
        found: dict[str, Any] = next(part for part in parts if part["partition_index"] == partition)
        return found

    def _lay_out(self, node: int, cluster: str) -> None:
        folder = self._folders[node]
        folder.logs.mkdir(parents=True)
        voters = [f"{one}@{LOOPBACK}:{port}" for one, port in self._controllers.items()]
        own = {
            **_COPIES,
            "node.id": str(node),
            "controller.quorum.voters": ",".join(voters),
            "controller.quorum.bootstrap.servers": ",".join(
                f"{LOOPBACK}:{port}" for port in self._controllers.values()
            ),
        }
        folder.properties.write_text(server_properties(self._ports[node], self._controllers[node], folder.data, own))
        folder.logging.write_text(log4j_properties(folder.log))
        arguments = ["format", "-t", cluster, "-c", str(folder.properties)]
        made = spawn(self._runtime.command(folder, "kafka.tools.StorageTool", arguments, []), folder.console)
        assert made.wait(120) == 0, folder.console.read_text()

    def _wait_until_ready(self, node: int) -> None:
        deadline = time.monotonic() + _READY_S
        running = {self._ports[one] for one, process in self._processes.items() if is_alive(process)}
        while time.monotonic() < deadline:
            said = None
            if STARTED in self._folders[node].console.read_text("utf-8", "replace"):
                said = ask_metadata(self._ports[node], 5.0)
            if said is not None and said.ready and set(said.ports) >= running:
                return
            assert is_alive(self._processes[node]), self._folders[node].console.read_text()
            time.sleep(0.1)
        raise AssertionError(f"node {node} was not ready in time")


@contextmanager
def three_brokers(folder: Path) -> Iterator[ThreeBrokers]:
    """A cluster that is up; its nodes are ended with the block."""
    cluster = ThreeBrokers(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
