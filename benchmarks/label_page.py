"""Milliseconds from a key press to the next image: `python benchmarks/label_page.py PROJECT`, or pictures of the page.

    asal prepare my-project
    python benchmarks/label_page.py my-project
    python benchmarks/label_page.py --pictures docs/pictures

Headless Chromium (Debian's) opens `asal label` on a copy of the project without its answers, presses the classes' keys
as fast as people do and faster, and reports the time of each press until the browser has painted the next image. The
page always measures this itself (`performance.measure`). No time is below a frame of the screen, 16.7 ms, headless or
not. "bare" is the same swap of two images without asal: the browser's part of the time. With --pictures, hand-written
digits are prepared and labelled with their true labels, and screenshots of both views are written: light and dark, wide
and on a phone.
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

CHROMIUM = "/usr/bin/chromium"
SHOWN = "#frame:not([hidden]) img"
DESK: Any = {"viewport": {"width": 1280, "height": 800}}
PHONE: Any = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
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


def opened(browser: Browser, link: str, **options: Any) -> Page:
    """Open the page and wait for an image."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(120_000)
    page.goto(link)
    page.locator(SHOWN).wait_for()
    return page


def keys(page: Page) -> list[str]:
    """Return the classes' keys."""
    return [button.get_attribute("aria-keyshortcuts") or "" for button in page.locator("#classes button").all()]


def pressing(page: Page, presses: int, wait: int) -> list[float]:
    """Press keys; return the milliseconds until the next image was painted."""
    known = keys(page)
    for i in range(presses):
        page.locator(SHOWN).wait_for()
        page.keyboard.press(known[i % len(known)])
        page.wait_for_timeout(wait)
    times: list[float] = page.evaluate(
        "performance.getEntriesByName('asal: key to picture').map(({ duration }) => duration)"
    )
    return times


def line(name: str, times: Sequence[float]) -> str:
    """Return a line of the table."""
    cuts = quantiles(times, n=100)
    return f"{name:24}{len(times):6}{median(times):9.1f}{cuts[94]:9.1f}{cuts[98]:9.1f}{max(times):9.1f}"


def measure(root: Path, spec: Path | None, presses: int) -> None:
    """Print the times of the presses."""
    print(f"{'milliseconds':24}{'n':>6}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}")
    for name, wait in (("4 answers per second", 250), ("12 answers per second", 80)):
        with (
            tempfile.TemporaryDirectory() as folder,
            chromium() as browser,
            served(fresh(root, Path(folder) / "project", spec), "--budget", str(presses + 50)) as link,
        ):
            page = opened(browser, link, **DESK)
            print(line(name, pressing(page, presses, wait)), flush=True)
            page.locator(SHOWN).wait_for()
            print(line("  bare", page.evaluate(BARE)), flush=True)


def digits(root: Path) -> list[int]:
    """Prepare hand-written digits; return their true labels."""
    from asal.experiments import demo
    from asal.project.project import Project
    from asal.project.spec import load
    from asal.session.oracles.stored import Stored

    root.mkdir()
    shutil.copy(Path(demo.__file__).with_name("demo.toml"), root / "asal.toml")
    project = Project(root, load(root))
    project.prepare()
    return [int(label) for label in Stored.open(root / "pool").answer(np.arange(len(project.original)))]


def with_two_classes(ten: Path, two: Path) -> Path:
    """Copy the digits, with the classes "five" and "another digit"."""
    shutil.copytree(ten, two)
    text = (
        (two / "asal.toml").read_text().replace("initial = 20", "initial = 200").replace("budget = 200", "budget = 300")
    )
    labelling = '[labelling]\nclasses = ["another digit", "five"]\nstrategy = "random"'
    (two / "asal.toml").write_text(f"{text}\n{labelling}\n")
    return two


def pictures(out: Path) -> None:
    """Write screenshots of both views."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        ten = Path(folder) / "ten"
        true = digits(ten)
        two = with_two_classes(ten, Path(folder) / "two")
        with served(ten, "--strategy", "asal", "--name", "Ada") as link:
            _single(browser, link, out, true)
        with served(two, "--name", "Ada") as link:
            _grid(browser, link, out, true)


def _single(browser: Browser, link: str, out: Path, true: Sequence[int]) -> None:
    page = opened(browser, link, **DESK)
    for i in range(90):
        image = _image(page)
        page.keyboard.press(" " if i == 84 else str(true[image]))
        page.wait_for_timeout(250)
        page.locator(SHOWN).wait_for()
    for scheme in ("light", "dark"):
        for where, options in (("", DESK), ("-phone", PHONE)):
            page = opened(browser, link, color_scheme=scheme, **options)
            page.keyboard.press("w" if not where else "Escape")
            _picture(page, out / f"label-single{where}-{scheme}.png")
    page = opened(browser, link, **DESK)
    page.keyboard.press("p")
    _picture(page, out / "label-stopping-light.png")


def _grid(browser: Browser, link: str, out: Path, true: Sequence[int]) -> None:
    for scheme in ("light", "dark"):
        for where, options in (("", DESK), ("-phone", PHONE)):
            page = opened(browser, link, color_scheme=scheme, **options)
            page.keyboard.press("g")
            page.locator(".tile").first.wait_for()
            for tile in page.locator(".tile").all():
                if true[int(tile.get_attribute("data-image") or 0)] == 5:
                    tile.click()
            _picture(page, out / f"label-grid{where}-{scheme}.png")


def _image(page: Page) -> int:
    return int(re.findall(r"\d+", page.locator(SHOWN).get_attribute("src") or "")[0])


def _picture(page: Page, path: Path) -> None:
    """Write a screenshot of the complete page, in 256 colours, which are more than it has."""
    from PIL import Image

    page.wait_for_timeout(1_500)
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", nargs="?", type=Path, help="a prepared project; it is copied, and not changed")
    parser.add_argument("--spec", type=Path, help="needed where the project has no asal.toml")
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write screenshots of the page instead")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if args.pictures is not None:
        pictures(args.pictures)
    elif args.project is not None:
        measure(args.project, args.spec, args.presses)
    else:
        parser.error("name a project, or --pictures FOLDER")


if __name__ == "__main__":
    main()
