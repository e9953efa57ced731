"""The end of the budget on the page: it says so, what comes next, and asks no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import CHROMIUM, SHOWN, Visit
from support.http_clients import Bot, Served
from support.many_clients import project

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")
STAGES = "async (doing) => { const { progressText } = await import('./static/empty.js'); return progressText(doing); }"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(project(tmp_path / "few", 21)) as serving:
        yield serving


@pytest.fixture
def page(served: Served, browser: Browser) -> Iterator[Page]:
    visit = Visit.to(browser, permissions=["clipboard-read", "clipboard-write"])
    yield visit.open(f"{served.url}/#token={served.token}")
    visit.close()


def test_the_page_says_that_all_is_done_and_what_comes_next(served: Served, page: Page) -> None:
    for _ in range(21):
        page.locator(SHOWN).wait_for()
        image = page.locator(SHOWN).get_attribute("data-image")
        page.keyboard.press("1")
        page.locator(f"#strip button[aria-label^='Image {image},']").wait_for()
    expect(page.locator("#empty h2")).to_have_text(re.compile("^Done"))
    doing = Bot(served.url, served.token).get("/api/status")["doing"]
    assert doing["stage"] == "finished" and doing["next"].startswith("asal export ")
    expect(page.locator("#empty .command code")).to_have_text(doing["next"])
    expect(page.locator("#stage-name")).to_have_text("Finished")
    page.get_by_role("button", name="Copy the command").click()
    assert page.evaluate("navigator.clipboard.readText()") == doing["next"]
    expect(page.locator(SHOWN)).to_have_count(0)
    expect(page.locator("#classes button").first).to_be_disabled()
    page.keyboard.press("Backspace")  # what was answered last can still be taken back
    page.locator(SHOWN).wait_for()


def test_the_time_left_is_that_of_all_steps(page: Page) -> None:
    step = {"done": 30, "total": 120, "since": 60, "left": None}
    assert page.evaluate(STAGES, step) == "25 %, about 3 minutes to go."
    assert page.evaluate(STAGES, {**step, "left": 600}) == "25 % of this step, about 10 minutes to go in all."
    assert page.evaluate(STAGES, {**step, "done": 0, "total": 0}) == "60 seconds so far."
