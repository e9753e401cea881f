"""YAML files that people write: what is wrong with one, in words that repeat nothing of it."""

from pydantic import ValidationError


def place_in_yaml(error: Exception) -> str:
    """Where a text is not YAML, as ` at line 3`; empty where nobody can say."""
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}" if mark else ""


def first_fault(error: ValidationError) -> str:
    """The entry and what is wrong with it, without the value that pydantic's own message shows."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}".removeprefix(": ")
