"""Small projects of drawn photographs with a classifier: labelled by script, over each kind of classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asal.project.project import Project
from asal.project.spec import parse, to_toml
from asal.session.session import Session
from support.photographs import draw, small
from support.tiny_backbones import photographs as smooth

CLASSES = ("cat", "dog")
SMALL = {"size": 16, "fit": "pad"}
KINDS: Mapping[str, dict[str, Any]] = {
    "head on photographs": {
        "features": {"photos": {"kind": "efficientnet-lite0", **small(), "dimensions": 12}},
        "learner": {"kind": "head"},
    },
    "hidden layer on half the bytes": {
        "features": {"photos": {"kind": "efficientnet-lite0", **small(), "dimensions": 0, "storage": "float16"}},
        "learner": {"kind": "head", "hidden": 8, "steps": 20},
    },
    "head on pixels": {
        "features": {"pixels": {"kind": "pixels", "dimensions": 10}},
        "learner": {"kind": "head"},
    },
    "head on an auto-encoder": {
        "features": {"codes": {"kind": "autoencoder", "steps": 5, "width": 4, "code": 8, "precision": "float32"}},
        "learner": {"kind": "head"},
    },
    "cnn": {"learner": {"kind": "cnn", "steps": 5, "width": 4, "hidden": 8}},
    "linear": {"learner": {"kind": "linear"}},
    "torch": {"learner": {"kind": "torch", "factory": "support.classifiers:small_net", "steps": 3}},
    "sklearn": {"learner": {"kind": "sklearn", "factory": "sklearn.linear_model:LogisticRegression"}},
}  # fmt: skip


def classified(
    home: Path, kind: str, *, images: int = 24, labels: int = 12, pool: Mapping[str, Any] = SMALL, **more: Any
) -> Project:
    """Return a prepared project in HOME/project, of images in HOME/images, some of them labelled."""
    draw(home / "images", [f"{CLASSES[image % 2]}/{image:02d}.png" for image in range(images)])
    given = {
        "name": "animals",
        "source": {"kind": "folder", "path": str(home / "images")},
        "pool": dict(pool),
        "protocol": {"initial": 4, "batch": 2, "budget": 10},
        "strategies": {"random": {}},
        **KINDS[kind],
        **more,
    }
    root = home / "project"
    root.mkdir()
    spec = parse(given)
    (root / "asal.toml").write_text(to_toml(spec.model_dump(mode="json")))
    project = Project.open(root)
    project.prepare()
    if labels:
        answer(project.session("random"), labels)
    return Project.open(root)


def answer(session: Session, n: int) -> None:
    """Answer so many images by the names of their folders."""
    pool: Any = session.pool
    ids = session.ask(n).ids
    session.tell({int(image): key.split("/")[0] for image, key in zip(ids, pool.keys(ids), strict=True)}, by="Ada")
    session.record.close()


def new_files(folder: Path) -> list[Path]:
    """Write images of many kinds that no project has seen, and return their paths."""
    folder.mkdir(parents=True)
    rng, files = np.random.default_rng(7), []

    def save(name: str, image: Image.Image, **options: Any) -> None:
        image.save(folder / name, **options)
        files.append(folder / name)

    for number, (width, height) in enumerate(((90, 60), (60, 90), (300, 200), (64, 64), (7, 5))):
        picture = smooth(number + 1, max(width, height))[number][:height, :width]
        save(f"{number}.jpg", Image.fromarray(picture), quality=90)
    photo = Image.fromarray(smooth(1, 80)[0][:50])
    turned = Image.Exif()
    turned[0x0112] = 6
    save("turned.jpg", photo, exif=turned)
    save("gray.png", photo.convert("L"))
    save("palette.gif", photo.convert("P"))
    save("cmyk.jpg", photo.convert("CMYK"))
    for name, shade in (("light", 250), ("dark", 5), ("gray", 128)):
        drawing = np.full((40, 30, 4), shade, np.uint8)
        drawing[..., 3] = rng.integers(2, size=(40, 30)) * 255
        save(f"transparent-{name}.png", Image.fromarray(drawing))
    save("nothing.png", Image.fromarray(np.zeros((20, 20, 4), np.uint8)))
    save("deep.png", Image.fromarray(rng.integers(4096, size=(30, 40)).astype(np.uint16)))
    save("deep.tiff", Image.fromarray(rng.integers(4096, size=(30, 40)).astype(np.uint16)))
    return files
