"""What processes do without: neither the command nor what it runs loads pandas, or Beam's clients of a cloud."""

import subprocess
import sys

from pipelines.spared import SPARED

LOADED = "import pipelines.cli, pipelines.run, sys; print(*sys.modules, sep='\\n')"


def test_the_command_and_its_run_load_neither() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = run.stdout.split("\n")
    assert "apache_beam.io" in loaded
    assert not {*SPARED, "boto3"} & set(loaded), "and the SDK of object stores is for what lies in one"
    assert run.stderr == ""
