"""The partner guide's worked examples are as short as it says. What they write is in `integration/test_examples.py`."""

from tests.foreign_format import EXAMPLES


def test_examples_are_short_and_need_nothing_installed() -> None:
    programs = [example for example in EXAMPLES.glob("*.py") if not example.name.startswith("withings_weight")]
    assert len(programs) >= 3
    for example in programs:  # the format that is added is a module of ours, and has its own test
        code = example.read_text(encoding="utf-8").split('"""')[2].splitlines()
        assert len([line for line in code if line.strip()]) <= 35, example.name
        assert not any(room in line for line in code for room in ("connectors", "schemas", "pipelines"))
