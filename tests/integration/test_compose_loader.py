"""The compose file, loaded by Compose's own loader: what is merged, named and waited for is there."""

import json
import subprocess

import pytest

from tests.go_programs import go_program
from tests.test_compose import FOLDER, SERVICES

LOADER = "github.com/compose-spec/compose-go/v2/cmd", "v2.16.2"


def test_the_loader_takes_it_as_it_is_meant() -> None:
    program = go_program(*LOADER, name="compose-spec")
    if program is None:
        pytest.skip("no compose-spec: install Go, by which it is built once")
    words = [program, "-format", "json", "compose.yaml"]
    said = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    loaded = json.loads(said.stdout)["services"]
    assert set(loaded) == set(SERVICES)
    assert loaded["driver"]["depends_on"]["keys"]["condition"] == "service_completed_successfully"
    assert "$(cat /run/secrets/s3_access_key)" in loaded["s3"]["entrypoint"][-1]
