"""The labelling page in a real browser, against a real server: what is pressed is what the record says."""

from __future__ import annotations

import csv
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as PlaywrightError
from support.browser import CHROMIUM, PATIENCE, SHOWN, Hand, Visit, first_of
from support.commands import Command
from support.http_clients import Bot, Served
from support.many_clients import project, tokens

from asal.session.events import Event, Record
from asal.session.state import State, fold

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")

NASTY = "<img src=x onerror='window.hacked = 1'>"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
PANELS = {"h": "history", "p": "stopping", "t": "team", "?": "help"}

CONTRAST = """(pairs) => {
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    probe.remove();
    const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return pairs.map(([one, other]) => {
    const [dark, light] = [colour(one), colour(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  });
}"""


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Return `visit(**options)`: a browser of one's own, which has nothing to complain of in the end."""
    made: list[Visit] = []

    def begin(**options: Any) -> Visit:
        made.append(Visit.to(browser, **options))
        return made[-1]

    yield begin
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def served(prepared: Path, tmp_path_factory: pytest.TempPathFactory, write_spec: Any) -> Iterator[Served]:
    """Return a server for a question with two answers, one of which is called by a nasty name."""
    root = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("page") / "tiny"))
    protocol = {"initial": 350, "batch": 10, "budget": 400}
    labelling = {"classes": [NASTY, "odd"], "strategy": "random", "lease": 5.0}
    write_spec(root, name="two", protocol=protocol, labelling=labelling)
    with Served(root) as serving:
        yield serving
        assert "Traceback" not in serving.stop()  # whatever was refused


def link(served: Served) -> str:
    return f"{served.url}/#token={served.token}"


def events(root: Path) -> list[Event]:
    with Record.open(root / "labels.db") as record:
        return list(record.read())


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than the screen."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide


def filled(page: Page, key: str) -> None:
    """Wait until the panel of a key shows what the server says."""
    expect(page.locator(f"#{PANELS[key]}")).to_be_visible()
    expect(page.locator(f"#{PANELS[key]} [aria-busy]")).to_have_count(0)


def check_what_is_kept(root: Path, pressed: dict[int, int | None]) -> None:
    """Check the export and the record against what was pressed: nothing lost, nothing doubled, nothing else."""
    with (root / "labels" / "labels.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert {int(row["id"]): int(row["number"]) if row["number"] else None for row in rows} == pressed
    assert len(rows) == len(pressed) == 60
    state = fold(State(), events(root))
    assert dict(state.answers) | dict(state.skips) == pressed
    told = [event for event in events(root) if event.kind in {"answered", "skipped"}]
    undone = Counter(event.image for event in events(root) if event.kind == "withdrawn")
    assert Counter(event.image for event in told) == Counter(list(pressed)) + undone  # none twice
    assert all(0 <= event.body["seconds"] < 60 for event in told)


def test_what_is_pressed_is_what_is_exported(
    tiny: Path, visit: Callable[..., Visit], write_spec: Any, asal: Command
) -> None:
    write_spec(tiny, protocol={"initial": 50, "batch": 10, "budget": 100}, labelling={"strategy": "uncertainty"})
    rng, visitor, pressed = random.Random(0), visit(), dict[int, int | None]()
    with Served(tiny) as served:
        page = visitor.open(link(served))
        assert page.url == f"{served.url}/"  # the token is gone from the address
        hand = Hand(page, pressed)

        def some(n: int, hand: Hand = hand) -> None:
            for _ in range(n):
                hand.label(rng.choice([*range(10), None]))

        some(10)
        hand.undo()
        hand.label(7)
        hand.undo()
        hand.undo()
        some(5)
        hand.correct(3, 1 if pressed[hand.order[-3]] != 1 else 2)
        hand.correct(1, None if pressed[hand.order[-1]] is not None else 4)
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Escape")  # a look back changes nothing
        some(12)

        hand.label(3, reload=True)
        some(2)
        hand.undo()
        some(1)

        other = Hand(visitor.open(served.url), pressed)
        assert other.image != hand.image
        for _ in range(4):
            some(1, other)
            some(1)

        hand.saved()
        served.kill()
        some(3)
        expect(page.locator("#saved-text")).to_have_text("3 answers wait to be saved")
        with pytest.raises(PlaywrightError, match="ERR_CONNECTION_REFUSED"):
            page.reload()
        other.label(5)
        with other.page.expect_response("**/api/next", timeout=PATIENCE):
            served.start()
        page.goto(served.url)
        hand.saved()
        while len(pressed) < 60:
            some(1, first_of(hand, other))
        hand.saved()
        other.saved()
    assert asal("export", tiny, tiny / "labels").code == 0
    check_what_is_kept(tiny, pressed)


def test_the_keyboard_is_enough(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    press = page.keyboard.press
    skip = page.locator(".skip")
    skip.focus()
    expect(skip).to_be_in_viewport()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press("Enter")
    expect(page.locator("#desk")).to_be_focused()
    seen = []
    for _ in range(30):
        press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"class", "skip"} & set(seen) and seen.index("class") < seen.index("skip")
    button = page.locator("#classes button").nth(1)
    button.focus()
    before = page.locator(SHOWN).get_attribute("src")
    press("Space")  # a focused button's own key is not "can't tell"
    expect(page.locator("#strip button").first).to_contain_text("odd")
    expect(button).to_be_focused()
    assert page.locator(SHOWN).get_attribute("src") != before
    page.locator("#desk").focus()
    for key, name in PANELS.items():
        press(key)
        expect(page.locator(f"#{name}")).to_be_visible()
        expect(page.locator(f"#{name} h2")).to_be_focused()
        expect(page.locator(f"#{name} [aria-busy]")).to_have_count(0)
        press("Escape")
        expect(page.locator(f"#{name}")).to_be_hidden()
        expect(page.locator("#desk")).to_be_focused()
    press("w")
    expect(page.locator("#why-body")).to_contain_text("strategy")


def test_a_key_that_is_held_labels_one_image(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    before = page.locator("#strip button").count()
    for _ in range(4):
        page.keyboard.down("1")
    page.keyboard.up("1")
    page.keyboard.press("Control+2")  # the browser's own
    expect(page.locator("#strip button")).to_have_count(min(before + 1, 14))
    page.keyboard.press("?")
    page.get_by_label("Single keys work").uncheck()
    page.keyboard.press("Escape")
    shown = page.locator(SHOWN).get_attribute("src")
    page.keyboard.press("1")
    assert page.locator(SHOWN).get_attribute("src") == shown


def test_it_fits_a_phone(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit(**PHONE).open(link(served))
    for name in (SHOWN, "#classes button >> nth=0", "#classes button >> nth=1", "#undo", "#skip", "#guess"):
        expect(page.locator(name)).to_be_in_viewport(ratio=1)
    small = (
        "nodes => nodes.filter((n) => n.offsetParent && Math.min(n.offsetWidth, n.offsetHeight) < 40).map((n) => n.id)"
    )
    assert page.locator("#single button, header button").evaluate_all(small) == []
    assert overflow(page) == 0
    page.locator("#classes button").first.tap()
    page.locator("#menu").tap()
    page.get_by_role("button", name="Grid").tap()
    page.locator(".tile").first.wait_for()
    expect(page.locator("#confirm")).to_be_in_viewport(ratio=1)
    assert page.locator(".tile").evaluate_all(small) == []
    bottom = "getBoundingClientRect().bottom"
    hidden = f"nodes => nodes.filter((n) => n.{bottom} > n.closest('.sheet').{bottom})"
    assert page.locator(".tile").evaluate_all(f"{hidden}.length") == 0
    for name in PANELS.values():
        page.locator("#menu").tap()
        page.locator(f"[data-panel={name}]").tap()
        expect(page.locator(f"#{name}")).to_be_visible()
        expect(page.locator(f"#{name} [aria-busy]")).to_have_count(0)
        assert overflow(page) == 0
        page.locator(f"#{name} .close").tap()
    page.set_viewport_size({"width": 320, "height": 640})
    assert overflow(page) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_reader_and_can_be_read(served: Served, visit: Callable[..., Visit], scheme: Any) -> None:
    page = visit(color_scheme=scheme, reduced_motion="reduce").open(link(served))
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    here, there = (light, dark) if scheme == "light" else (dark, light)
    pairs = [
        *[(text, ground) for text in ("ink", "soft", "warn", "accent") for ground in ("paper", "tint", "raised")],
        ("on-accent", "accent"), ("accent", "wash"), ("ink", "wash"), ("good", "paper"), ("paper", "warn"),
    ]  # fmt: skip
    for ground in (here, there):
        assert page.evaluate(paper) == ground
        found = dict(zip(pairs, page.evaluate(CONTRAST, pairs), strict=True))
        assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}
        page.locator("#theme").click()
    page.locator("#theme").click()
    page.reload()
    page.locator(SHOWN).wait_for()
    assert page.evaluate(paper) == there  # what was chosen stays


def test_a_script_in_a_name_is_text(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    expect(page.locator("#classes button").first).to_contain_text(NASTY)
    page.keyboard.press("1")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#was")).to_contain_text(NASTY)
    page.keyboard.press("Escape")
    for key in PANELS:
        page.keyboard.press(key)
        filled(page, key)
        page.keyboard.press("Escape")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[onerror]").count() == 0


def test_every_control_has_a_name(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    page.keyboard.press("1")
    tools = page.context.new_cdp_session(page)
    for before in ("s", "g", *PANELS):
        page.keyboard.press(before)
        if before in PANELS:
            filled(page, before)
        else:
            expect(page.locator("#grid" if before == "g" else "#single")).to_be_visible()
        tree = tools.send("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "link", "checkbox", "combobox", "textbox", "progressbar", "dialog", "img", "image", "region"}
        nodes = [node for node in tree if not node["ignored"] and node["role"]["value"] in roles]
        nameless = [node for node in nodes if not node.get("name", {}).get("value", "").strip()]
        assert len(nodes) > 1 and nameless == []
        if before in PANELS:
            page.keyboard.press("Escape")


def test_a_page_of_the_grid_is_one_request(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    posts: list[Any] = []
    page.on("request", lambda it: it.method == "POST" and "/api/next" not in it.url and posts.append(it.post_data_json))
    page.keyboard.press("g")
    page.locator(".tile").first.wait_for()
    images = page.locator(".tile").evaluate_all("tiles => tiles.map((tile) => Number(tile.dataset.image))")
    page.locator(".tile").nth(2).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("Space")  # marked, and no longer
    expect(page.locator("#odd")).to_have_text("3 are marked")
    page.keyboard.press("Enter")
    expect(page.locator(f".tile[data-image='{images[0]}']")).to_have_count(0)
    expect(page.locator("#saved-text")).to_have_text("Saved")
    wanted = {image: 0 for image in images} | {images[2]: 1, images[3]: 1, images[4]: None}
    assert len(posts) == 1 and {it["image"]: it["label"] for it in posts[0]["answers"]} == wanted
    page.keyboard.press("u")
    page.locator(f".tile[data-image='{images[0]}']").click()
    page.keyboard.press("Enter")
    expect(page.locator(f".tile[data-image='{images[0]}']")).to_have_count(0)
    Hand(page, {}).saved()
    assert len(posts) == 2 and [it["image"] for it in posts[1]["answers"]] == [images[0]]
    state = fold(State(), events(served.root))
    assert {image: (dict(state.answers) | dict(state.skips))[image] for image in images} == wanted | {images[0]: 1}


def test_the_guess_is_hidden_until_somebody_asks(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    expect(page.locator("#bias")).to_be_hidden()
    image = Hand(page, {}).image
    page.keyboard.press("m")
    expect(page.locator("#bias")).not_to_be_empty()
    page.keyboard.press("2")
    expect(page.locator("#bias")).to_be_hidden()
    Hand(page, {}).saved()
    told = [event for event in events(served.root) if event.image == image and event.kind == "answered"]
    assert told[-1].body["guess"] is True


def test_a_stranger_signs_in(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(served.url, "#enter-form")
    field = page.get_by_label("Your token")
    expect(field).to_be_focused()
    field.fill("asal_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"^This token .+ project\. Paste the .+ new one\.$"))
    field.fill(served.token)
    page.keyboard.press("Enter")
    page.locator(SHOWN).wait_for()
    assert served.token not in page.content()
    page.get_by_role("button", name="Sign out").click()
    page.locator("#enter-form").wait_for()


def test_the_team_panel_shows_how_far_people_agree(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    root = project(tmp_path / "team", 30, overlap=2)
    with Served(root) as serving:
        for label, key in enumerate(tokens(root, ["Ada", "Bob"]).values()):
            bot = Bot(serving.url, key)
            bot.answer((bot.next()[0]["image"], label))
        page = visit().open(link(serving))
        page.keyboard.press("t")
        filled(page, "t")
        body = page.locator("#team-body")
        expect(body).to_contain_text("on 1 image with two votes or more")
        expect(body).to_contain_text("Ada and Bob:")
        expect(body.get_by_role("heading", name="Disputed images (1)")).to_be_visible()


def test_a_tab_says_that_another_one_has_the_images(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    with Served(project(tmp_path / "few", 21)) as serving:
        browser = visit()
        for _ in range(4):  # each holds six ready
            browser.open(link(serving))
        page = browser.open(link(serving), "#empty:not([hidden])")
        expect(page.locator("#empty")).to_contain_text("Another tab of yours has the rest")


def test_a_duplicated_tab_has_images_of_its_own(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    with page.expect_popup() as opened:
        page.evaluate("window.open('/')")  # the browser copies sessionStorage, where the tab's name is
    other = opened.value
    other.locator(SHOWN).wait_for()
    names = [tab.evaluate("sessionStorage.getItem('asal.tab')") for tab in (page, other)]
    assert names[0] != names[1]
    assert Hand(page, {}).image != Hand(other, {}).image


def test_what_is_pressed_is_kept_while_the_record_cannot_be_written(
    served: Served, visit: Callable[..., Visit]
) -> None:
    """On a full disk, or without its database, the server says 503: the page sends again, and says why."""
    page = visit().open(link(served))
    full = {"error": {"rule": "a record must be open to writing", "got": "the disk is full", "hint": "mend that"}}
    writing = re.compile(r"/api/(next|answers)$")
    page.route(writing, lambda route: route.fulfill(status=503, json=full))
    pressed = []
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end:  # what the page holds ready can be answered all the same
        if page.locator(SHOWN).count():
            pressed.append(Hand(page, {}).image)
            page.keyboard.press("2")
        page.wait_for_timeout(50)
        if page.locator("#empty:not([hidden])", has_text="disk").count():
            break
    expect(page.locator("#empty")).to_contain_text("the disk is full")
    expect(page.locator("#saved-text")).to_have_text(f"{len(pressed)} answers wait to be saved")
    expect(page.locator("#refused")).to_be_hidden()
    page.unroute(writing)
    Hand(page, {}).saved()
    state = fold(State(), events(served.root))
    assert pressed and {state.answers.get(image) for image in pressed} == {1}
