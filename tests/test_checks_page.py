"""The stewards' list of checks is in step with the catalogue, and says of each what it is."""

from pathlib import Path

import pytest

from quality.checks import Check, checks
from quality.checks_page import CHECKS, FOLLOWS, PAGE, WHERE, listing, rule
from quality.gate import BITS


def test_the_list_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert CHECKS.main(["--check", "--page", str(PAGE)]) == 0, capsys.readouterr().err


def test_a_list_that_is_behind_is_found_and_mended(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{CHECKS.begin}\n{CHECKS.end}\nafter\n", encoding="utf-8")
    assert CHECKS.main(["--check", "--page", str(page)]) == 1
    assert CHECKS.main(["--write", "--page", str(page)]) == 0
    assert CHECKS.main(["--check", "--page", str(page)]) == 0


def test_every_check_is_told_with_its_state_and_every_bit_with_its_value() -> None:
    told = listing(checks()).split("### Bits")
    rows = [line for line in told[0].splitlines() if line.startswith("| ")]
    for check in checks().values():
        own = [row for row in rows if row.startswith(f"| {check.id} |")]
        assert len(own) == 2, check.id
        assert ("(dormant)" in own[0]) == (not check.is_active)
        assert FOLLOWS[check.action] in own[0] and WHERE[check.where] in own[1]
    for name, bit in BITS.items():
        assert f"| {name} | {bit} | {1 << bit} |" in told[1]


@pytest.mark.parametrize(
    ("text", "parameters", "wanted"),
    [
        ("longer than `back_s`", {"back_s": 1}, "longer than 1 second"),
        ("more than `off_share`", {"off_share": 0.05}, "more than 5 %"),
        ("`drift_s_per_day`", {"drift_s_per_day": 5}, "5 seconds per day"),
        ("one of `factors`", {"factors": (18.0, 0.5)}, "one of 18, 0.5"),
        ("`valid_days`", {"valid_days": 4}, "4 days"),
        ("by metric", {"keeps_h": {"zinc": 8}}, "by metric; `keeps_h`: zinc 8"),
        ("`robust_z`", {"robust_z": 6}, "6"),
    ],
)
def test_numbers_stand_in_the_rule(text: str, parameters: dict[str, object], wanted: str) -> None:
    check = Check.model_validate({**checks()["PL-00"].model_dump(), "rule": text, "parameters": parameters})
    assert rule(check) == wanted
