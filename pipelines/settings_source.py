"""Which variable, file of a secret, or settings file a setting at fault was read from."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

PREFIX, BETWEEN = "WELLSPRING_", "__"
SECRETS_VARIABLE = "WELLSPRING_SECRETS"
"""A folder with a file for each secret, named as the variable would be, as Docker and Kubernetes hand them in."""


def blamed(file: str, place: Sequence[str | int]) -> str:
    """Who said what stands at this place of the settings, `("kafka", "security")`: the variable, else the settings file.

    Where a whole section does not fit together, the file with each variable that says something of it. Never a value.
    """
    given = _given()
    for length in range(len(place), 0, -1):
        name = variable(place[:length])
        if name in given and _says(given[name][1], place[length:]):
            return given[name][0]
    below = [words for name, (words, _) in sorted(given.items()) if name.startswith(variable(place) + BETWEEN)]
    return f"{file} with {', '.join(below)}" if below else file


def misspelt(model: type[BaseModel]) -> str | None:
    """Which variable, or file of a secret, would be passed over though its name is nearly that of a setting, and which.

    Kubernetes' addresses of a service, which may be called as one of our sections is, are none of it.
    """
    given, names = _given(), {name.replace("_", ""): name for name in (variable(place) for place, *_ in places(model))}
    sections = {variable([section]) for section in model.model_fields}
    services = tuple(name.removesuffix("SERVICE_HOST") for name in given if name.endswith("_SERVICE_HOST"))
    for name, (words, _) in sorted(given.items()):
        if name.split(BETWEEN)[0] in sections or (services and name.startswith(services)):
            continue
        if near := get_close_matches(name.replace("_", ""), names, n=1, cutoff=0.95):
            return f"{words} is the name of no setting: expected {names[near[0]]}"
        if BETWEEN in name:
            return f"{words} is the name of no setting: expected WELLSPRING_SECTION__SETTING"
    return None


def places(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo, bool]]:
    """Every setting in the model's order: its place, its field, and whether it is a section, whose own then follow."""
    for name, field in model.model_fields.items():
        place, kind = (*above, name), field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield place, field, True
            yield from places(kind, place)
        else:
            yield place, field, False


def not_json(error: Exception) -> str | None:
    """Which variables of a section could not be read as the JSON that it or a list takes; None where it is another fault."""
    found = re.search(r'error parsing value for field "(\w+)"', str(error))
    if found is None:
        return None
    section, given = variable([found[1]]), _given()
    of_it = {name: one for name, one in given.items() if name == section or name.startswith(section + BETWEEN)}
    broken = [words for words, text in of_it.values() if text.lstrip().startswith(("[", "{")) and _json(text) is None]
    said = broken or [words for words, _ in of_it.values()]
    return f"{', '.join(sorted(said))}: {found[1]}: expected JSON"


def _given() -> dict[str, tuple[str, str]]:
    """What is said outside the settings file, by the variable's name: its name in words, and its text."""
    folder, given = os.environ.get(SECRETS_VARIABLE), {}
    for file in Path(folder).iterdir() if folder and Path(folder).is_dir() else ():
        if file.is_file() and file.name.upper().startswith(PREFIX):
            text = file.read_text(encoding="utf-8", errors="replace")
            given[file.name.upper()] = (f"the file {file.name} in {SECRETS_VARIABLE}", text)
    return given | {
        name.upper(): (f"the variable {name}", text)
        for name, text in os.environ.items()
        if name.upper().startswith(PREFIX)
    }


def variable(place: Sequence[str | int]) -> str:
    """The name of a setting's variable."""
    return PREFIX + BETWEEN.join(map(str, place)).upper()


def _says(text: str, rest: Sequence[str | int]) -> bool:
    """Whether a section's JSON has something at this place; what is no section is at fault as a whole."""
    value = _json(text)
    for part in rest:
        if not isinstance(value, dict):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
