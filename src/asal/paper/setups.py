"""Table 1: the set-up of every experiment, read from the specs that come with asal."""

from __future__ import annotations

from typing import Any

from asal.spec import Spec, load, shipped

BENCHMARKS = {  # spec → the paper's name of it, and the images that its section 4.1 tells of
    "mnist-two": ("MNIST, two classes", "~10k of 50k"),
    "cifar-two": ("CIFAR-10, two classes", "10k"),
    "mnist-ten": ("MNIST, ten classes", "50k"),
    "cifar-ten": ("CIFAR-10, ten classes", "50k"),
    "celeba-blond-hair": ("CelebA, four attributes", "160k"),
    "svhn": ("SVHN", "73k + 531k"),
    "lsun": ("LSUN scenes", "~10M"),
}
MATCHING = {  # the one row of the paper's table 1 that our copy shows
    "mnist-two": "Gray/Disc/Auto",
    "cifar-two": "RGB/Disc/Auto",
    "mnist-ten": "Gray/Disc/Auto",
    "cifar-ten": "RGB/Disc/Auto",
    "celeba-blond-hair": "Auto-Encoder",
    "svhn": "Auto-Encoder",
    "lsun": "Auto-Encoder",
}
HEADS = (
    "benchmark", "images (paper)", "image", "classifier", "generator", "matching (paper)", "matching", "initial", "new",
    "budget", "rounds",
)  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Return one row a benchmark, by the columns of `HEADS`."""
    return [_row(name, load(shipped(name))) for name in BENCHMARKS]


def _row(name: str, spec: Spec) -> dict[str, Any]:
    title, images = BENCHMARKS[name]
    protocol, generator = spec.protocol, spec.generator
    assert generator is not None
    papers = [table for table in spec.strategies.values() if table.kind == "asal" and table.options.get("paper")]
    spaces = dict.fromkeys(table.features for table in papers if table.features)
    sizes = {"mnist": "28 × 28 gray", "cifar": "32 × 32 RGB", "svhn": "32 × 32 RGB"}
    return {
        "benchmark": title,
        "images (paper)": images,
        "image": sizes.get(name.split("-", maxsplit=1)[0], "64 × 64 RGB"),
        "classifier": spec.learner.kind,
        "generator": generator.kind,
        "matching (paper)": MATCHING[name],
        "matching": ", ".join(spaces),
        "initial": protocol.initial,
        "new": protocol.batch,
        "budget": protocol.budget,
        "rounds": -(-(protocol.budget - protocol.initial) // protocol.batch),
    }
