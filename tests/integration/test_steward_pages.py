"""The desk in a real browser: a steward's way through it, two people's decision, keyboard, phone, and what is not said.

Where there is no Chromium these tests skip. Screenshots are left in build/screenshots/.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.sources import ROOT
from tests.steward_world import PSEUDONYM, TODAY
from tests.stewards import PASSWORD

CHROMIUM = Path(os.environ.get("WELLSPRING_TEST_CHROMIUM", "/usr/bin/chromium"))
AXE = ROOT / "tests" / "vendor" / "axe-4.14.1.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
SHOTS = ROOT / "build" / "screenshots"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SERIOUS = ("serious", "critical")
PAGES = {
    "studies": "/",
    "study": "/studies/sleep",
    "coverage": "/studies/sleep/coverage",
    "check": "/studies/sleep/checks/PL-01",
    "waiting": "/studies/sleep/waiting",
    "rows": f"/studies/sleep/rows?check=PL-01&day={TODAY}",
    "participants": "/studies/sleep/participants",
    "proposals": "/studies/sleep/proposals",
    "proposal": f"/studies/sleep/proposals/{3:032x}",
    "decisions": "/studies/sleep/decisions",
    "audit": "/studies/sleep/audit",
    "fault": "/studies/cycle",
}

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}")


@dataclass
class Visitor:
    """A browser window of one person, and all that it asked for and complained about."""

    page: Any
    origin: str
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.origin}{path}")

    def sign_in(self, name: str) -> None:
        self.go("/sign-in")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.origin}/")

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)

    def check(self) -> None:
        """Nothing was asked of anybody else, and the browser had nothing to say."""
        assert not [url for url in self.asked if not url.startswith(f"{self.origin}/")]
        assert not self.said


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """A desk that is served."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.steward_server"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    port = process.stdout.readline().strip()
    assert port, process.stderr.read()
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, origin: str) -> Iterator[Any]:
    """Opens a window of its own for each visitor; at the end none has asked or complained about anything."""
    visitors: list[Visitor] = []

    def begin(**options: Any) -> Visitor:
        context = browser.new_context(**options)
        visitor = Visitor(context.new_page(), origin)
        visitor.page.on("request", lambda request: visitor.asked.append(request.url))
        visitor.page.on("console", lambda message: visitor.said.append(message.text))
        visitor.page.on("pageerror", lambda error: visitor.said.append(str(error)))
        visitors.append(visitor)
        return visitor

    yield begin
    for visitor in visitors:
        visitor.page.context.close()
        visitor.check()


def findings(page: Any, rules: str = "") -> list[str]:
    """What axe finds serious on a page; it runs beside the page's own policy, which lets no foreign script in."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(f"axe.run(document, {{resultTypes: ['violations'], {rules}}})")
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['target'] for node in one['nodes']][:3])}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]


def test_a_steward_goes_from_the_first_page_to_the_rows_and_two_people_release_them(visit: Any) -> None:
    bob, cyd = visit(), visit()
    bob.sign_in("bob")
    bob.shot("studies")
    page = bob.page
    page.get_by_role("link", name="Sleep and shift work").click()
    bob.shot("study")
    page.get_by_role("link", name="PL-00").click()
    bob.shot("check")
    page.get_by_role("link", name="All rows that wait for PL-00").click()
    page.get_by_role("row").filter(has_text="watch").get_by_role("link").first.click()
    assert PSEUDONYM in page.content()
    page.get_by_role("button", name="Release …").click()
    assert "a second person approves" in page.content()
    bob.shot("preview")
    page.get_by_label("Reason").fill("the strap was new")
    page.get_by_role("button", name=re.compile("Propose to release")).click()
    assert "has not answered yet" in page.content()
    page.get_by_text("Done").wait_for(timeout=10_000)
    bob.shot("request")

    cyd.sign_in("cyd")
    cyd.go("/studies/sleep/proposals")
    row = cyd.page.get_by_role("row").filter(has_text="the strap was new")
    row.get_by_role("link").click()
    cyd.shot("proposal")
    cyd.page.get_by_label("Reason").fill("seen the rows")
    cyd.page.get_by_role("button", name="Approve").click()
    cyd.page.get_by_text(re.compile(r"Done: \d+ rows")).wait_for(timeout=10_000)
    cyd.go("/studies/sleep/decisions")
    approved = cyd.page.get_by_role("row").filter(has_text="seen the rows").inner_text()
    assert "approve" in approved and "cyd" in approved and "bob" in approved
    cyd.go("/studies/sleep/audit")
    assert cyd.page.get_by_role("row").filter(has_text="bob").filter(has_text="rows").count() >= 1
    cyd.page.get_by_role("button", name="Sign out").click()
    cyd.go("/studies/sleep")
    assert cyd.page.url.endswith("/sign-in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_finding(visit: Any, scheme: str) -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256
    cyd = visit(color_scheme=scheme, bypass_csp=True)
    rules = "runOnly: ['color-contrast']" if scheme == "dark" else ""
    cyd.go("/sign-in")
    found = {"sign-in": findings(cyd.page, rules)}
    cyd.sign_in("cyd")
    for name, path in PAGES.items():
        cyd.go(path)
        found[name] = findings(cyd.page, rules)
        if scheme == "dark":
            cyd.shot(f"dark-{name}")
    cyd.said.clear()  # that a page was not found
    assert not any(found.values()), found


def test_a_phone_shows_every_page_without_scrolling_it_sideways(visit: Any) -> None:
    cyd = visit(viewport={"width": 360, "height": 740}, device_scale_factor=2)
    cyd.sign_in("cyd")
    for name, path in PAGES.items():
        cyd.go(path)
        cyd.shot(f"phone-{name}")
        assert cyd.page.evaluate("document.documentElement.scrollWidth") <= 360, name
    cyd.said.clear()


def test_the_keyboard_is_enough_to_sign_in_and_to_reach_the_content(visit: Any) -> None:
    vic = visit()
    vic.go("/sign-in")
    press = vic.page.keyboard.press
    assert vic.page.evaluate("document.activeElement.id") == "name"
    vic.page.keyboard.type("vic")
    press("Tab")
    vic.page.keyboard.type(PASSWORD)
    press("Enter")
    vic.page.wait_for_url(f"{vic.origin}/")
    press("Tab")
    assert vic.page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    assert vic.page.evaluate("document.activeElement.id") == "main"
    press("Tab")
    assert vic.page.evaluate("document.activeElement.getAttribute('href')") == "/studies/sleep"
    outline = vic.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline not in ("none", "")


def test_it_works_without_scripts(visit: Any) -> None:
    ada = visit(java_script_enabled=False)
    ada.sign_in("ada")
    ada.go("/studies/sleep")
    ada.page.get_by_label("Reason").fill("seen")
    ada.page.get_by_role("button", name=re.compile("Sign off")).click()
    assert "has not answered yet" in ada.page.content()
    ada.page.wait_for_timeout(1_600)
    ada.page.get_by_role("link", name="Look now").click()
    assert "Done" in ada.page.content()
