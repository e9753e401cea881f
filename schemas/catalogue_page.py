"""The list of metrics in `schemas/README.md`, made from the catalogue: `python -m schemas.catalogue_page --write`."""

import sys
from collections.abc import Iterable

from schemas.generated_page import Listing, table
from schemas.metrics import Catalogue, Metric, Range, catalogue
from schemas.units import Factor


def listing(of: Catalogue) -> str:
    """The catalogue in Markdown: metrics, value sets, where the ranges come from, conversions, categories."""
    metrics = of.metrics.values()
    parts = [
        f"Version `{of.version}`, {len(of.metrics)} metrics.",
        table(
            ("metric", "what it is", "family, kind", "unit", "possible", "plausible", "category", "LOINC"),
            map(_row, metrics),
        ),
        "### Value sets",
        table(("metric", "code", "meaning"), _value_sets(metrics)),
        "### Sources of the ranges, and notes",
        table(("metric", "possible: source", "plausible: source", "LOINC: note", "note"), map(_sources, metrics)),
        "### Units as sent",
        table(("quantity", "canonical", "also UCUM: canonical =", "also spelled", "metrics"), _units(of)),
        "### Categories",
        table(("category", "what it covers", "a grant by category"), _categories(of)),
    ]
    return "\n\n".join(parts) + "\n"


def _row(metric: Metric) -> tuple[str, ...]:
    possible = [_range(metric.hard)] if metric.hard else []
    possible += [f"{name} {_range(bounds)}" for name, bounds in metric.channels.items()]
    plausible = [f"{_range(metric.plausible)} ({metric.plausible.check})"] if metric.plausible else []
    if metric.hard_per_second:
        possible.append(f"at most {metric.hard_per_second.limit:g} a second")
    if metric.plausible_per_minute:
        limit = metric.plausible_per_minute
        plausible.append(f"at most {limit.limit:g} a minute ({limit.check})")
    return (
        f"`{metric.code}`",
        metric.title,
        f"{metric.family}, {metric.kind.replace('_', ' ')}",
        f"`{metric.unit}`" if metric.value == "number" else metric.value,
        "; ".join(possible),
        "; ".join(plausible),
        metric.category,
        ", ".join(metric.loincs),
    )


def _value_sets(metrics: Iterable[Metric]) -> Iterable[tuple[str, ...]]:
    for metric in metrics:
        for code, meaning in metric.codes.items():
            yield f"`{metric.code}`", f"`{code}`", meaning


def _sources(metric: Metric) -> tuple[str, ...]:
    hard = (metric.hard, metric.hard_per_second)
    plausible = (metric.plausible, metric.plausible_per_minute)
    return (
        f"`{metric.code}`",
        "; ".join(limit.source for limit in hard if limit),
        "; ".join(limit.source for limit in plausible if limit),
        metric.loinc_note or "",
        metric.note or "",
    )


def _units(of: Catalogue) -> Iterable[tuple[str, ...]]:
    for name, quantity in of.quantities.items():
        others = [unit for unit in quantity.units if unit != quantity.unit]
        yield (
            name.replace("_", " "),
            f"`{quantity.unit}`",
            "; ".join(f"`{unit}`: {_formula(quantity.units[unit])}" for unit in others),
            "; ".join(f"`{spelling}` for `{unit}`" for spelling, unit in quantity.synonyms.items()),
            ", ".join(f"`{metric.code}`" for metric in of.metrics.values() if metric.quantity is quantity),
        )


def _formula(factor: Factor) -> str:
    formula = "sent" if factor.factor == "1" else f"sent × {factor.factor}"
    if factor.offset != "0":
        formula += f" − {factor.offset[1:]}" if factor.offset.startswith("-") else f" + {factor.offset}"
    return f"{formula} ({factor.source})" if factor.source else formula


def _categories(of: Catalogue) -> Iterable[tuple[str, ...]]:
    for name, category in of.categories.items():
        yield (
            f"`{name}`",
            category.title,
            "never covers it: each metric is named" if category.by_name_only else "may cover it",
        )


def _range(bounds: Range) -> str:
    return f"{bounds.low:.12g} to {bounds.high:.12g}"


METRICS = Listing("metrics", "schemas.catalogue_page", lambda: listing(catalogue()))

if __name__ == "__main__":
    sys.exit(METRICS.main())
