"""Modules that this room's processes do without, though the libraries that they use load them wherever they find them.

pyarrow and Beam load pandas, and Beam its clients of a cloud's tables, of which it then warns that they are not whole.
Nothing in a run uses either, and they would cost every process half a second and 45 MB. Suites, which do use pandas, have
a process of their own.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

SPARED = ("pandas", "apache_beam.io.gcp.bigquery")


class _NotHere(MetaPathFinder):
    """Says of the spared modules that they are not installed."""

    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname in SPARED:
            raise ModuleNotFoundError(f"this process does without {fullname}", name=fullname)


def spare() -> None:
    """From now on these modules cannot be loaded in this process; those that have been stay."""
    if not any(isinstance(finder, _NotHere) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NotHere())
