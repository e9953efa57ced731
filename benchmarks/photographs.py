"""How quickly originals are decoded for people: `python benchmarks/photographs.py`.

Photographs of 12 megapixels are made from two that scikit-learn ships, enlarged, with noise: JPEG files of 3 to 4 MB.
Decoding is timed in processor time; what people wait for, by the clock, alone and beside processes that keep every core
busy. With a server of files that answers after 300 ms, the same from a URL.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from asal.data.decoding import Conversion
from asal.data.ingest import ingest
from asal.data.sources.decode import decode
from asal.data.sources.folder import Folder
from asal.data.views import view
from asal.labelling.photo_cache import PhotoCache
from asal.labelling.photos import EDGES, PHOTO, THUMB, Photos
from asal.project.folder import ProjectFolder
from asal.runtime import environment

HOW = Conversion("pad", "auto")
WIDE, HIGH, NOISE = 4000, 3000, 6.0
LATENCY = 0.3  # seconds
SPEC = 'name = "p"\n[source]\nkind = "folder"\npath = "{}"\n[labelling]\nclasses = ["a", "b"]\n'


def photographs(folder: Path, count: int) -> list[Path]:
    """Write photographs of 12 megapixels."""
    from sklearn.datasets import load_sample_image

    rng, paths = np.random.default_rng(0), []
    folder.mkdir()
    for number in range(count):
        name = ("china.jpg", "flower.jpg")[number % 2]
        large = Image.fromarray(load_sample_image(name)).resize((WIDE, HIGH), Image.Resampling.BICUBIC)
        pixels = np.roll(np.asarray(large, np.float32), (97 * number, 131 * number), (0, 1))
        pixels = pixels + rng.normal(0, NOISE, (HIGH, WIDE, 1)).astype(np.float32)
        paths.append(folder / f"{number:03d}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=92)
    return paths


def decoding(paths: Sequence[Path]) -> Table:
    """Return the processor time of decoding a photograph for each edge, and of decoding all its pixels."""
    rows = Table("at most", "ms of a core", "KB", title=f"decoding {WIDE} × {HIGH}")
    pictures = [decode(path, size=64, gray=False, how=HOW) for path in paths]
    for edges in ((PHOTO, THUMB), (PHOTO,), (THUMB,)):
        taken, sizes = [], dict[int, int]()
        for path, picture in zip(paths, pictures, strict=True):
            begun = time.process_time()
            found = view([path], picture, HOW, edges)
            taken.append(time.process_time() - begun)
            sizes = {edge: len(data) // 1000 for edge, data in found.files.items()}
        size = " + ".join(f"{sizes[edge]:,}" for edge in edges)
        rows.add_row(" + ".join(f"{edge:,}" for edge in edges), f"{1000 * median(taken):.0f}", size)
    taken = []
    for path in paths:
        begun = time.process_time()
        with Image.open(path) as image:
            image.load()
        taken.append(time.process_time() - begun)
    rows.add_row("all pixels, Pillow alone", f"{1000 * median(taken):.0f}", "")
    return rows


@contextmanager
def opened(home: Path, path: str, name: str) -> Iterator[Photos]:
    """Open a project of the photographs at a path or URL, with nothing decoded yet."""
    root = home / name
    if not (root / "pool").exists():
        ingest(Folder(path), root, size=64, fit="pad")
        (root / "asal.toml").write_text(SPEC.format(path))
    folder = tempfile.mkdtemp(dir=home)
    with Photos(ProjectFolder.open(root), PhotoCache(Path(folder))) as photos:
        photos.get(0, "warm").result()  # processes are started
        yield photos


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many cores busy, as a training does."""
    code = "import numpy as np\na = np.ones((600, 600), np.float32)\nwhile True: a @ a"
    with ExitStack() as held:
        for _ in range(processes):
            running = held.enter_context(subprocess.Popen([sys.executable, "-c", code]))
            held.callback(running.kill)
        yield


def throughput(photos: Photos, count: int) -> float:
    """Return how many photographs are decoded in a second, both sizes."""
    begun = time.perf_counter()
    for done in [photos.get(image, "all") for image in range(count)]:
        assert done.result().state == "here"
    return count / (time.perf_counter() - begun)


def waits(photos: Photos, count: int, ahead: int) -> list[float]:
    """Return for how many seconds somebody waits who looks at an image a second, so many handed out ahead."""
    tag, found = f"ahead {ahead}", []
    photos.ahead(range(ahead), tag)
    time.sleep(2.0)  # the page is opened, and read
    for image in range(count):
        photos.ahead(range(image, min(count, image + ahead)), tag)
        begun = time.perf_counter()
        if photos.kept(image, tag, PHOTO) is None:
            photos.get(image, tag).result()
        found.append(time.perf_counter() - begun)
        time.sleep(max(0.0, 1.0 - found[-1]))
    return found


@contextmanager
def slow_server(folder: Path) -> Iterator[str]:
    """Serve files that arrive after 300 ms each; yield the URL."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(LATENCY)
            super().do_GET()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    args = parser.parse_args()
    console, cores = Console(width=140), environment.cores()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        home = Path(folder)
        paths = photographs(home / "images", args.images)
        console.print(decoding(paths[:8]))
        url = held.enter_context(slow_server(home / "images"))
        columns = ("images a second", *(f"95% wait, ahead {ahead}" for ahead in (1, 2, 4, 8)))
        rows = Table("source", "busy cores", *columns, title=f"{EDGES[0]:,} and {EDGES[1]} pixels, by the clock")
        for name, place in (("a folder", str(home / "images")), ("a URL, 300 ms", url)):
            for processes in (0, cores):
                with opened(home, place, "local" if place != url else "remote") as photos, busy(processes):
                    rate = throughput(photos, args.images)
                    ends = [np.quantile(waits(photos, args.images, ahead), 0.95) for ahead in (1, 2, 4, 8)]
                rows.add_row(name, str(processes), f"{rate:.1f}", *(f"{1000 * end:.0f} ms" for end in ends))
        console.print(rows)
    console.print({**environment.hardware(), "commit": environment.commit()})


if __name__ == "__main__":
    main()
