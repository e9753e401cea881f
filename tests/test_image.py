"""The image as it is written down: who it runs as, what it is built from, what it starts. (Nothing here builds it.)"""

import re
import subprocess
import tomllib

from connectors.kafka import KafkaSettings
from pipelines.settings import FILE_VARIABLE, Settings
from pipelines.settings_page import settings
from tests.command import put_together
from tests.dockerfiles import instructions, is_sent
from tests.documents import ROOT

DOCKERFILE, IGNORE = ROOT / "infra" / "image" / "Dockerfile", ROOT / ".dockerignore"
ALL = instructions(DOCKERFILE)
LAST = max(one.stage for one in ALL)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEVER = (
    "users.yaml",
    "wellspring.yaml",
    "vault/keys/sleep.key",
    "demo/lake/x.parquet",
    ".git/config",
    ".venv/bin/python",
)


def last(word: str) -> list[list[str]]:
    """What the last stage says with that word."""
    return [one.arguments for one in ALL if one.word == word and one.stage == LAST]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for words in last("ENV") for word in words)


def test_every_base_is_pinned_and_one() -> None:
    (given,) = [one.text for one in ALL if one.stage == 0]
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-[a-z]+", given)
    assert [one.arguments[0] for one in ALL if one.word == "FROM"] == ["${PYTHON_IMAGE}"] * LAST
    assert "latest" not in DOCKERFILE.read_text(encoding="utf-8")


def test_it_runs_as_nobody_of_the_system_and_stays_so() -> None:
    assert last("USER") == [["10001:10001"]]
    after = ALL[[one.word for one in ALL].index("USER") :]
    assert {one.word for one in after} <= {"USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def test_nothing_is_fetched_past_the_lock_files() -> None:
    assert not [one for one in ALL if one.word == "ADD"]
    assert not re.search(r"\b(curl|wget|apt-get|apt|apk|git)\b|https?://(?!127\.)", " ".join(one.text for one in ALL))
    installs = [one.text for one in ALL if one.word == "RUN" and re.search(r"pip install|uv sync", one.text)]
    assert len(installs) == 3
    assert all("--require-hashes" in text or "--frozen --no-dev" in text for text in installs)


def test_nothing_that_builds_is_in_the_last_stage() -> None:
    copied = [one for one in ALL if one.word == "COPY" and one.stage == LAST]
    assert [(one.options, one.arguments) for one in copied] == [({"from": "build"}, ["/opt/wellspring"] * 2)]
    assert not re.search(r"gcc|build-essential|/opt/uv|pip", " ".join(one.text for one in ALL if one.stage == LAST))


def test_what_is_copied_is_there_and_sent() -> None:
    sources = [source for one in ALL if one.word == "COPY" and not one.options for source in one.arguments[:-1]]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for source in sources:
        below = [path for path in tracked if path == source or path.startswith(f"{source}/")]
        assert below, source
        assert [path for path in below if not is_sent(path, IGNORE)] == []
    packages = {path.split("/")[0] for path in tracked if path.endswith("__init__.py")} - {"tests"}
    assert packages <= set(sources)


def test_no_secret_of_a_checkout_is_sent() -> None:
    assert [path for path in NEVER if is_sent(path, IGNORE)] == []
    assert not is_sent("schemas/__pycache__/units.cpython-311.pyc", IGNORE) and not is_sent("tests/worlds.py", IGNORE)


def test_what_it_sets_are_settings_and_nothing_of_it_is_secret() -> None:
    known = {FILE_VARIABLE, *(setting.variable for setting in settings())}
    ours = {name for name in environment() if name.startswith("WELLSPRING_")}
    assert ours and ours <= known
    secret = {f"WELLSPRING_KAFKA__{name.upper()}" for name in KafkaSettings.model_fields if "password" in name}
    assert not ours & secret


def test_it_starts_a_driver_that_follows_and_is_asked_for_its_health() -> None:
    (program,), command = last("ENTRYPOINT")[0], last("CMD")[0]
    assert program in PROJECT["scripts"]
    run = put_together().commands[command[0]]
    known = {option for parameter in run.params for option in parameter.opts}
    assert [word for word in [one for one in ALL if one.word == "CMD"][-1].words[1:] if word not in known] == []
    (health,) = [one for one in ALL if one.word == "HEALTHCHECK"]
    assert f":{environment()['WELLSPRING_METRICS__PORT']}/healthz" in health.text
    assert last("EXPOSE") == [[environment()["WELLSPRING_METRICS__PORT"], str(Settings().steward.port)]]


def test_its_version_is_the_projects() -> None:
    label = next(word for words in last("LABEL") for word in words if "image.version" in word)
    assert label.endswith(f"={PROJECT['version']}")
    assert f"wellspring:{PROJECT['version']} " in DOCKERFILE.read_text(encoding="utf-8")
