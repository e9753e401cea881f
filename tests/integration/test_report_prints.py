"""A report in a real browser: it opens from a file, asks nobody for anything, can be read aloud, and prints on A4.

Where there is no Chromium these tests skip. What was printed and seen is left in build/screenshots/.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quality.report.write import write_report
from tests.integration.test_steward_pages import ARGUMENTS, CHROMIUM, SHOTS, findings
from tests.report_world import report_desk
from tests.steward_world import TODAY

A4 = (595, 842)
"""Points."""

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(report_desk(), "sleep", TODAY, tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def page(path: Path) -> Iterator[Any]:
    """The report, opened; at the end it has asked for itself only, and the browser had nothing to say."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        opened = chromium.new_context().new_page()
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(path.as_uri())
        yield opened
        chromium.close()
    assert asked == [path.as_uri()]
    assert not said


def test_it_opens_with_its_pictures_and_the_numbers_behind_them(page: Any) -> None:
    assert page.get_by_role("heading", level=1).inner_text().startswith("Sleep and shift work")
    assert page.get_by_role("img", name="Coverage: share of participants with data").is_visible()
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SHOTS / "report.png"), full_page=True)
    figure = page.locator("figure", has_text="TM-10").first
    assert not figure.locator("table").is_visible()
    figure.locator("summary").press("Enter")
    assert figure.locator("table").is_visible()


def test_nothing_serious_is_wrong_for_those_who_have_it_read_aloud(page: Any, path: Path) -> None:
    """The file's own policy lets no script in; axe runs in a copy without it."""
    copy = path.with_name("copy.html")
    copy.write_text(re.sub(r"<meta http-equiv=[^>]+>", "", path.read_text(encoding="utf-8")), encoding="utf-8")
    other = page.context.new_page()
    try:
        other.goto(copy.as_uri())
        for scheme in ("light", "dark"):
            other.emulate_media(color_scheme=scheme)
            assert findings(other) == []
    finally:
        other.close()


def test_on_a_phone_only_tables_are_wider_than_the_screen(page: Any) -> None:
    before = page.viewport_size
    page.set_viewport_size({"width": 375, "height": 700})
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
    finally:
        page.set_viewport_size(before)


def test_it_prints_on_a4_and_nothing_is_cut_off(page: Any) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    printed = page.pdf(path=str(SHOTS / "report.pdf"), prefer_css_page_size=True, print_background=True)
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert printed.startswith(b"%PDF") and 2 <= len(boxes) <= 12 and os.path.getsize(SHOTS / "report.pdf") > 10_000
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {A4}
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 960})  # A4 less its margins, at 96 dots an inch
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 680
    finally:
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 1280, "height": 720})
