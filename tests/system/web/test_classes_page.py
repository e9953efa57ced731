"""Classes that change while people label, as the page shows it: to who changes them, and to who labels meanwhile."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import CHROMIUM, SHOWN, Hand, Visit
from support.http_clients import Bot, Served
from support.many_clients import tokens

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")


@pytest.fixture
def served(prepared: Path, tmp_path: Path, write_spec: Any) -> Iterator[Served]:
    root = Path(shutil.copytree(prepared, tmp_path / "tiny"))
    protocol = {"initial": 200, "batch": 10, "budget": 400}
    write_spec(root, protocol=protocol, labelling={"classes": ["cat", "dog", "bird"], "strategy": "random"})
    with Served(root) as serving:
        yield serving


def keys(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#classes .class')].map((n) =>"
        " [n.querySelector('.name').textContent, n.getAttribute('aria-keyshortcuts')]))"
    )
    return found


def change(page: Page, row: str, way: str) -> None:
    page.locator("#kinds li", has_text=row).get_by_role("button", name=f"{way} {row}").click()


def test_everybodys_page_follows(served: Served, browser: Browser) -> None:
    token = tokens(served.root, ["Ada"])["Ada"]
    judges, ada = Visit.to(browser), Visit.to(browser)
    judge, page = judges.open(f"{served.url}/#token={served.token}"), ada.open(f"{served.url}/#token={token}")
    expect(page.locator("#to-kinds")).to_be_hidden()
    hand = Hand(page, {})
    hand.label(2)
    hand.saved()

    judge.get_by_role("button", name="Classes").click()
    judge.get_by_label("New class").fill("fox")
    judge.keyboard.press("Enter")
    expect(judge.locator("#kinds li", has_text="fox")).to_be_visible()
    expect(judge.locator("#classes .class")).to_have_count(4)
    assert keys(judge) == {"cat": "1", "dog": "2", "bird": "3", "fox": "4"}
    expect(page.locator("#changed-text")).to_contain_text("“fox” is new: key 4.")
    assert keys(page) == keys(judge)
    page.locator(SHOWN).wait_for()
    page.keyboard.press("4")  # no key has moved: the work goes on
    expect(page.locator("#strip button").first).to_have_attribute("aria-label", re.compile("labelled fox"))

    change(judge, "dog", "Rename")
    judge.get_by_label("Its new name").fill("wolf")
    judge.keyboard.press("Enter")
    expect(judge.locator("#kinds li", has_text="wolf")).to_be_visible()
    expect(page.locator("#changed-text")).to_contain_text("“dog” is called “wolf” now.")
    expect(page.locator("#strip button").nth(1)).to_have_attribute("aria-label", re.compile("labelled wolf"))

    change(judge, "fox", "Merge")
    judge.get_by_label("Count “fox”").select_option(label="wolf")
    judge.locator("#kinds form button", has_text="Merge").click()
    expect(page.locator("#changed-text")).to_contain_text("“fox” counts as “wolf” now.")
    expect(page.locator("#strip button").first).to_have_attribute("aria-label", re.compile("labelled wolf"))
    assert keys(page) == {"cat": "1", "wolf": "2", "bird": "3"}

    change(judge, "cat", "Drop")
    judge.locator("#kinds form button", has_text="Drop").click()
    expect(page.locator("#changed-text")).to_contain_text("“cat” is gone.")
    assert keys(page) == {"wolf": "2", "bird": "3"}, "a key has moved"
    shown = page.locator(SHOWN).get_attribute("src")
    page.keyboard.press("1")
    assert page.locator(SHOWN).get_attribute("src") == shown
    expect(judge.locator("#kinds li", has_text="cat: dropped")).to_be_visible()
    judge.locator("#kinds li", has_text="cat: dropped").get_by_role("button").click()
    expect(page.locator("#changed-text")).to_contain_text("“cat” is new: key 1.")
    judges.close()
    ada.close()


def test_where_a_key_moves_nothing_is_labelled_until_this_was_read(served: Served, browser: Browser) -> None:
    visit, bot = Visit.to(browser), Bot(served.url, served.token)
    page = visit.open(f"{served.url}/#token={served.token}")
    page.locator("#finder").wait_for(state="hidden")
    bot.post("/api/classes", {"key": "a-class-called-1", "change": "add", "names": ["1"]})
    expect(page.locator("#changed-text")).to_contain_text("“cat” has the key 2 now, not 1.")
    assert keys(page) == {"cat": "2", "dog": "3", "bird": "4", "1": "1"}
    shown = page.locator(SHOWN).get_attribute("src")
    for key in ("1", "2", " "):
        page.keyboard.press(key)
    expect(page.locator("#classes button").first).to_be_disabled()
    assert page.locator(SHOWN).get_attribute("src") == shown
    page.keyboard.press("Enter")
    expect(page.locator("#changed")).to_be_hidden()
    page.keyboard.press("1")
    expect(page.locator("#strip button").first).to_have_attribute("aria-label", re.compile("labelled 1:"))
    visit.close()


def test_a_change_that_is_refused_says_why(served: Served, browser: Browser) -> None:
    visit = Visit.to(browser)
    page = visit.open(f"{served.url}/#token={served.token}")
    page.get_by_role("button", name="Classes").click()
    change(page, "dog", "Rename")
    page.get_by_label("Its new name").fill("cat")
    page.keyboard.press("Enter")
    expect(page.locator("#kinds li form .error")).to_contain_text("cat")
    assert keys(page) == {"cat": "1", "dog": "2", "bird": "3"}
    visit.close()
