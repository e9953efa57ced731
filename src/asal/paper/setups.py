"""Table 1: the set-up of every experiment, read from the shipped specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asal.paper.claims import Finding
from asal.project.spec import Spec

BENCHMARKS = {  # spec → the paper's name for it, and the number of images in its section 4.1
    "mnist-two": ("MNIST, two classes", "~10k of 50k"),
    "cifar-two": ("CIFAR-10, two classes", "10k"),
    "mnist-ten": ("MNIST, ten classes", "50k"),
    "cifar-ten": ("CIFAR-10, ten classes", "50k"),
    "celeba-blond-hair": ("CelebA, four attributes", "160k"),
    "svhn": ("SVHN", "73k + 531k"),
    "lsun": ("LSUN scenes", "~10M"),
}
SPACES = {  # by their names in the table
    "Gray": "pixels", "RGB": "pixels", "Disc": "discriminator", "Auto": "autoencoder", "Auto-Encoder": "autoencoder",
}  # fmt: skip
MATCHING = {  # the one column of the paper's table 1 that is legible in our copy, in its order
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


def numbers() -> Finding:
    """Say why budgets are not compared."""
    return Finding("illegible in our copy of the paper; these three columns are our choice", "not measured")


def spaces(specs: Mapping[str, Spec]) -> Finding:
    """Check that each benchmark's spec matches in the spaces that the paper's table lists for it."""
    ours = {name: matched_in(spec) for name, spec in specs.items()}
    papers = {name: [SPACES[word] for word in MATCHING[name].split("/")] for name in specs}
    lacking = [name for name in specs if not set(papers[name]) <= set(ours[name])]
    more = {name: [space for space in ours[name] if space not in papers[name]] for name in specs}
    measured = f"all of them in {len(specs) - len(lacking)} of {len(specs)} benchmarks"
    measured += "".join(f"; {name} also {', '.join(names)}" for name, names in more.items() if names)
    return Finding(measured, "disagrees" if lacking else "agrees")


def matched_in(spec: Spec) -> list[str]:
    """Return the kinds of feature spaces in which the paper's version of asal is run."""
    papers = [table for table in spec.strategies.values() if table.kind == "asal" and table.options.get("paper")]
    return list(dict.fromkeys(spec.features[table.features].kind for table in papers if table.features))


def row(name: str, spec: Spec) -> dict[str, Any]:
    """Return a benchmark's row, by the columns of `HEADS`."""
    title, images = BENCHMARKS[name]
    protocol = spec.protocol
    sizes = {"mnist": "28 × 28 gray", "cifar": "32 × 32 RGB", "svhn": "32 × 32 RGB"}
    return {
        "benchmark": title,
        "images (paper)": images,
        "image": sizes.get(name.split("-", maxsplit=1)[0], "64 × 64 RGB"),
        "classifier": spec.learner.kind,
        "generator": spec.generator.kind if spec.generator else "–",
        "matching (paper)": MATCHING[name],
        "matching": ", ".join(matched_in(spec)),
        "initial": protocol.initial,
        "new": protocol.batch,
        "budget": protocol.budget,
        "rounds": -(-(protocol.budget - protocol.initial) // protocol.batch),
    }
