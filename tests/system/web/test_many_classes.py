"""Hundreds of classes on the page: found by name, never shortened alike, those used last in front."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import CHROMIUM, SHOWN, Visit
from support.http_clients import Served

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")
LONG = "a name of very many words that nobody would want to read on a button but that somebody has given, number "
CLASSES = (
    [f"Panthera pardus {k:03}" for k in range(160)] + [f"{LONG}{k}" for k in range(38)] + ["Éléphant", "lion  cub"]
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
SHORT = "async ([lists, most]) => { const { shortNames } = await import('./static/names.js');" + (
    " return lists.map((names) => most.map((n) => shortNames(names, n))); }"
)
CUT = """() => [...document.querySelectorAll("#classes .name, #recent button, .strip .tag, .counts .what")].filter(
  (node) => node.clientWidth && node.scrollWidth > node.clientWidth + 2).map((node) => node.textContent)"""


@pytest.fixture(scope="module")
def served(prepared: Path, tmp_path_factory: pytest.TempPathFactory, write_spec: Any) -> Iterator[Served]:
    root = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("many") / "tiny"))
    protocol = {"initial": 300, "batch": 10, "budget": 400}
    write_spec(root, protocol=protocol, labelling={"classes": CLASSES, "strategy": "random"})
    with Served(root) as serving:
        yield serving


@pytest.fixture
def page(served: Served, browser: Browser) -> Iterator[Page]:
    visit = Visit.to(browser)
    yield visit.open(f"{served.url}/#token={served.token}")
    visit.close()


def newest(page: Page, name: str) -> None:
    expect(page.locator("#strip button").first).to_have_attribute(
        "aria-label", re.compile(f"labelled {re.escape(name)}:")
    )


def find(page: Page, text: str) -> None:
    """Type a name, and Enter."""
    page.locator(SHOWN).wait_for()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_a_class_is_found_by_its_name_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.get_by_label("Find a class")).to_be_focused()
    find(page, "/pard 123")  # the key once more is not a letter
    newest(page, "Panthera pardus 123")
    expect(page.get_by_label("Find a class")).to_have_value("")
    find(page, "ELEPH")  # neither case nor accents
    newest(page, "Éléphant")
    find(page, "cub lion")  # in any order
    newest(page, "lion cub")
    page.keyboard.type("pardus 01")
    expect(page.locator("#found")).to_have_text("12 classes")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#said")).to_contain_text("Panthera pardus 012, 3 of 12")
    page.keyboard.press("Enter")
    newest(page, "Panthera pardus 012")
    before = page.locator(SHOWN).get_attribute("src")
    find(page, "unicorn")
    expect(page.locator("#found")).to_have_text("No class is called so.")
    page.keyboard.press("Escape")
    expect(page.locator("#desk")).to_be_focused()
    page.keyboard.press("Enter")  # nothing is marked
    assert page.locator(SHOWN).get_attribute("src") == before
    page.keyboard.press("1")
    newest(page, "Panthera pardus 000")


def test_enter_that_is_held_labels_one_image(page: Page) -> None:
    count = page.locator("#strip button").count()
    page.keyboard.press("/")
    page.keyboard.type("pardus 055")
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    newest(page, "Panthera pardus 055")
    assert page.locator("#strip button").count() <= count + 1


def test_the_classes_used_last_are_in_front_and_keep_their_places(page: Page) -> None:
    places = "[...document.querySelectorAll('#recent button')].map((node) => Number(node.dataset.last))"
    page.evaluate("localStorage.clear()")
    page.reload()
    page.locator(SHOWN).wait_for()
    page.keyboard.press("/")
    for number in (150, 151, 152, 153, 154, 155):
        find(page, f"pardus {number}")
        newest(page, f"Panthera pardus {number}")
    page.wait_for_function(f"{places}.length === 6")
    assert page.evaluate(places) == [150, 151, 152, 153, 154, 155]
    find(page, "pardus 150")
    newest(page, "Panthera pardus 150")
    find(page, "pardus 120")  # takes the place of 151, which was not used for longest
    newest(page, "Panthera pardus 120")
    page.wait_for_function(f"{places}.includes(120)")
    assert page.evaluate(places) == [150, 120, 152, 153, 154, 155]
    page.keyboard.type("pardus 15")  # among equals, those used last
    expect(page.locator("#classes .class").first).to_have_attribute("data-class", "150")
    assert page.locator("#classes .class").nth(1).get_attribute("data-class") == "155"
    page.keyboard.press("Escape")
    page.reload()
    page.locator(SHOWN).wait_for()
    assert page.evaluate(places) == [150, 120, 152, 153, 154, 155]
    page.locator("#recent button").nth(2).click()
    newest(page, "Panthera pardus 152")


def test_nothing_moves_while_the_list_gets_shorter(page: Page) -> None:
    where = "[...document.querySelectorAll('#frame, #find, #recent, #undo')].map((n) => n.getBoundingClientRect().top)"
    page.locator(SHOWN).wait_for()
    before = page.evaluate(where)
    page.keyboard.press("/")
    page.keyboard.type("elephant")
    assert page.locator("#classes .class").count() == 1
    assert page.evaluate(where) == before


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_no_name_is_cut_and_no_two_look_alike(served: Served, browser: Browser, options: Any) -> None:
    visit = Visit.to(browser, **options)
    page = visit.open(f"{served.url}/#token={served.token}")
    names = page.locator("#classes .name").all_inner_texts()
    titles = page.locator("#classes .class").evaluate_all("nodes => nodes.map((node) => node.title)")
    assert titles == CLASSES and len(set(names)) == len(CLASSES)
    assert page.evaluate(CUT) == []
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    box = page.locator("#frame").bounding_box()
    assert box is not None and min(box["width"], box["height"]) > 60
    expect(page.get_by_label("Find a class")).to_be_in_viewport(ratio=1)
    visit.close()


def test_random_names_are_shortened_unlike_each_other(page: Page) -> None:
    rng = random.Random(0)
    words = [
        "Panthera",
        "pardus",
        "subspecies",
        "x",
        "  ",
        "é",
        "e\u0301",
        "\u200b",
        "01",
        "10",
        "(2)",
        "·2",
        "…",
        " 3",
        "😀",
    ]
    lists = [
        list({"".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(rng.randint(2, 40))}) for _ in range(150)
    ]
    lists = [[name for name in names if name.strip()] for names in lists]
    most = [5, 9, 28, 90]
    for names, shown in zip(lists, page.evaluate(SHORT, [lists, most]), strict=True):
        for n, texts in zip(most, shown, strict=True):
            assert len(set(texts)) == len(names), (n, names, texts)
            assert all("  " not in text and text == text.strip() for text in texts)
    assert page.evaluate(SHORT, [[["cat", "dog"]], [9]]) == [[["cat", "dog"]]]
