"""The shipped specs, each over a few small images and with networks that train in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from asal.project.spec import Spec, load, parse, shipped, to_toml
from support import official_layouts as official
from support.official_layouts import marks, pixels

GENERATOR = {"steps": 2, "width": 4, "critic_steps": 1, "batch": 8, "latent_dim": 8, "precision": "float32"}
ENCODER = {"steps": 2, "width": 4, "code": 16, "batch": 8, "precision": "float32"}
CNN = {"width": 4, "hidden": 32, "steps": 5, "batch": 8}
OPTIONS = {"asal": {"search": "generator", "steps": 3}, "gaal": {"steps": 3}, "hyperplane-hash": {"tables": 4}}
CELEBA = ("celeba-wearing-hat", "celeba-blond-hair", "celeba-bangs", "celeba-eyeglasses")


def shrunk(name: str, source: dict[str, Any], pool: dict[str, Any], **protocol: int) -> Spec:
    """Return a small version of a shipped spec with all of its strategies, over this source and pool."""
    tables = load(shipped(name)).model_dump(mode="json")
    tables |= {"source": source, "pool": pool, "protocol": tables["protocol"] | protocol}
    tables["generator"] |= GENERATOR
    for table in tables["features"].values():
        more = {"autoencoder": ENCODER, "latent": {"steps": 3}}.get(table["kind"], {})
        table.update({"dimensions": min(table["dimensions"], 8), "fit_on": 40, **more})
    tables["learner"] |= CNN if tables["learner"]["kind"] == "cnn" else {"iterations": 10}
    tables["annotator"] = {"kind": "teacher", **CNN}
    if tables["learner"]["kind"] == "cnn" and tables["reference"]:
        tables["reference"] = {"steps": 5}
    for table in tables["strategies"].values():
        table.update(OPTIONS.get(table["kind"], {}))
    return parse(tables)


def write(folder: Path, *specs: Spec) -> Path:
    """Write the specs as `asal reproduce --specs` looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        (folder / f"{spec.name}.toml").write_text(to_toml(spec.model_dump(mode="json")))
    return folder


def two_digits() -> Spec:
    """Return mnist-two over scikit-learn's threes and eights: 190 to choose from, 120 to test on, or nearly so."""
    pool = {"gray": True, "keep": ["3", "8"], "split": {"train": 1_000, "test": 600}}
    return shrunk("mnist-two", {"kind": "digits"}, pool, initial=10, batch=5, budget=20)


def ten_digits() -> Spec:
    """Return mnist-ten over scikit-learn's digits: 300 to choose from, 60 to test on."""
    pool = {"gray": True, "split": {"train": 300, "test": 60}}
    return shrunk("mnist-ten", {"kind": "digits"}, pool, initial=20, batch=10, budget=40)


def faces(folder: Path) -> list[Spec]:
    """Write sixty faces as published, and return the four specs over them: 40 to choose from, 12 to test on."""
    table = marks(60, "Bangs", np.arange(60) % 2)
    official.write_celeba(folder, table, [0] * 40 + [1] * 8 + [2] * 12, pixels(np.arange(60) % 4, 40, 40, 3))
    pool = {"size": 32, "split": {"validation": "validation", "test": "test"}}
    attributes = {name: load(shipped(name)).source.options["attribute"] for name in CELEBA}
    return [
        shrunk(
            name, {"kind": "celeba", "attribute": attribute, "path": str(folder)}, pool, initial=12, batch=4, budget=16
        )
        for name, attribute in attributes.items()
    ]
