"""Photographs that packages ship, and the network for photographs with its published weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from support.tiny_backbones import photographs as smooth


def photographs() -> dict[str, Path]:
    """Return photographs of things that ImageNet has a class for, by that class's number."""
    import matplotlib
    import sklearn.datasets

    shipped = Path(sklearn.datasets.__file__).parent / "images"
    return {
        "palace, 698": shipped / "china.jpg",
        "daisy, 985": shipped / "flower.jpg",
        "military uniform, 652": Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    }


def small() -> dict[str, Any]:
    """Return options with which the network takes milliseconds an image."""
    return {"size": 64}


def draw(folder: Path, names: Iterable[str], size: tuple[int, int] = (90, 60)) -> None:
    """Write smooth pictures (width, height), one for each name, and another one for every name."""
    names = list(names)
    pictures = smooth(len(names), max(size))
    for name, picture in zip(names, pictures, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[: size[1], : size[0]]).save(folder / name, quality=95)
