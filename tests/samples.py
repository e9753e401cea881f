"""Real files of public projects, where there are any: never part of the project, their folder is said by SAMPLES_DIR."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.foreign_format import EXAMPLES

SAMPLES = Path(os.environ.get("SAMPLES_DIR", ROOT.parent / "shared" / "samples"))


def samples(pattern: str) -> list[Path]:
    """The files, in order; the test is skipped where there are none."""
    found = sorted(SAMPLES.glob(pattern))
    if not found:
        pytest.skip(f"no real files {pattern}: set SAMPLES_DIR to the folder of samples")
    return found


def adapted(example: str, *arguments: Path | str) -> bytes:
    """The sensor-json lines that an adapter of the partner guide makes of files."""
    command = [sys.executable, str(EXAMPLES / example), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=180).stdout
