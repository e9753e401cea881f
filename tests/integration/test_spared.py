"""What processes do without: neither the command nor what it runs loads pandas, or Beam's clients of a cloud."""

import subprocess
import sys

from pipelines.spared import SPARED

LOADED = "import pipelines.cli, pipelines.run, sys; print(*sys.modules, sep='\\n')"


def test_the_command_and_its_run_load_neither() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = run.stdout.split("\n")
    assert "apache_beam.io" in loaded
    assert not set(SPARED) & set(loaded)
    assert run.stderr == ""


def test_the_command_loads_the_sdk_of_object_stores_for_what_lies_in_one_alone() -> None:
    words = "import pipelines.cli, sys; print('boto3' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
