"""Photographs for benchmarks and pictures, cut from the two that scikit-learn brings; also behind a slow line."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

BUILDING, FLOWER = 0, 1  # the two photographs, 640 × 427
REGIONS: dict[str, list[tuple[int, tuple[int, int, int, int]]]] = {  # class → in which photograph, and where
    "facade": [(BUILDING, (60, 125, 360, 350))],
    "flower": [(FLOWER, (140, 50, 480, 380))],
    "lake": [(BUILDING, (340, 90, 550, 280))],
    "roof": [(BUILDING, (70, 15, 350, 190))],
    "trees": [(BUILDING, (370, 300, 640, 427)), (BUILDING, (545, 140, 640, 427)), (BUILDING, (0, 325, 210, 427))],
}
SHAPES = ((1, 3), (1, 2), (2, 3), (3, 4), (1, 1), (4, 3), (3, 2), (2, 1), (3, 1))  # width : height


def small_photographs(folder: Path, each: int, seed: int = 0) -> None:
    """Write so many photographs of each class into a folder of its own, in many shapes, enlarged to three times."""
    rng, photographs = np.random.default_rng(seed), [Image.fromarray(it) for it in load_sample_images().images]
    number = 2000
    for name, regions in REGIONS.items():
        (folder / name).mkdir(parents=True)
        for _ in range(each):
            which, region = regions[rng.integers(len(regions))]
            part = photographs[which].crop(_inside(region, SHAPES[rng.integers(len(SHAPES))], rng))
            part = part.resize((3 * part.width, 3 * part.height), Image.Resampling.LANCZOS)
            number += int(rng.integers(1, 9))
            part.save(folder / name / f"IMG_{number}.jpg", quality=92)


def _inside(
    region: tuple[int, int, int, int], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return a part of a region in about these proportions, not much smaller than fits."""
    left, top, right, bottom = region
    scale = min((right - left) / shape[0], (bottom - top) / shape[1]) * rng.uniform(0.8, 1)
    width, height = max(70, round(scale * shape[0])), max(70, round(scale * shape[1]))
    x, y = left + rng.integers(max(1, right - left - width)), top + rng.integers(max(1, bottom - top - height))
    return int(x), int(y), int(x) + width, int(y) + height


def large_photographs(folder: Path, count: int, seed: int = 0) -> None:
    """Write photographs of twelve megapixels with a camera's noise, of two classes; some 3 MB each."""
    rng, photographs = np.random.default_rng(seed), [Image.fromarray(it) for it in load_sample_images().images]
    for name in ("building", "flower"):
        (folder / name).mkdir(parents=True)
    noisy = []
    for photograph in photographs:
        pixels = np.asarray(photograph.resize((4000, 3000), Image.Resampling.BICUBIC))
        noise = rng.integers(-9, 10, (3000, 4000, 1), np.int16)
        noisy.append(np.clip(pixels + noise, 0, 255).astype(np.uint8))
    for i in range(count):
        pixels = np.roll(noisy[i % 2], (17 * i, 23 * i), (0, 1))  # no two are alike, or the pool would have one of them
        pixels = pixels if i % 4 < 2 else np.rot90(pixels)
        path = folder / ("building", "flower")[i % 2] / f"DSC_{4000 + i}.jpg"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=90)


@contextmanager
def slow_line(folder: Path, latency: float) -> Iterator[str]:
    """Serve a folder over HTTP, each reply so many seconds late; yield its address."""

    class Late(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            time.sleep(latency)
            super().do_GET()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
