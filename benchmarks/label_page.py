"""Milliseconds from a key press to the next image: `python benchmarks/label_page.py PROJECT`, or pictures of the page.

    asal prepare my-project
    python benchmarks/label_page.py my-project
    python benchmarks/label_page.py --photographs
    python benchmarks/label_page.py --pictures docs/pictures

Headless Chromium (Debian's) opens `asal label` on a copy of the project without its answers, presses the classes' keys
as fast as people do and faster, and reports the time of each press until the browser has painted the next image. The
page always measures this itself (`performance.measure`). No time is below a frame of the screen, 16.7 ms, headless or
not. "on the screen" is what the browser says of the moment at which the photograph was presented. "bare" is the same
swap of two images without asal: the browser's part of the time. With --photographs, the originals have twelve
megapixels, nothing of them is in the cache, and they lie on this disk, or behind a server that takes 300 ms for each.
Where a photograph takes long the page shows the pool's picture first: "photograph" counts until it is replaced.
With --pictures, photographs are prepared and labelled with their true classes, and screenshots of both views are
written: light and dark, wide and on a phone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from sample_photographs import large_photographs, slow_line, small_photographs

CHROMIUM = "/usr/bin/chromium"
SHOWN = "#frame:not([hidden]) img"
DESK: Any = {"viewport": {"width": 1280, "height": 800}}
PHONE: Any = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
RATES = {"4 answers per second": 250, "12 answers per second": 80}  # milliseconds between two
LATENCY = 0.3  # seconds of a slow line
SPEC = """
name = "photographs"

[source]
kind = "folder"
path = "{}"

[pool]
size = 64
fit = "pad"

[pool.split]
validation = 0

[learner]
kind = "linear"
iterations = 5

[protocol]
initial = {}
batch = 10
budget = 100_000

[strategies.random]
"""
SHAPE = "(() => { const it = document.querySelector('#frame img'); return it.naturalWidth / it.naturalHeight; })()"
PRESENTED = """
window.presented = [];
new PerformanceObserver((list) => { for (const { renderTime } of list.getEntries()) presented.push(renderTime); })
  .observe({ type: "element", buffered: true });
const Plain = window.Image;
window.Image = function () { const img = new Plain(); img.setAttribute("elementtiming", "shown"); return img; };
"""
TIMES = """() => {
  const of = (name) => performance.getEntriesByName(`asal: key to ${name}`);
  const screen = of("photograph").map(({ startTime, duration }) => {
    const painted = startTime + duration - 17; // a frame earlier at most
    return Math.min(...presented.filter((at) => at >= painted)) - startTime;
  });
  return { picture: of("picture").map(({ duration }) => duration),
    photograph: of("photograph").map(({ duration }) => duration), "on the screen": screen.filter(Number.isFinite) };
}"""
BARE = """() => new Promise((done) => {
  const frame = document.querySelector("#frame"), images = [frame.firstChild, frame.firstChild.cloneNode()], times = [];
  const step = () => {
    if (times.length === 100) { frame.replaceChildren(images[0]); done(times); return; }
    const from = performance.now();
    frame.replaceChildren(images[times.length % 2]);
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => { times.push(performance.now() - from); setTimeout(step, 40 + Math.random() * 40); };
      port2.postMessage(0);
    });
  };
  step();
})"""


@contextmanager
def served(root: Path, *options: str) -> Iterator[str]:
    """Start `asal label`, yield its link, and end it."""
    command = [sys.executable, "-m", "asal", "label", str(root), "--no-browser", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        link = None
        while link is None:
            link = re.search(r"http\S+", process.stdout.readline())
            assert process.poll() is None
        try:
            yield link[0]
        finally:
            process.terminate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def fresh(root: Path, at: Path, spec: Path | None) -> Path:
    """Copy a project without its answers."""
    shutil.copytree(root, at, ignore=shutil.ignore_patterns("labels.db*", "labelling"))
    if spec is not None:
        shutil.copy(spec, at / "asal.toml")
    return at


def prepared(root: Path, photographs: str, count: int) -> Path:
    """Make and prepare a project of photographs, all of which are asked about in the first batch."""
    from asal.project.project import Project
    from asal.project.spec import load

    root.mkdir()
    (root / "asal.toml").write_text(SPEC.format(photographs, count))
    Project(root, load(root)).prepare()
    return root


def opened(browser: Browser, link: str, **options: Any) -> Page:
    """Open the page and wait for an image."""
    context = browser.new_context(**options)
    context.add_init_script(PRESENTED)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(link)
    page.locator(SHOWN).wait_for()
    return page


def keys(page: Page) -> list[str]:
    """Return the classes' keys."""
    return [button.get_attribute("aria-keyshortcuts") or "" for button in page.locator("#classes button").all()]


def pressing(page: Page, presses: int, wait: int) -> dict[str, list[float]]:
    """Press keys; return the milliseconds until the next image was painted, and until it was on the screen."""
    known = keys(page)
    for i in range(presses):
        page.locator(SHOWN).wait_for()
        page.keyboard.press(known[i % len(known)])
        page.wait_for_timeout(wait)
    page.wait_for_timeout(2_000)
    times: dict[str, list[float]] = page.evaluate(TIMES)
    return times


def line(name: str, times: Sequence[float]) -> str:
    """Return a line of the table."""
    cuts = quantiles(times, n=100, method="inclusive")
    return f"{name:24}{len(times):6}{median(times):9.1f}{cuts[94]:9.1f}{cuts[98]:9.1f}{max(times):9.1f}"


def measure(root: Path, spec: Path | None, presses: int) -> None:
    """Print the times of the presses."""
    print(f"{'milliseconds':24}{'n':>6}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}")
    for name, wait in RATES.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            chromium() as browser,
            served(fresh(root, Path(folder) / "project", spec), "--budget", str(presses + 50)) as link,
        ):
            page = opened(browser, link, **DESK)
            print(name)
            for what, times in pressing(page, presses, wait).items():
                if len(times) > 1:
                    print(line(f"  {what}", times), flush=True)
            page.locator(SHOWN).wait_for()
            print(line("  bare", page.evaluate(BARE)), flush=True)


def measure_photographs(presses: int) -> None:
    """Print the times with originals of twelve megapixels, on this disk and behind a slow line."""
    with tempfile.TemporaryDirectory() as folder:
        originals = Path(folder) / "photographs"
        large_photographs(originals, presses + 30)
        print("on this disk")
        measure(prepared(Path(folder) / "near", str(originals), presses + 20), None, presses)
        with slow_line(originals, LATENCY) as address:
            print(f"\n{1000 * LATENCY:.0f} ms away")
            measure(prepared(Path(folder) / "far", address, presses + 20), None, presses)


def garden(root: Path) -> list[str]:
    """Make a project of small photographs as `asal init` makes it, and prepare it; return their true classes."""
    from asal.project.project import Project
    from asal.project.spec import load

    small_photographs(root.with_name("photos"), 60)
    for command in (["init", str(root), "--images", str(root.with_name("photos"))], ["prepare", str(root)]):
        subprocess.run([sys.executable, "-m", "asal", *command], check=True)
    pool = Project(root, load(root)).original
    return [str(Path(key).parent) for key in pool.keys(np.arange(len(pool)))]


def with_two_classes(all_classes: Path, two: Path) -> Path:
    """Copy the project, with the classes "flower" and "something else"."""
    shutil.copytree(all_classes, two)
    text = re.sub(r"(?m)^initial = \d+", "initial = 150", (two / "asal.toml").read_text())
    text = re.sub(r"(?m)^budget = \d+", "budget = 200", text)
    labelling = '[labelling]\nclasses = ["something else", "flower"]\nstrategy = "random"'
    (two / "asal.toml").write_text(f"{text}\n{labelling}\n")
    return two


def pictures(out: Path) -> None:
    """Write screenshots of both views."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root = Path(folder) / "garden"
        true = garden(root)
        two = with_two_classes(root, Path(folder) / "two")
        with (root / "asal.toml").open("a") as spec:
            spec.write("\n[labelling]\nlease = 5.0\n")  # seconds until a page that was closed has no images any more
        with served(root, "--name", "Ada", "--budget", "200") as link:
            _single(browser, link, out, true)
        with served(two, "--name", "Ada") as link:
            _grid(browser, link, out, true)


def _single(browser: Browser, link: str, out: Path, true: Sequence[str]) -> None:
    page = opened(browser, link, **DESK)
    names = [button.get_attribute("title") for button in page.locator("#classes button").all()]
    press = dict(zip(names, keys(page), strict=True))

    def label(page: Page, key: str) -> None:
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        page.locator(SHOWN).wait_for()

    def looked(**options: Any) -> Page:  # at a photograph that is more to look at than a lake
        page = opened(browser, link, **options)
        while true[_image(page)] not in ("facade", "flower", "roof") or not 0.9 < page.evaluate(SHAPE) < 1.7:
            label(page, press[true[_image(page)]])
        return page

    for i in range(80):
        label(page, " " if i == 75 else press[true[_image(page)]])
    page.context.close()
    for scheme in ("light", "dark"):
        for where, options in (("", DESK), ("-phone", PHONE)):
            page = looked(color_scheme=scheme, **options)
            page.keyboard.press("w" if not where else "Escape")
            _picture(page, out / f"label-single{where}-{scheme}.png")
    page = looked(**DESK)
    page.keyboard.press("p")
    _picture(page, out / "label-stopping-light.png")
    page = looked(color_scheme="dark", **DESK)
    page.mouse.move(520, 330)
    page.keyboard.press("z")
    _picture(page, out / "label-zoom-dark.png")


def _grid(browser: Browser, link: str, out: Path, true: Sequence[str]) -> None:
    for scheme in ("light", "dark"):
        for where, options in (("", DESK), ("-phone", PHONE)):
            page = opened(browser, link, color_scheme=scheme, **options)
            page.keyboard.press("g")
            page.locator(".tile").first.wait_for()
            for tile in page.locator(".tile").all():
                if true[int(tile.get_attribute("data-image") or 0)] == "flower":
                    tile.click()
            _picture(page, out / f"label-grid{where}-{scheme}.png")


def _image(page: Page) -> int:
    return int(page.locator(SHOWN).get_attribute("data-image") or 0)


def _picture(page: Page, path: Path) -> None:
    """Write a screenshot of the complete page, in 256 colours."""
    from PIL import Image

    page.wait_for_timeout(1_500)
    page.screenshot(path=path)
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    exact = [colour for _, colour in sorted(image.getcolors(1 << 24), reverse=True)[:32]]
    rest = image.quantize(256 - len(exact)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(part for colour in exact for part in colour), *rest[: 3 * (256 - len(exact))]])
    few = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    pixels, numbers = np.asarray(image), np.array(few)
    for number, colour in enumerate(exact):  # what is no photograph keeps its colours
        numbers[(pixels == colour).all(axis=2)] = number
    few.putdata(numbers.ravel())
    few.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", nargs="?", type=Path, help="a prepared project; it is copied, and not changed")
    parser.add_argument("--spec", type=Path, help="needed where the project has no asal.toml")
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--photographs", action="store_true", help="measure with originals of twelve megapixels")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write screenshots of the page instead")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if args.pictures is not None:
        pictures(args.pictures)
    elif args.photographs:
        measure_photographs(args.presses)
    elif args.project is not None:
        measure(args.project, args.spec, args.presses)
    else:
        parser.error("name a project, --photographs, or --pictures FOLDER")


if __name__ == "__main__":
    main()
