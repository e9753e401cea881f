"""The project's own code as tests see it: each file is parsed once a session, and only what is asked about is kept.

(Whole trees of it are a million objects, through which the garbage collector would go again and again.)
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Code(NamedTuple):
    """What a file holds: the modules that it imports, wherever in it, and those that loading it does; text constants,
    the fixed parts of formatted texts too; the classes of its top level, each with the names of its bases.
    """

    imports: tuple[str, ...]
    loads: tuple[str, ...]
    texts: frozenset[str]
    classes: tuple[tuple[str, frozenset[str]], ...]


@cache
def code(file: Path) -> Code:
    """The code of a file of the project."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    return Code(
        tuple(imports(nodes, file.relative_to(ROOT).parent.parts)),
        tuple(_loads(tree.body)),
        frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)),
        tuple((node.name, frozenset(_bases(node))) for node in tree.body if isinstance(node, ast.ClassDef)),
    )


def imports(nodes: Iterable[ast.AST], package: tuple[str, ...]) -> Iterator[str]:
    """The modules that a file imports, wherever in it, by their full names."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            yield ".".join([*base, *((node.module or "").split(".") if node.module else [])])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            if name in ("import_module", "__import__", "importorskip") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def _loads(body: list[ast.stmt]) -> Iterator[str]:
    """What a module imports when it is loaded, a name in another module as if it were a module too."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _bases(node: ast.ClassDef) -> Iterator[str]:
    return (base.id for base in node.bases if isinstance(base, ast.Name))
