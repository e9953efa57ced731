"""Photographs of tiles, three times as wide as high; some have a dark crack at an edge, outside the centre square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 600, 200
EDGE = 90  # pixels at either end in which the cracks lie; the centre square begins at 200


def tile(seed: int, *, cracked: bool) -> Image.Image:
    """Return a tile: the same surface for a seed, with or without its crack."""
    rng = np.random.default_rng(seed)
    surface = np.add.outer(np.linspace(0, rng.uniform(-30, 30), HEIGHT), np.linspace(0, rng.uniform(-30, 30), WIDTH))
    grain = rng.normal(0, 12, (HEIGHT, WIDTH))
    image = Image.fromarray(np.clip(150 + surface + grain, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    if cracked:
        start, side = rng.uniform(20, EDGE - 20), bool(rng.integers(2))
        across = start + np.cumsum(rng.normal(0, 3, 9))
        places = np.clip(across, 5, EDGE - 5)
        heights = np.linspace(0, HEIGHT, 9)
        points = [(float(WIDTH - x if side else x), float(y)) for x, y in zip(places, heights, strict=True)]
        ImageDraw.Draw(image).line(points, fill=25, width=int(rng.integers(8, 14)), joint="curve")
    return image.convert("RGB")


def write_tiles(folder: Path, number: int, first: int = 0) -> Path:
    """Write so many tiles into the folders `free` and `cracked`, half of them each; return the folder."""
    for name in ("free", "cracked"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + number):
        name = "cracked" if seed % 2 else "free"
        tile(seed, cracked=name == "cracked").save(folder / name / f"{seed:04d}.jpg", quality=92)
    return folder
