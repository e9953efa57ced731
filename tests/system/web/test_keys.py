"""Which label a key press gives, on the keyboards that people have: nothing but the class that it names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import CHROMIUM, SHOWN, Visit
from support.http_clients import Bot, Served

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")
CLASSES = ["1", "3", "10", "é", "A", "a", "s", "two words", "@"]
KEYS = ["1", "3", "2", "é", "4", "5", "s", "6", "@"]
PRESS = """async ([key, code, more]) => {
  const press = (type) => document.activeElement.dispatchEvent(
    new KeyboardEvent(type, { key, code, bubbles: true, cancelable: true, ...more }));
  const last = () => document.querySelector("#strip button")?.getAttribute("aria-label") ?? null;
  const before = last();
  const taken = !press("keydown");
  press("keyup");
  for (let i = 0; i < 3; i += 1) await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [last() === before ? null : /labelled (.*): correct it$/.exec(last())[1], taken];
}"""
SHIFT, CTRL, ALT = {"shiftKey": True}, {"ctrlKey": True}, {"altKey": True}
GRAPH = {"modifierAltGraph": True, "ctrlKey": True, "altKey": True}
PRESSES = [
    ("US", "1", "Digit1", {}, "1"),
    ("number pad", "1", "Numpad1", {}, "1"),
    ("number pad without Num Lock", "End", "Numpad1", {}, None),
    ("French", "&", "Digit1", {}, "1"),
    ("French, with Shift", "1", "Digit1", SHIFT, "1"),
    ("French: é is a class's name", "é", "Digit2", {}, "é"),
    ("French, with Shift", "2", "Digit2", SHIFT, "10"),
    ("French: no zoom", "-", "Digit6", {}, "two words"),
    ("French: no zoom, no class", "-", "Digit9", {}, None),
    ("Czech", "+", "Digit1", {}, "1"),
    ("Arabic", "\u0661", "Digit1", {}, "1"),
    ("US, with Shift", "!", "Digit1", SHIFT, None),
    ("the other of its keys", "2", "Numpad2", {}, "10"),
    ("a name in another case", "S", "KeyS", SHIFT, "s"),
    ("Russian", "\u044b", "KeyS", {}, "s"),
    ("Dvorak: another letter stands there", "o", "KeyS", {}, None),
    ("Caps Lock would exchange A and a", "a", "KeyA", {}, None),
    ("Caps Lock would exchange A and a", "A", "KeyA", SHIFT, None),
    ("the key of A", "4", "Digit4", {}, "A"),
    ("German @", "@", "KeyQ", GRAPH, "@"),
    ("AltGr makes no digit", "\u00b9", "Digit1", GRAPH, None),
    ("the browser's", "1", "Digit1", CTRL, None),
    ("the browser's zoom", "+", "Equal", CTRL, None),
    ("the browser's", "1", "Digit1", ALT, None),
    ("the browser's", "1", "Digit1", {"metaKey": True}, None),
    ("an input method composes", "1", "Digit1", {"isComposing": True}, None),
    ("an input method took it", "Process", "Digit1", {}, None),
    ("half an accent", "Dead", "Digit6", {}, None),
    ("held down", "1", "Digit1", {"repeat": True}, None),
]


@pytest.fixture(scope="module")
def page(browser: Browser, prepared: Path, tmp_path_factory: pytest.TempPathFactory, write_spec: Any) -> Iterator[Page]:
    root = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("keys") / "tiny"))
    protocol = {"initial": 200, "batch": 10, "budget": 400}
    write_spec(root, protocol=protocol, labelling={"classes": CLASSES, "strategy": "random"})
    with Served(root) as served:
        given = Bot(served.url, served.token).get("/api/project")["classes"]
        assert [one["key"] for one in given] == KEYS
        visit = Visit.to(browser)
        yield visit.open(f"{served.url}/#token={served.token}")
        visit.close()


@pytest.mark.parametrize(("keyboard", "key", "code", "more", "label"), PRESSES)
def test_a_press_gives_the_label_that_it_names_or_none(
    page: Page, keyboard: str, key: str, code: str, more: dict[str, bool], label: str | None
) -> None:
    page.locator(SHOWN).wait_for()
    size = page.locator(SHOWN).bounding_box()
    found, taken = page.evaluate(PRESS, [key, code, more])
    assert found == label, keyboard
    if more in (CTRL, ALT):
        assert not taken  # it is left to the browser
    page.locator(SHOWN).wait_for()
    assert page.locator(SHOWN).bounding_box() == size


def test_a_letter_that_two_names_share_says_their_keys(page: Page) -> None:
    page.locator(SHOWN).wait_for()
    assert page.evaluate(PRESS, ["a", "KeyA", {}]) == [None, True]
    expect(page.locator("#toast")).to_have_text("A has the key 4, a has the key 5: they differ by case alone.")


def test_a_key_that_a_remote_screen_sends_again_and_again_labels_one_image(page: Page) -> None:
    page.locator(SHOWN).wait_for()
    tools = page.context.new_cdp_session(page)
    count = "document.querySelectorAll('#strip button').length"
    newest = page.locator("#strip button").first.get_attribute("aria-label")
    second = page.locator("#strip button").nth(1).get_attribute("aria-label") if page.evaluate(count) > 1 else None
    for _ in range(10):
        tools.send("Input.dispatchKeyEvent", {"type": "keyDown", "key": "3", "code": "Digit3", "text": "3"})
    tools.send("Input.dispatchKeyEvent", {"type": "keyUp", "key": "3", "code": "Digit3"})
    page.wait_for_timeout(200)
    after = [button.get_attribute("aria-label") for button in page.locator("#strip button").all()]
    assert re.search(r"labelled 3:", after[0] or "") and after[1] == newest and (second is None or after[2] == second)


def test_a_command_gives_its_letter_to_the_class_of_this_name(page: Page) -> None:
    assert page.locator("#to-single").get_attribute("aria-keyshortcuts") is None  # s
    assert page.locator("#guess").get_attribute("aria-keyshortcuts") == "m"
    page.locator("[data-panel=help]").click()
    text = page.locator("#keys").inner_text()
    assert "space" in text and re.search(r"\bh\s+history", text)
    page.keyboard.press("Escape")
