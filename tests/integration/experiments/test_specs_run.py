"""Each spec of a benchmark that nobody has at hand, from end to end on a few images in its published layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT
from support import official_layouts as official
from support.official_layouts import digits, encoded, marks, pixels

from asal.data.pool import StoredPool
from asal.data.sources.lsun import SCENES
from asal.experiments.results import load as load_results
from asal.experiments.run import RunTask, begin, run_one
from asal.project.project import Project
from asal.project.spec import Spec, load, parse
from asal.runtime.progress import no_progress

# Networks and sizes that seconds suffice for; what is left of the spec is as it is shipped.
SMALL: dict[str, Any] = {
    "generator": {"steps": 2, "width": 4, "critic_steps": 1, "batch": 8, "latent_dim": 8, "precision": "float32"},
    "autoencoder": {"steps": 2, "width": 4, "code": 16, "batch": 8, "precision": "float32", "dimensions": 8},
    "learner": {"steps": 20, "width": 4, "batch": 16},
    "protocol": {"initial": 12, "batch": 4, "budget": 20},
}
STRATEGIES = ("random", "asal-autoencoder")


FACES = np.arange(60) % 3 // 2  # a third of them is blond
TABLE, PARTITION = marks(60, "Blond_Hair", FACES), [0] * 40 + [1] * 8 + [2] * 12


def celeba(folder: Path) -> dict[str, Any]:
    """Write 60 faces and return what the spec's source becomes."""
    official.write_celeba(folder, TABLE, PARTITION, pixels(5 * FACES, 218, 178, 3))
    return {"path": str(folder)}


def hub_celeba(folder: Path) -> dict[str, Any]:
    """Write the same as the hub's, where it will be looked for; the spec's source stays as it is."""
    official.write_hub_celeba(folder / "celeba", TABLE, PARTITION, pixels(5 * FACES, 218, 178, 3))
    return {}


def svhn(folder: Path) -> dict[str, Any]:
    """Write 30 + 40 digits to choose from and 20 to test on."""
    parts = {
        part: (pixels(digits(n), 32, 32, 3, seed=n), digits(n))
        for part, n in (("train", 30), ("extra", 40), ("test", 20))
    }
    official.write_svhn(folder, parts)
    return {"path": str(folder)}


def lsun(folder: Path) -> dict[str, Any]:
    """Write ten databases of eight photographs, and ten of two."""
    for number, name in enumerate(SCENES):
        for kind, n in (("train", 8), ("val", 2)):
            photos = pixels(np.full(n, number), 72, 80, 3, seed=n)
            official.write_lsun(folder, f"{name}_{kind}", [encoded(photo) for photo in photos])
    return {"path": str(folder)}


def cifar(folder: Path) -> dict[str, Any]:
    """Write 60 + 20 images in the binary version; the spec's source becomes that one."""
    official.write_cifar(
        folder, (pixels(digits(60), 32, 32, 3), digits(60)), (pixels(digits(20), 32, 32, 3), digits(20))
    )
    return {"kind": "cifar10", "path": str(folder)}


WORLDS: dict[str, tuple[str, Callable[[Path], dict[str, Any]], dict[str, int], tuple[int, int, int]]] = {
    "celeba": ("celeba-blond-hair", celeba, {"pool": 40, "validation": 8, "test": 12}, (64, 64, 3)),
    "celeba-hub": ("celeba-blond-hair", hub_celeba, {"pool": 40, "validation": 8, "test": 12}, (64, 64, 3)),
    "svhn": ("svhn", svhn, {"pool": 70, "test": 20}, (32, 32, 3)),
    "lsun": ("lsun", lsun, {"pool": 70, "validation": 20, "test": 10}, (64, 64, 3)),
    "cifar": ("cifar-ten", cifar, {"pool": 60, "test": 20}, (32, 32, 3)),
}


@pytest.mark.parametrize("world", WORLDS)
def test_the_spec_runs_from_its_files_to_its_rows(world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "hub" in world:
        datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setenv("ASAL_DATA_DIR", str(tmp_path / "data"))
    if world == "lsun":
        pytest.importorskip("lmdb", reason="the extra `lsun` is not installed")
    name, write, sizes, shape = WORLDS[world]
    data = tmp_path / "data"
    data.mkdir()
    spec = small(name, write(data))

    project = Project(tmp_path / "project", spec)
    project.prepare()
    project.prepare()  # what is there stands
    for part, size in sizes.items():
        images = StoredPool.open(project.root / part)
        assert (len(images), images.shape, images.unreadable) == (size, shape, 0), part
        ids = np.arange(size)
        brightness, labels = images.read(ids).mean(axis=(1, 2, 3)), project.oracle(part).answer(ids)
        assert np.corrcoef(brightness, labels)[0, 1] > 0.99, f"the labels of the {part} are not its images'"
    begin(project, STRATEGIES, [0], tmp_path / "run")
    for strategy in STRATEGIES:
        run_one(RunTask(project.root, spec, strategy, 0, tmp_path / "run"), no_progress)
    runs = load_results(tmp_path / "run").runs
    assert {run.strategy: list(run.labels) for run in runs} == {strategy: [12, 16, 20] for strategy in STRATEGIES}


def small(name: str, source: dict[str, Any]) -> Spec:
    """Return a shipped spec over other images, made small."""
    given = load(ROOT / "specs" / f"{name}.toml").model_dump(mode="json")
    given["source"] = source if "kind" in source else given["source"] | source
    for section in ("generator", "learner", "protocol"):
        given[section] |= SMALL[section]
    given["features"] = {"autoencoder": given["features"]["autoencoder"] | SMALL["autoencoder"]}
    given["strategies"] = {strategy: given["strategies"][strategy] for strategy in STRATEGIES}
    if isinstance(given["pool"]["split"]["test"], int):
        given["pool"]["split"]["test"] = 10
    return parse(given)
