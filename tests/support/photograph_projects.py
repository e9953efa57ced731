"""Photographs of many shapes, cut from the two that scikit-learn brings, and a project of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SHAPES = ((1, 3), (1, 2), (2, 3), (1, 1), (3, 2), (2, 1), (3, 1))  # width : height
ORIENTATION = 0x0112  # the tag of EXIF that says how a camera was held
CLASSES = ("building", "flower")
SPEC: dict[str, Any] = {
    "name": "photographs",
    "source": {"kind": "folder", "path": "photos"},
    "pool": {"size": 64, "fit": "pad", "split": {"validation": 0}},
    "learner": {"kind": "linear", "iterations": 5},
    "protocol": {"initial": 20, "batch": 10, "budget": 60},
    "strategies": {"random": {}},
    "labelling": {"strategy": "random", "classes": [*CLASSES], "grid": 12, "lease": 5.0},
}


def sample(name: str) -> Image.Image:
    """Return a photograph of scikit-learn's, 640 × 427: "building" (china.jpg) or "flower" (flower.jpg)."""
    found = load_sample_images()
    return Image.fromarray(found.images[CLASSES.index(name)])


def cut(photograph: Image.Image, shape: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a part of a photograph with these proportions, as large as fits, or down to two thirds of that."""
    wide, high = shape
    scale = min(photograph.width / wide, photograph.height / high) * rng.uniform(0.67, 1)
    width, height = int(wide * scale), int(high * scale)
    left, top = rng.integers(photograph.width - width + 1), rng.integers(photograph.height - height + 1)
    return photograph.crop((int(left), int(top), int(left) + width, int(top) + height))


def write_photographs(
    folder: Path, each: int, *, seed: int = 0, shapes: Sequence[tuple[int, int]] = SHAPES, longest: int = 0
) -> None:
    """Write so many photographs of each class; every fifth is turned, and says so in its EXIF.

    Args:
        longest: pixels of the longer edge, to which they are enlarged; 0: as they are cut.
    """
    rng = np.random.default_rng(seed)
    for name in CLASSES:
        whole = sample(name)
        (folder / name).mkdir(parents=True)
        for i in range(each):
            part = cut(whole, shapes[i % len(shapes)], rng)
            if longest:
                scale = longest / max(part.size)
                part = part.resize((round(part.width * scale), round(part.height * scale)), Image.Resampling.BICUBIC)
            exif = Image.Exif()
            if i % 5 == 4:
                part = part.transpose(Image.Transpose.ROTATE_90)  # what a camera that was held upright stores
                exif[ORIENTATION] = 6
            part.save(folder / name / f"DSC_{1000 + i}-{name}-{part.width}x{part.height}.jpg", quality=88, exif=exif)


def photograph_project(root: Path, each: int, more: Callable[[Path], None] = lambda _: None, **changes: Any) -> Path:
    """Write photographs, and those of `more`, and prepare a project of them, with `changes` to its spec."""
    from asal.project.project import Project
    from asal.project.spec import load, to_toml
    from support.commands import merged

    root.mkdir(parents=True)
    write_photographs(root / "photos", each)
    more(root / "photos")
    (root / "asal.toml").write_text(to_toml(merged(SPEC, changes)))
    Project(root, load(root)).prepare()
    return root
