"""The classifier as a folder: where there is no asal it predicts the same, on files that nothing was trained on."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.classified_projects import CLASSES, KINDS, SMALL, answer, classified, new_files
from support.commands import Command

from asal.data.sources.decode import decode
from asal.errors import UserError
from asal.labelling.exchange.model_folder import export_model
from asal.project.new_images import InputReader
from asal.project.project import Project

NETWORKS = [kind for kind in KINDS if kind != "sklearn"]
ALONE = """
import json, sys
for name in ("asal", "numpy", "safetensors", "scipy", "timm", "torchvision", "support"):
    sys.modules[name] = None  # importing it is an ImportError
sys.path.insert(0, sys.argv[1])
from load_model import Model
model = Model()
print(json.dumps([model.classes, model.predict(sys.argv[2:]).tolist()]))
"""
PREPROCESSED = {
    "padded": SMALL,
    "cropped": {"size": 16, "fit": "crop"},
    "squeezed, gray, over a colour": {"size": 16, "fit": "squeeze", "gray": True, "background": "#204060"},
    "a range": {"size": 16, "fit": "pad", "range": [0, 4095]},
    "each by its own range": {"size": 16, "fit": "pad", "range": "image", "gray": True},
}


def alone(folder: Path, files: list[Path]) -> tuple[list[str], Any]:
    """Return the classes and probabilities of a process that has torch and Pillow, and cannot import asal."""
    words = [sys.executable, "-I", "-W", "ignore", "-c", ALONE, str(folder), *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder.parent)
    classes, probs = json.loads(done.stdout)
    return classes, np.array(probs)


def module(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"exported_{name}", folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("kind", NETWORKS)
def test_without_asal_it_predicts_the_same(kind: str, tmp_path: Path) -> None:
    project, files = classified(tmp_path, kind), new_files(tmp_path / "new")
    export_model(project, tmp_path / "model")
    shutil.rmtree(tmp_path / "images")
    here = project.predict(list(map(str, files)))
    classes, there = alone(tmp_path / "model", files)
    assert classes == list(here.classes) == list(CLASSES) and not here.unreadable
    np.testing.assert_allclose(there, here.probs, atol=1e-5)
    assert np.ptp(here.probs[:, 0]) > 0.01, "they differ, so that a mix-up would be seen"
    program = torch.export.load(tmp_path / "model" / "model.pt2").module()
    preprocess = module(tmp_path / "model", "preprocess")
    for some in (files[:1], files[:3]):
        probs = program(preprocess.batch_of(some)).double().softmax(1).detach().numpy()
        np.testing.assert_allclose(probs, here.probs[: len(some)], atol=1e-5)


@pytest.mark.parametrize("how", PREPROCESSED)
def test_an_image_becomes_the_same_pixels(how: str, tmp_path: Path) -> None:
    project, files = classified(tmp_path, "linear", pool=PREPROCESSED[how]), new_files(tmp_path / "new")
    reader = InputReader.of(project, "images")
    export_model(project, tmp_path / "model")
    preprocess = module(tmp_path / "model", "preprocess")
    for file in files:
        found = preprocess.pixels(file).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(found, reader.picture(file), err_msg=file.name)


def test_pictures_of_the_pools_own_size_are_not_scaled_and_others_refused(tmp_path: Path) -> None:
    shape = {"fit": "crop"}
    project = classified(tmp_path, "linear", pool=shape)
    export_model(project, tmp_path / "model")
    preprocess, (file, *_) = module(tmp_path / "model", "preprocess"), sorted((tmp_path / "images").rglob("*.png"))
    np.testing.assert_array_equal(preprocess.pixels(file).permute(1, 2, 0).numpy(), decode(file, size=None, gray=False))
    Image.new("RGB", (20, 30)).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=r"other.png has 30 × 20 pixels, not 60 × 90"):
        preprocess.pixels(tmp_path / "other.png")


def test_the_weights_have_names_and_are_read_by_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    project = classified(tmp_path, "head on photographs")
    export_model(project, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert {name.split(".")[0] for name in weights} == {"preprocessing", "backbone", "pca", "head"}
    own = module(tmp_path / "model", "load_model").read_weights(tmp_path / "model" / "model.safetensors")
    assert own.keys() == weights.keys() and all(torch.equal(own[name], weights[name]) for name in own)


def test_the_card_says_what_it_was_trained_on_and_how_good_it_is(tmp_path: Path) -> None:
    project = classified(tmp_path, "cnn", images=40, pool={**SMALL, "split": {"test": 10}})
    lines = export_model(project, tmp_path / "model").lines
    card, facts = ((tmp_path / "model" / name).read_text() for name in ("README.md", "model.json"))
    counts = project.session("random").counts
    for name in CLASSES:
        assert f"| {name} | {counts[name]} |" in card
    stored = json.loads(facts)
    (measured,) = stored["accuracy"]
    known = project.oracle("test").answer(np.arange(10))
    model = project.session("random").model()
    right = int((model.predict(project.test.read(np.arange(10))).argmax(1) == known).sum())
    assert (measured["right"], measured["images"]) == (right, 10) and stored["labels"] == counts
    assert f"Accuracy {right / 10:.1%}" in card and any(f"Accuracy {right / 10:.1%}" in line for line in lines)
    assert "commonest class gives" in card


def test_without_held_out_labels_the_card_says_that_nothing_was_measured(tmp_path: Path) -> None:
    project = classified(tmp_path, "linear")
    assert any("not measured" in line for line in export_model(project, tmp_path / "model").lines)
    assert "**Not measured.**" in (tmp_path / "model" / "README.md").read_text()
    assert json.loads((tmp_path / "model" / "model.json").read_text())["accuracy"] == []


def test_a_second_export_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    project = classified(tmp_path, "linear")
    export_model(project, tmp_path / "model")
    module(tmp_path / "model", "network")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    answer(project.session("random"), 6)
    export_model(Project.open(project.root), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != before
    (tmp_path / "model" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="no export wrote mine"):
        export_model(project, tmp_path / "model")


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    project = classified(tmp_path, "sklearn")
    with pytest.raises(UserError, match="the learner 'sklearn' is no network of torch"):
        export_model(project, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert len(project.predict(str(tmp_path / "images"))) == 24, "predicting works"


def test_the_command_writes_it_and_its_loader_runs(asal: Command, tmp_path: Path) -> None:
    project = classified(tmp_path, "linear")
    said = asal("export", project.root, tmp_path / "model", "--as", "model")
    assert said.code == 0 and "trained on 12 labels of 2 classes" in said.out
    file = next((tmp_path / "images").rglob("*.png"))
    words = [sys.executable, "-I", str(tmp_path / "model" / "load_model.py"), str(file)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown.split("\t")[1] == project.predict(str(file)).labels[0]
    asal("export", project.root, tmp_path / "other", "--as", "model", "--originals").refused("--originals")
