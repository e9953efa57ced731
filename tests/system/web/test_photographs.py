"""Photographs on the page, in a real browser: shown as they are, looked at closely, and what is said of their files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, expect
from support.browser import CHROMIUM, SHOWN, Visit
from support.http_clients import Served
from support.photograph_projects import photograph_project, sample

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
NASTY = "flower/<img src=x onerror='window.hacked = 1'> & a name of so many words that no line of the page is long.jpg"
LARGE = "building/twelve megapixels.jpg"
COUNT = """
window.urls = new Set(); window.made = 0;
const [make, end] = [URL.createObjectURL, URL.revokeObjectURL];
URL.createObjectURL = (blob) => { const url = make.call(URL, blob); urls.add(url); made += 1; return url; };
URL.revokeObjectURL = (url) => { urls.delete(url); end.call(URL, url); };
"""
BOX = "(node) => { const { x, y, width, height } = node.getBoundingClientRect(); return [x, y, width, height]; }"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of photographs of many shapes, one of them with 12 megapixels, one with a nasty name."""

    def more(folder: Path) -> None:
        sample("building").resize((4000, 3000)).save(folder / LARGE, quality=80)
        sample("flower").save(folder / NASTY)

    everything = {"initial": 30, "batch": 10, "budget": 200}
    return photograph_project(tmp_path_factory.mktemp("photographs") / "project", 14, more, protocol=everything)


@pytest.fixture
def served(root: Path, tmp_path: Path) -> Iterator[Served]:
    """Serve a copy of it."""
    with Served(copied(root, tmp_path)) as serving:
        yield serving
        assert "Traceback" not in serving.stop()


def copied(root: Path, folder: Path) -> Path:
    return Path(shutil.copytree(root, folder / "own"))


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


def link(served: Served) -> str:
    return f"{served.url}/#token={served.token}"


def box(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Return where something is on the screen: left, top, width, height."""
    left, top, width, height = page.locator(selector).first.evaluate(BOX)
    return left, top, width, height


def middle(page: Page, selector: str) -> tuple[float, float]:
    left, top, width, height = box(page, selector)
    return left + width / 2, top + height / 2


def key(page: Page) -> str:
    """Return the name under the image, in full."""
    page.locator(SHOWN).wait_for()
    return page.locator("#caption .file").get_attribute("title") or ""


def level(page: Page) -> str | None:
    """Return what the page says of how closely one looks; None: the picture is shown as it fits."""
    shown = page.locator("#stage .level")
    return shown.inner_text() if shown.is_visible() else None


def size_of(path: Path) -> tuple[int, int]:
    """Return a photograph's size as a person sees it."""
    with Image.open(path) as opened:
        return ImageOps.exif_transpose(opened).size


def next_one(page: Page, press: str = "1") -> None:
    """Answer, and wait until another image is there."""
    image = page.locator(SHOWN).get_attribute("data-image")
    page.keyboard.press(press)
    page.locator(f"#frame:not([hidden]) img:not([data-image='{image}'])").wait_for()


def until(page: Page, there: Callable[[Page], bool]) -> None:
    """Answer until an image is one of these."""
    for _ in range(40):
        if there(page):
            return
        next_one(page)
    raise AssertionError("there is no such image")


def test_every_photograph_is_shown_in_its_own_shape_and_sharp(
    served: Served, root: Path, visit: Callable[..., Visit], record_property: Callable[[str, object], None]
) -> None:
    visitor = visit()
    visitor.context.add_init_script(COUNT)
    page = visitor.open(link(served))
    asked: list[str] = []
    page.on("request", lambda it: "edge=2048" in it.url and asked.append(it.url))
    stage, seen = box(page, "#stage"), dict[str, float]()
    for _ in range(30):
        name = key(page)
        wide, high = size_of(root / "photos" / name)
        shown = page.locator(SHOWN).evaluate("(img) => [img.naturalWidth, img.naturalHeight, img.className]")
        assert shown[2] == "" and shown[0] / shown[1] == pytest.approx(wide / high, rel=0.02), name
        assert min(0.9 * 2048, max(wide, high)) <= max(shown[:2]) <= 2048, name
        _, _, width, height = box(page, SHOWN)
        assert width / height == pytest.approx(wide / high, rel=0.02), name
        assert width <= stage[2] + 1 and height <= stage[3] + 1
        assert max(width / stage[2], height / stage[3], width / 640, height / 640) > 0.98, name  # as large as is useful
        expect(page.locator("#caption .lost")).to_be_hidden()
        seen[name] = wide / high
        if len(seen) == 30:
            break
        next_one(page)
    assert min(seen.values()) < 0.4 and max(seen.values()) > 2.5 and {LARGE, NASTY} <= set(seen)
    assert page.evaluate("[made, urls.size]") == [30, 0]  # nothing of a photograph stays once it is answered
    assert len(asked) == len(set(asked)) <= 30
    assert page.evaluate("window.hacked") is None and page.locator("img[onerror]").count() == 0
    times = page.evaluate("performance.getEntriesByName('asal: key to picture').map(({ duration }) => duration)")
    record_property("key to picture, ms", [round(each) for each in times])
    assert len(times) > 15  # the others were not asked for yet
    thumbs = page.locator("#strip img").evaluate_all("(all) => all.map((img) => img.getAttribute('src'))")
    assert thumbs and all("edge=256" in src for src in thumbs)
    page.keyboard.press("h")
    page.locator("#history .was img").first.wait_for()
    page.locator("#history .was img").first.evaluate("(img) => img.decode()")
    thumb = page.locator("#history .was img").first.evaluate("(img) => Math.max(img.naturalWidth, img.naturalHeight)")
    assert 100 <= thumb <= 256
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")  # back to an answered image: the photograph again
    expect(page.locator("#was")).to_be_visible()
    assert key(page) in seen


def test_a_closer_look_by_wheel_and_drag(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    until(page, lambda it: key(it) == LARGE)
    _, _, width, _ = box(page, SHOWN)
    x, y = middle(page, SHOWN)
    x, y = x + width / 4, y + 20
    page.mouse.move(x, y)
    before = width
    for _ in range(4):
        left, top, width, _ = box(page, SHOWN)
        part = ((x - left) / width, (y - top) / width)  # of the picture: what is under the pointer
        page.mouse.wheel(0, -300)
        page.wait_for_function(
            "(width) => document.querySelector('#frame').getBoundingClientRect().width > width", arg=width
        )
        left, top, now, _ = box(page, SHOWN)
        assert now > 1.2 * width
    assert ((x - left) / now, (y - top) / now) == pytest.approx(part, abs=0.01)  # it stays there
    expect(page.locator("#said")).to_have_text(re.compile(r"^Zoom: \d+ %\. Arrow keys move it, Escape ends it\.$"))
    page.mouse.down()
    page.mouse.move(x - 60, y - 30, steps=4)
    page.mouse.up()
    moved = box(page, SHOWN)
    assert (moved[0], moved[1]) == pytest.approx((left - 60, top - 30), abs=2)
    page.keyboard.press("ArrowRight")
    assert box(page, SHOWN)[0] < moved[0] - 50  # it moves the picture, and goes to no other
    page.keyboard.press("Escape")
    assert level(page) is None and box(page, SHOWN)[2] == pytest.approx(before, abs=1)


def test_a_closer_look_by_keys_double_click_and_button(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    until(page, lambda it: key(it) == LARGE)
    before, pixels = box(page, SHOWN)[2], page.locator(SHOWN).evaluate("(img) => img.naturalWidth")
    x, y = middle(page, SHOWN)
    page.keyboard.press("z")
    assert level(page) == "1 : 1" and box(page, SHOWN)[2] == pytest.approx(pixels, abs=2)
    page.keyboard.press("z")
    assert level(page) is None
    page.mouse.dblclick(x, y)
    assert level(page) == "1 : 1"
    page.mouse.dblclick(x, y)
    assert level(page) is None
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert box(page, SHOWN)[2] > 1.5 * before
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert level(page) is None
    page.get_by_role("button", name="Zoom").click()
    assert level(page) == "1 : 1"
    expect(page.get_by_role("button", name="Zoom")).to_have_attribute("aria-pressed", "true")
    next_one(page)
    assert level(page) is None  # it ends with the next image
    expect(page.get_by_role("button", name="Zoom")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("-")
    next_one(page, "u")
    assert key(page) == LARGE and box(page, SHOWN)[2] < before  # smaller than the room stays
    page.keyboard.press("0")
    assert box(page, SHOWN)[2] == pytest.approx(before, abs=1)


def test_fingers_pinch_move_and_tap_twice(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit(**PHONE).open(link(served))
    tools = page.context.new_cdp_session(page)
    x, y = middle(page, "#stage")

    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(points)]
        tools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    _, _, before, _ = box(page, SHOWN)
    touch("touchStart", (x - 30, y), (x + 30, y))
    for step in range(1, 9):
        touch("touchMove", (x - 30 - 8 * step, y), (x + 30 + 8 * step, y))
    touch("touchEnd")
    page.wait_for_function("document.querySelector('#stage').classList.contains('zoomed')")
    left, _, now, _ = box(page, SHOWN)
    assert now / before == pytest.approx(188 / 60, rel=0.05)
    touch("touchStart", (x, y))
    for step in range(1, 5):
        touch("touchMove", (x + 10 * step, y))
    touch("touchEnd")
    assert box(page, SHOWN)[0] == pytest.approx(left + 40, abs=3)
    for _ in range(2):
        touch("touchStart", (x, y))
        touch("touchEnd")
    page.wait_for_function("!document.querySelector('#stage').classList.contains('zoomed')")
    assert box(page, SHOWN)[2] == pytest.approx(before, abs=1)
    small = (
        "nodes => nodes.filter((n) => n.offsetParent && Math.min(n.offsetWidth, n.offsetHeight) < 40).map((n) => n.id)"
    )
    assert page.locator("#single button, header button").evaluate_all(small) == []
    for name in ("#classes button >> nth=1", "#undo", "#caption .copy", "#caption .zoom", SHOWN):
        expect(page.locator(name)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.mark.parametrize("clipboard", ["the browser's", "none, as on a plain http address"])
def test_the_name_is_shown_and_copied_as_text(served: Served, visit: Callable[..., Visit], clipboard: str) -> None:
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    if clipboard != "the browser's":
        visitor.context.add_init_script(
            "if (navigator.clipboard) navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden'));"
        )
    page = visitor.open(link(served))
    until(page, lambda it: key(it) == NASTY)
    text = page.locator("#caption .file")
    expect(text).to_have_text(NASTY)
    expect(page.locator("#caption .folder")).to_have_text("flower/")
    start = page.locator("#caption .start")
    page.set_viewport_size({"width": 900, "height": 800})
    assert start.evaluate("(node) => node.scrollWidth > node.clientWidth")  # it is shortened in the middle
    expect(page.locator("#caption .end")).to_have_text(NASTY[-14:])
    expect(page.locator("#caption .end")).to_be_in_viewport(ratio=1)
    page.locator("#caption .copy").click()
    expect(page.locator("#toast")).to_have_text("The name is copied.")
    assert page.evaluate("navigator.clipboard.readText()") == NASTY
    next_one(page)  # the keys are the page's again


def test_a_tile_is_looked_at_over_the_grid(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    page.keyboard.press("g")
    page.locator(".tile img").first.wait_for()
    sizes = page.locator(".tile img").evaluate_all(
        "(all) => all.map((img) => [Math.max(img.naturalWidth, img.naturalHeight), img.className])"
    )
    assert all(100 <= longest <= 256 and not names for longest, names in sizes)
    tiles = page.locator(".tile").evaluate_all("(all) => all.map((tile) => tile.dataset.image)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("z")
    look = page.locator("#look")
    expect(look.locator(".frame img")).to_have_attribute("data-image", tiles[1])
    longest = "(img) => Math.max(img.naturalWidth, img.naturalHeight)"
    assert look.locator(".frame img").evaluate(longest) > 256
    expect(look.locator(".caption .file")).not_to_be_empty()
    page.keyboard.press("z")
    expect(look.locator(".level")).to_be_visible()
    page.keyboard.press("z")
    page.keyboard.press("ArrowRight")
    expect(look.locator(".frame img")).to_have_attribute("data-image", tiles[2])
    page.keyboard.press("Space")
    expect(page.locator("#look-label")).to_have_text("flower")
    page.keyboard.press("Enter")  # confirms no page that is not seen
    page.keyboard.press("Escape")
    expect(look).to_be_hidden()
    expect(page.locator(f".tile[data-image='{tiles[2]}']")).to_be_focused()
    expect(page.locator(f".tile[data-image='{tiles[2]}']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#odd")).to_have_text("1 is marked")
    page.locator(f".tile[data-image='{tiles[3]}']").dblclick()
    expect(look.locator(".frame img")).to_have_attribute("data-image", tiles[3])
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator("#odd")).to_have_text("1 is marked")  # its two clicks marked nothing


def test_what_takes_long_is_stood_in_for(served: Served, visit: Callable[..., Visit]) -> None:
    visitor = visit()
    held: list[Any] = []
    late = re.compile(r"/photos/.*edge=2048")

    def hold(route: Any) -> None:
        held.append(route)

    visitor.context.route(late, hold)
    page = visitor.open(link(served))
    expect(page.locator("#caption .lost")).to_have_text(
        "The photograph is on its way: this is the pool's 64-pixel picture."
    )
    assert "crisp" in (page.locator(SHOWN).get_attribute("class") or "")
    before = page.locator(SHOWN).get_attribute("data-image")
    while held:
        held.pop().continue_()
        page.wait_for_timeout(20)
    expect(page.locator("#caption .lost")).to_be_hidden()
    assert page.locator(SHOWN).get_attribute("data-image") == before
    assert not page.locator(SHOWN).get_attribute("class")
    visitor.context.unroute(late)
    visitor.context.route(late, lambda route: route.fulfill(status=500, body=""))
    page.reload()
    expect(page.locator("#caption .lost")).to_have_text(re.compile("^The photograph cannot be shown at present: "))
    visitor.context.unroute(late)
    page.wait_for_timeout(100)


def test_what_became_of_a_file_is_said(root: Path, tmp_path: Path, visit: Callable[..., Visit]) -> None:
    own = copied(root, tmp_path)
    lost = {}
    for i, name in enumerate(sorted(path.name for path in (own / "photos" / "building").iterdir())[:9]):
        file = own / "photos" / "building" / name
        if i % 3 == 0:
            file.unlink()
            lost[f"building/{name}"] = "The file is gone"
        elif i % 3 == 1:
            sample("flower").resize((200, 300)).save(file)
            lost[f"building/{name}"] = "The file has changed since it was read"
        else:
            file.write_bytes(file.read_bytes()[:300])
            lost[f"building/{name}"] = "The file cannot be read"
    with Served(own) as serving:
        page = visit(color_scheme="dark").open(link(serving))
        found = {}
        while len(found) < len(lost):
            name = key(page)
            if name in lost:
                expect(page.locator("#caption .lost")).to_have_text(
                    f"{lost[name]}: this is the pool's 64-pixel picture."
                )
                assert page.locator(SHOWN).evaluate("(img) => img.naturalWidth") == 64
                found[name] = True
            else:
                expect(page.locator("#caption .lost")).to_be_hidden()
            next_one(page)


def test_a_frame_shows_what_the_classifier_sees(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    root = photograph_project(tmp_path / "cut", 5, pool={"fit": "crop"}, protocol={"initial": 10, "budget": 20})
    with Served(root) as serving:
        page = visit().open(link(serving))
        until(page, lambda it: box(it, SHOWN)[2] > 1.5 * box(it, SHOWN)[3])
        frame, image = box(page, "#frame .sees"), box(page, SHOWN)
        assert frame[2] == pytest.approx(image[3], abs=1) and frame[3] == pytest.approx(image[3], abs=1)
        assert middle(page, "#frame .sees") == pytest.approx(middle(page, SHOWN), abs=1)
        expect(page.locator("#sees-what")).to_contain_text("64 × 64 pixels")
        page.get_by_label("Frame it on the photograph").uncheck()
        expect(page.locator("#frame .sees")).to_be_hidden()
        page.reload()
        page.locator(SHOWN).wait_for()
        expect(page.get_by_label("Frame it on the photograph")).not_to_be_checked()
        expect(page.locator("#frame .sees")).to_be_hidden()


def test_nothing_is_framed_where_all_is_seen(served: Served, visit: Callable[..., Visit]) -> None:
    page = visit().open(link(served))
    expect(page.locator("#sees")).to_be_hidden()
    expect(page.locator("#frame .sees")).to_be_hidden()
