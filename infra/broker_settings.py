"""What the local broker is told: its server.properties, its logging, and the options of its Java."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.broker_ready import LOOPBACK
from infra.secured import Secured

MESSAGE_MAX_BYTES = 1_048_588
"""Kafka's own default for the largest record batch: 1 MiB and the batch's overhead. Topics may set another."""

# Little memory, and the compiler that starts fast. The heap ends the process rather than leave it half alive.
JAVA_OPTIONS = [
    "-Xmx256m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-CreateCoredumpOnCrash",
    "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
]

_PORT = re.compile(rf"^advertised\.listeners=[A-Z]+://{re.escape(LOOPBACK)}:(\d+),", re.MULTILINE)

# The numbers are measured: one partition of each inner topic and few threads keep the idle cost at 3 % of a core, and
# the short session lets a broker that was killed back in after 5 s instead of 23 s.
_ONE_SMALL_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "auto.create.topics.enable": "false",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "message.max.bytes": str(MESSAGE_MAX_BYTES),
}


@dataclass(frozen=True)
class BrokerFolder:
    """Where everything of one broker lies."""

    path: Path

    @property
    def data(self) -> Path:
        """The topics; written by the broker alone."""
        return self.path / "data"

    @property
    def secured(self) -> Secured:
        """What protects it, where it is a secured one."""
        return Secured(self.path / "secure")

    @property
    def properties(self) -> Path:
        """The broker's configuration, written anew at every start."""
        return self.path / "server.properties"

    @property
    def logging(self) -> Path:
        """Log4j's configuration."""
        return self.path / "log4j2.properties"

    @property
    def pid_file(self) -> Path:
        """What runs here, while it runs."""
        return self.path / "broker.json"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the broker."""
        return self.path / "lock"

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.path / "logs"

    @property
    def log(self) -> Path:
        """The broker's log."""
        return self.logs / "server.log"

    @property
    def console(self) -> Path:
        """What Java wrote to its console since the last start: that Kafka is up, or why it is not."""
        return self.logs / "console.log"


def server_properties(
    port: int, controller_port: int, data: Path, extra: Mapping[str, str], secured: Secured | None = None
) -> str:
    """The broker's configuration on loopback; `extra` adds to it or wins over it."""
    listeners = f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}"
    settings = {
        **_ONE_SMALL_NODE,
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller_port}",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "log.dirs": str(data),
        **(secured.settings(port, controller_port) if secured else {}),
        **extra,
    }
    return "".join(f"{key}={_escaped(value)}\n" for key, value in settings.items())


def last_port(properties: Path) -> int | None:
    """The client's port of a configuration written earlier, or None."""
    if not properties.is_file():
        return None
    found = _PORT.search(properties.read_text("utf-8"))
    return int(found.group(1)) if found else None


STARTED = "Kafka Server started"
"""What the broker says when all its parts are up (and not before, unlike its answers to clients)."""


def log4j_properties(log: Path) -> str:
    """Log4j's configuration: the broker's own steps and all warnings to one file, of which four of 10 MB are kept.

    That it has started, or why it could not, also goes to the console, which begins anew with every start.
    """
    return f"""\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {_escaped(str(log))}
appender.file.filePattern = {_escaped(str(log))}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %m%n
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
logger.server.name = kafka.server.KafkaRaftServer
logger.server.appenderRef.console.ref = console
logger.main.name = kafka.Kafka$
logger.main.appenderRef.console.ref = console
"""


def _escaped(value: str) -> str:
    """A value for a Java properties file, which is read as Latin-1 with backslash escapes."""
    utf16 = value.replace("\\", "\\\\").encode("utf-16-be")
    units = [int.from_bytes(utf16[at : at + 2]) for at in range(0, len(utf16), 2)]
    return "".join(chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in units)
