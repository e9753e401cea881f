"""The documents hold what they must: every command, setting, exit code, error, check and module, and nothing that is not.

That the commands in them work is tested in `tests/integration/test_documents.py`.
"""

import importlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
import yaml

import connectors
import infra
import pipelines
import quality
import schemas
from connectors import causes
from pipelines.cli import app
from pipelines.commands.common import failure_of
from pipelines.settings import Settings, load_settings
from pipelines.settings_page import SETTINGS, settings
from schemas.families import FAMILIES
from schemas.registry import Partner, Study
from tests.documents import CONTRIBUTORS, DOCUMENTS, OPERATORS, README, ROOT, blocks, commands, table, tables
from tests.sources import code

ROOMS: tuple[ModuleType, ...] = (schemas, connectors, quality, pipelines, infra)
MINIMAL, REFERENCE = (ROOT / "infra" / f"wellspring.{name}.yaml" for name in ("minimal", "reference"))
TARGETS = re.compile(r"^([a-z]+):.*## ", re.MULTILINE)


@cache
def said(document: Path) -> str:
    return document.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _settings_come_from_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WELLSPRING_CONFIG", *(setting.variable for setting in settings())):
        monkeypatch.delenv(name, raising=False)


# -- commands


def words_of(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command below this one."""
    inner = getattr(command, "commands", {})
    for name in inner:
        yield from words_of(inner[name], (*path, name))
    if not inner:
        yield path


def typed() -> list[list[str]]:
    """The command lines of all documents, in words, what is piped and what follows it apart."""
    lines = [part for one in DOCUMENTS for command in commands(one) for part in command.line.split(" | ")]
    return [re.sub(r'^([A-Z_]+=("[^"]*"|\S*) )+', "", line).split() for line in lines]


COMMANDS = sorted(words_of(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_in_a_document(words: tuple[str, ...]) -> None:
    shown = any(line[: len(words) + 1] == ["wellspring", *words] for line in typed())
    made = any(f"wellspring {' '.join(words)}" in said(document) for document in DOCUMENTS)
    assert shown or (made and words in {("demo",), ("bench",)})  # those two are typed as make demo and make bench


def test_the_commands_typed_are_commands() -> None:
    names = {" ".join(words) for words in COMMANDS} | {"steward"}  # a command, and a group of others
    lines = [[word for word in line if "=" not in word] for line in typed()]
    wellspring = [line[1:] for line in lines if line[:1] == ["wellspring"]]
    assert wellspring
    assert all(any(" ".join(line[:count]) in names for count in (1, 2, 3)) for line in wellspring)


def test_every_target_of_make_is_in_a_document_and_no_other() -> None:
    there = set(TARGETS.findall((ROOT / "Makefile").read_text(encoding="utf-8"))) - {"help"}
    told = {
        word for document in DOCUMENTS for word in re.findall(r"(?:^|`)make ([a-z]+)", said(document), re.MULTILINE)
    }
    assert told == there


def test_no_block_is_of_a_language_that_nobody_judges() -> None:
    judged = {"sh", "console", "json", "yaml", "toml", "python", "java", "xml", "ini", ""}
    every = [block for document in DOCUMENTS for block in blocks(document)]
    assert {block.language for block in every if not (block.language == "bash" and block.marked("file"))} <= judged


# -- settings


def test_the_settings_reference_is_in_step() -> None:
    assert SETTINGS.in_page(said(OPERATORS)) == said(OPERATORS), "run python -m pipelines.settings_page --write"


def test_the_settings_reference_would_fail_when_it_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "README.md"
    page.write_text(said(OPERATORS).replace("| `limits.plan_records` |", "| `limits.plan` |"), encoding="utf-8")
    assert SETTINGS.main(["--page", str(page), "--check"]) == 1
    assert "pipelines.settings_page --write" in capsys.readouterr().err
    assert SETTINGS.main(["--page", str(page), "--write"]) == 0
    assert page.read_text(encoding="utf-8") == said(OPERATORS)


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of a tree by dotted name."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        place = (*path, name)
        found |= leaves(value, place) if isinstance(value, dict) else {".".join(place): value}
    return found


def in_words(value: Any) -> str:
    """A default as the settings' page says it."""
    return json.dumps(value) if isinstance(value, list) else "" if value is None else str(value)


def test_the_reference_file_has_every_setting_with_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = leaves(yaml.safe_load(said(REFERENCE)))
    assert list(written) == [setting.name for setting in settings()]
    defaults = {setting.name: setting.default for setting in settings()}
    assert {name: in_words(value) for name, value in written.items()} == defaults
    monkeypatch.chdir(REFERENCE.parent)
    assert load_settings(REFERENCE) == Settings()


def test_the_minimal_file_is_enough() -> None:
    loaded = load_settings(MINIMAL)
    assert loaded.consent_topic == "consent-office.consent-event.v1"
    assert len(leaves(yaml.safe_load(said(MINIMAL)))) == 2


def test_the_settings_shown_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLSPRING_KAFKA__PASSWORD", "secret")
    shown = [block.text for block in blocks(OPERATORS) if block.mark == "settings-example"]
    assert shown
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        assert load_settings(file).kafka.login


def test_every_variable_that_the_code_reads_is_documented() -> None:
    constants = {text for text in texts() if re.fullmatch(r"WELLSPRING_[A-Z_]+", text)} - {"WELLSPRING_"}
    assert constants
    assert all(f"`{name}`" in said(OPERATORS) for name in constants)


def test_every_field_of_the_registries_is_documented() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", said(OPERATORS), re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told >= {*Partner.model_fields, *Study.model_fields}


def test_every_family_is_in_the_page_of_what_lies_where() -> None:
    part = said(OPERATORS).split("## What lies where")[1].split("\n## ")[0]
    assert [name for name in FAMILIES if f"`{name}`" not in part] == []


# -- errors


@cache
def sources() -> dict[str, Path]:
    """The files of the code, by module."""
    files = [path for room in ROOMS for path in Path(room.__path__[0]).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}


@cache
def texts() -> frozenset[str]:
    """Every text constant of the code, the fixed parts of formatted ones too."""
    return frozenset().union(*(code(file).texts for file in sources().values()))


@cache
def answers() -> dict[str, int]:
    """The exit code of each kind of error with which a command answers an operator."""
    codes = {kind.__name__: failure_of(kind.__new__(kind)) for kind in errors()}
    return {name: code for name, code in codes.items() if code is not None}


def errors() -> list[type[Exception]]:
    """Every kind of error that the code defines."""
    bases = {(module, name): above for module, file in sources().items() for name, above in code(file).classes}
    names = {"Exception"}
    while more := {name for (_, name), above in bases.items() if above & names} - names:
        names |= more
    found = [place for place in bases if place[1] in names]
    kinds = [getattr(importlib.import_module(module), name) for module, name in found]
    return [kind for kind in kinds if issubclass(kind, Exception)]  # another class may have the name of an error's


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d) \| [^`|]+ \| [^|]+ \|$", said(OPERATORS).split("## Exit codes")[1], re.MULTILINE)
    assert [int(code) for code in rows] == [0, 1, 2, 3, 4]
    assert set(answers().values()) | {0, 2} == {0, 1, 2, 3, 4}


def test_every_kind_of_error_is_documented_with_its_code() -> None:
    told = {(kind.strip("`"), int(code)) for code, _, kind, _ in tables(OPERATORS, "errors")}
    internal = {"EndedUnexplained"}  # a BrokerFailed that is tried again
    assert told == {item for item in answers().items() if item[0] not in internal}


def test_errors_are_quoted_as_the_code_says_them() -> None:
    quoted = [text for _, cell, _, _ in tables(OPERATORS, "errors") for text in re.findall(r"`([^`]+)`", cell)]
    parts = [part for text in quoted for part in text.split("…") if len(part) > 8]
    assert len(parts) > 40
    assert [part for part in parts if not any(part.strip() in text for text in texts())] == []


PASSED_ON = {
    "UsersError": "Refused",
    "NothingToJudge": "Refused",
    "FileRefused": "Refused",
    "EndedUnexplained": "BrokerFailed",
}
"""Errors whose words another one passes on."""


def test_every_message_to_an_operator_has_its_row_or_that_of_its_family() -> None:
    """Kind by kind: what the code says begins as a row does, or has in it what a row quotes."""
    rows = [
        (kind.strip("`"), text)
        for _, cell, kind, _ in tables(OPERATORS, "errors")
        for text in re.findall(r"`([^`]+)`", cell)
    ]
    made = [(PASSED_ON.get(kind, kind), text) for file in sources().values() for kind, text in code(file).made]
    found = [(kind, text) for kind, text in made if kind in answers() and kind != "Rejected" and text.strip("…:; ")]
    assert len(found) > 200
    told = {kind: [_pattern(text) for of, text in rows if of == kind] for kind in answers()}
    assert not any(quoted.search("") for patterns in told.values() for quoted in patterns)
    assert [(kind, text) for kind, text in found if not any(quoted.search(text) for quoted in told[kind])] == []


def test_every_cause_for_which_kafka_cannot_be_used_is_in_the_table() -> None:
    said = "".join(cell for _, cell, _, _ in tables(OPERATORS, "errors"))
    words = [words for _, words in causes._CAUSES] + list(causes._REFUSALS.values())
    assert [one for one in words if one not in said] == []


def test_all_that_is_said_of_a_bucket_is_in_the_table() -> None:
    said = "".join(cell for _, cell, kind, _ in tables(OPERATORS, "errors") if "StorageFailed" in kind)
    words = [re.split(r"[{(]", text)[0].strip() for text in code(sources()["connectors.object_words"]).texts]
    words = [text for text in words if text[:1].islower() and text.count(" ") > 3]
    assert len(words) > 12
    assert [text for text in words if text not in said] == []


def _pattern(quoted: str) -> re.Pattern[str]:
    """Texts that say this, whatever stands for `…`."""
    return re.compile(".*".join(re.escape(part.strip()) for part in quoted.split("…")), re.DOTALL)


# -- checks, modules, tests


def test_every_module_has_its_place_in_the_structure() -> None:
    cells = [cell for row in table(CONTRIBUTORS, "modules") for cell in row]
    told = {name for cell in cells for name in re.findall(r"`([\w/.-]+)`", cell)}
    folders = tuple(name for name in told if name.endswith("/"))
    there = {
        path.relative_to(room.__path__[0]).as_posix() for room in ROOMS for path in Path(room.__path__[0]).rglob("*.py")
    }
    there = {name for name in there if not name.endswith("__init__.py") and not name.startswith(folders)}
    assert there <= told
    roots = [Path(room.__path__[0]) for room in ROOMS]
    assert [name for name in told if not any((root / name).exists() for root in (ROOT, *roots))] == []


def test_the_tests_that_hold_the_promises_are_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", "".join(map(said, DOCUMENTS))))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_nothing_is_left_to_be_filled_in_and_nothing_is_of_one_machine(document: Path) -> None:
    assert not re.search(r"\b(TODO|TBD|FIXME|XXX|lorem|coming soon)\b", said(document))
    assert not re.search(r"(/home/|/work/|/Users/)", said(document))
    assert not re.search(r"(?<![\w&])#\d+\b", said(document))


def test_the_changelog_is_for_the_version_at_hand() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert version[1] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_first_screen_of_the_readme_has_the_two_commands() -> None:
    first = "\n".join(said(README).splitlines()[:35])
    assert "\nmake demo\nmake test\n" in first
