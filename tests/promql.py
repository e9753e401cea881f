"""PromQL taken apart by the parser that Prometheus' own grammar was ported to: which series and labels it asks for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser as promql


class Asked(NamedTuple):
    """A series by its name, and the labels that are matched, with the values that they must equal."""

    name: str
    equals: dict[str, str]
    labels: frozenset[str]


def selectors(expression: str) -> list[Asked]:
    """Every series that the expression reads; ValueError where it is no PromQL, or of the wrong types."""
    return [_asked(node) for node in _nodes(promql.parse(expression)) if isinstance(node, promql.VectorSelector)]


def grouped_by(expression: str) -> set[str]:
    """Every label by which it sums, joins or keeps apart."""
    nodes = [node for node in _nodes(promql.parse(expression)) if getattr(node, "modifier", None) is not None]
    return {label for node in nodes for label in _labels(node.modifier)}


def _labels(modifier: Any) -> list[str]:
    if isinstance(modifier, promql.AggModifier):
        return list(modifier.labels)
    return list(modifier.matching.labels) if modifier.matching else []


def _asked(node: Any) -> Asked:
    matchers = node.matchers.matchers
    equals = {one.name: one.value for one in matchers if one.op == promql.MatchOp.Equal}
    return Asked(node.name or "", equals, frozenset(one.name for one in matchers))


def _nodes(node: Any) -> Iterator[Any]:
    """It and all that is within it."""
    yield node
    if isinstance(node, promql.MatrixSelector):
        yield from _nodes(node.vector_selector)
    inner = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "param")]
    for part in [*inner, *(node.args if isinstance(node, promql.Call) else ())]:
        if isinstance(part, promql.Expr) or type(part).__module__.startswith("promql_parser"):
            yield from _nodes(part)
