"""The whole way on real MNIST: the digits 5 and 7, as in the paper."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT
from support.http_clients import Bot, Served
from support.label_project import STRICT, rows, settings, truth

from asal.experiments.results import load as load_results
from asal.experiments.run import RunTask, begin, run_one
from asal.project.project import Project
from asal.project.spec import Spec, load, parse, to_toml
from asal.runtime.progress import no_progress

MNIST_TWO = ROOT / "specs" / "mnist-two.toml"

pytestmark = pytest.mark.skipif(
    not (Path(os.environ.get("ASAL_DATA_DIR", "/nowhere")) / "mnist").is_dir(),
    reason="ASAL_DATA_DIR does not say where a copy of MNIST is",
)


@pytest.fixture(scope="module")
def small() -> Spec:
    """Return the shipped spec with a generator and an auto-encoder that are trained in seconds."""
    given: dict[str, Any] = load(MNIST_TWO).model_dump(mode="json")
    given["generator"] |= {"steps": 60, "width": 8, "critic_steps": 1, "batch": 32}
    given["features"] = {"autoencoder": {"kind": "autoencoder", "steps": 60, "width": 8}}
    given["protocol"] |= {"budget": 40}
    given["strategies"] = {
        "random": {"kind": "random"},
        "asal": {"kind": "asal", "search": "generator", "features": "autoencoder", "steps": 20},
    }  # fmt: skip
    return parse(given)


@pytest.fixture(scope="module")
def project(small: Spec, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return it prepared."""
    opened = Project(tmp_path_factory.mktemp("mnist"), small)
    opened.prepare()
    return opened


def test_the_pool_is_the_papers(project: Project) -> None:
    assert project.pool.shape == (28, 28, 1) and 8_900 < len(project.pool) < 9_900 and project.pool.unreadable == 0
    assert len(project.test) == 892 + 1028, "all fives and sevens of the test split"
    everything = np.arange(len(project.pool))
    oracle = project.oracle("pool")
    assert oracle.classes == ("5", "7") and set(oracle.answer(everything).tolist()) == {0, 1}
    images = project.pool.read(everything[:500])
    assert images.dtype == np.uint8 and images.max() == 255 and 20 < images.mean() < 50
    keys = project.pool.keys(everything)
    assert len(set(keys)) == len(keys) and all(key.startswith("train/") for key in keys)


def test_the_validation_set_and_the_pool_share_no_image(project: Project) -> None:
    from asal.data.pool import StoredPool

    held = StoredPool.open(project.root / "validation")
    assert not set(held.keys(np.arange(len(held)))) & set(project.pool.keys(np.arange(len(project.pool))))


def test_forty_labels_tell_five_from_seven(project: Project, small: Spec, tmp_path: Path) -> None:
    begin(project, ["random", "asal"], [0], tmp_path)
    for name in ("random", "asal"):
        run_one(RunTask(project.root, small, name, 0, tmp_path), no_progress)
    for run in load_results(tmp_path).runs:
        assert run.labels[-1] == 40 and run.accuracy[-1] > 0.85


def test_a_script_that_answers_over_http_reaches_the_rows_of_a_run(
    project: Project, small: Spec, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(project.root, tmp_path / "mnist"))
    (root / "asal.toml").write_text(to_toml(small.model_dump(mode="json", exclude_none=True)))
    settings(root, STRICT)
    begin(Project.open(root), ["asal"], [0], tmp_path / "run")
    run_one(RunTask(root, load(root), "asal", 0, tmp_path / "run"), no_progress)
    with Served(root, ["--strategy", "asal"]) as served:
        assert Bot(served.url, served.token).label(truth(root)) == 40
    (path,) = (root / "labelling").glob("rows-*.jsonl")
    assert rows(path) == rows(tmp_path / "run" / "asal" / "seed-0" / "rows.jsonl")
