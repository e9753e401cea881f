"""The project's own code as tests see it: each file is parsed once a session, and only what is asked about is kept.

(Whole trees of it are a million objects, through which the garbage collector would go again and again.)
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Code(NamedTuple):
    """What a file holds: the modules that it imports, wherever in it, and those that loading it does; text constants,
    the fixed parts of formatted texts too; the classes of its top level, each with the names of its bases; what it calls
    by a name that begins with a capital, with the texts that the first argument may be, `…` for what is put in.
    """

    imports: tuple[str, ...]
    loads: tuple[str, ...]
    texts: frozenset[str]
    classes: tuple[tuple[str, frozenset[str]], ...]
    made: tuple[tuple[str, str], ...]


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
        tuple(_made(nodes, _constants(tree.body))),
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


def _constants(body: list[ast.stmt]) -> dict[str, ast.expr]:
    """What the names of the module's top level stand for."""
    targets = [(node.targets[0], node.value) for node in body if isinstance(node, ast.Assign)]
    return {target.id: value for target, value in targets if isinstance(target, ast.Name)}


def _made(nodes: Iterable[ast.AST], constants: dict[str, ast.expr]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            if name[:1].isupper():
                yield from ((name, text) for text in _texts(node.args[0], constants))


def _texts(node: ast.expr, constants: dict[str, ast.expr]) -> list[str]:
    """What a text may be, as far as the code says it; none where it is put together elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)]  # type: ignore[misc]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [a + b for a in _texts(left, constants) or "…" for b in _texts(right, constants) or "…"]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_texts(body, constants), *_texts(orelse, constants)]
        case ast.BoolOp(values=values):
            return [text for value in values for text in _texts(value, constants)]
        case ast.Name(id=name) if name in constants:
            return _texts(constants[name], constants)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            return [re.sub(r"{.*?}", "…", text) for text in _texts(value, constants)]
    return []
