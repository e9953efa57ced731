"""Somebody in front of the page: a real Chromium, a keyboard, and a list of what was pressed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

CHROMIUM = Path("/usr/bin/chromium")  # Debian's
PATIENCE = 60_000  # ms: on a busy machine the first image, which waits for a process to start, takes a while
SHOWN = "#frame:not([hidden]) img"
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => violations.push(`${e.violatedDirective} ${e.blockedURI}`));
"""
AWAY = "Failed to load resource"  # what Chromium itself says of a server that was killed


def launch(playwright: Playwright) -> Browser:
    """Start Chromium."""
    expect.set_options(timeout=PATIENCE)
    return playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])


@dataclass
class Visit:
    """A browser of one's own (cookies, storage), and all that it complained of."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def to(cls, browser: Browser, **options: Any) -> Visit:
        visit = cls(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        visit.context.add_init_script(WATCH)
        visit.context.set_default_timeout(PATIENCE)
        visit.context.on("console", lambda said: visit.hear(said.type, said.text))
        visit.context.on("weberror", lambda failed: visit.complaints.append(str(failed.error)))
        return visit

    def hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not text.startswith(AWAY):
            self.complaints.append(f"{kind}: {text}")

    def open(self, link: str, shown: str = SHOWN) -> Page:
        """Open a tab and wait for what it shows."""
        page = self.context.new_page()
        page.goto(link)
        page.locator(shown).first.wait_for()
        return page

    def close(self) -> None:
        """Close it, and check that it had nothing to complain of."""
        for page in self.context.pages:
            assert page.evaluate("window.violations ?? []") == []
        self.context.close()
        assert self.complaints == []


@dataclass
class Hand:
    """Presses keys in one tab, and knows what it pressed for which image."""

    page: Page
    pressed: dict[int, int | None]  # what the record shall say in the end
    order: list[int] = field(default_factory=list)

    @property
    def image(self) -> int:
        """The image on the stage."""
        return int(self.page.locator(SHOWN).get_attribute("data-image") or "")

    def label(self, label: int | None, *, reload: bool = False) -> None:
        """Press a digit's key, or space; and load the page again at once, where told so."""
        image = first_of(self).image
        assert image not in self.pressed, f"image {image} came twice"
        self.page.keyboard.press(" " if label is None else str(label))
        self.pressed[image] = label
        self.order.append(image)
        if reload:
            self.page.reload()
        self.page.locator(f"#strip button[aria-label^='Image {image},']").wait_for()

    def undo(self) -> None:
        """Press Backspace: the image that was answered last comes again."""
        image = self.order.pop()
        del self.pressed[image]
        self.page.keyboard.press("Backspace")
        self.page.locator(f"#frame img[data-image='{image}']").wait_for()

    def correct(self, back: int, label: int | None) -> None:
        """Go back so many answers, and press another key there."""
        image, now = self.order[-back], self.image
        for _ in range(back):
            self.page.keyboard.press("ArrowLeft")
        self.page.locator(f"#frame img[data-image='{image}']").wait_for()
        expect(self.page.locator("#was")).to_contain_text(f"Image {image} ")
        self.page.keyboard.press(" " if label is None else str(label))
        self.pressed[image] = label
        self.page.locator(f"#frame img[data-image='{now}']").wait_for()

    def saved(self) -> None:
        """Wait until the page says that all is saved."""
        expect(self.page.locator("#saved-text")).to_have_text("Saved")
        while self.page.evaluate("Object.keys(localStorage).some((key) => key.startsWith('asal.outbox'))"):
            self.page.wait_for_timeout(20)


def first_of(*hands: Hand) -> Hand:
    """Wait until one of them has an image, and return it: what one tab has is not in another."""
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end:
        for hand in hands:
            if hand.page.locator(SHOWN).count():
                return hand
        hands[0].page.wait_for_timeout(20)
    raise AssertionError(hands[0].page.locator("#empty").inner_text())
