"""The group `operators`: what an operator's choices cost, each beside the plainest one in the same run."""

from collections.abc import Callable, Iterator

from pipelines.bench.bucket import bucket_beside_folder
from pipelines.bench.figures import Figure
from pipelines.bench.flink import flink

Say = Callable[[str], None]

FIGURES: tuple[Callable[[Say], Iterator[Figure]], ...] = (bucket_beside_folder, flink)
"""Each gives its figures, or none and says why."""


def operators(say: Say) -> Iterator[Figure]:
    """Every figure of the group, as it is measured, on parts of their own."""
    for measure in FIGURES:
        yield from measure(say)
