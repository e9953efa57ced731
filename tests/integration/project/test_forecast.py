"""How long preparing will take, measured with a project's own images before anything is prepared."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asal.project import forecast, trial
from asal.project.durations import Estimate
from asal.project.images import source_of
from asal.project.outlook import INGEST
from asal.project.preparer import PlannedStep, Preparer
from asal.project.project import Project
from asal.project.spec import load, to_toml
from asal.project.step import Work
from asal.project.trial import Trial, measure
from asal.runtime.devices import Device
from asal.runtime.progress import Progress


@pytest.fixture(autouse=True)
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for moments instead of seconds."""
    for name in ("DECODING", "RUNNING", "TRAINING"):
        monkeypatch.setattr(trial, name, 0.1)


def project(folder: Path, side: tuple[int, int] = (240, 120), **tables: Any) -> Path:
    """Write 30 pictures of two classes, one of which is broken, and a spec over them."""
    rng = np.random.default_rng(0)
    for number in range(30):
        home = folder / "images" / "ab"[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(255, size=(*side[::-1], 3), dtype=np.uint8)).save(home / f"{number}.jpg")
    (folder / "images" / "a" / "0.jpg").write_bytes(b"\xff\xd8\xff")
    root = folder / "p"
    root.mkdir()
    spec = {
        "name": "p",
        "source": {"kind": "folder", "path": "../images"},
        "pool": {"size": 16, "split": {"test": 6, "stratified": True}},
        "strategies": {"subset": {"size": 30}},
        **tables,
    }
    (root / "asal.toml").write_text(to_toml(spec))
    return root


def measured(root: Path) -> Trial:
    spec = load(root)
    return measure(source_of(root, spec.source), spec, root)


NETWORK = {"features": {"photos": {"kind": "efficientnet-lite0", "size": 64}}}
TRAININGS = {
    "generator": {"kind": "wgan-gp", "steps": 50_000, "width": 2},
    "features": {"autoencoder": {"steps": 40_000, "width": 2}},
}


def test_a_network_is_run_on_the_images_and_nothing_stays(tmp_path: Path) -> None:
    root = project(tmp_path, **NETWORK)
    found = measured(root)
    assert found.each.keys() == {INGEST, "extract efficientnet-lite0"}
    assert found.complete.keys() == {"train efficientnet-lite0"}
    assert 0 < found.each[INGEST] < found.each["extract efficientnet-lite0"]
    assert [path.name for path in root.iterdir()] == ["asal.toml"]


def test_trainings_are_begun_and_stopped(tmp_path: Path) -> None:
    root = project(tmp_path, **TRAININGS)
    begun = time.monotonic()
    found = measured(root)
    taken = time.monotonic() - begun
    assert found.complete.keys() == {"train autoencoder", "train wgan-gp"}
    assert sum(found.complete.values()) > taken, "as long as that, they would have been done"
    assert [path.name for path in root.iterdir()] == ["asal.toml"]


class Steps:
    """A part that reports steps; a clock of its own goes on by 0.02 seconds for each report."""

    def __init__(self, reports: list[int], total: int = 1000) -> None:
        self.reports, self.total, self.reported, self.shape = reports, total, 0, (0, 0, 0)

    def train(self, pool: Any, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        self.shape = pool.shape
        for done in self.reports:
            self.reported += 1
            progress("training", done, self.total)

    def monotonic(self) -> float:
        return 0.02 * self.reported


@pytest.fixture
def of_training(monkeypatch: pytest.MonkeyPatch) -> Callable[..., float | None]:
    def measure_it(part: Steps, side: int = 16) -> float | None:
        monkeypatch.setattr(trial, "time", part)
        return trial._of_training(part, trial._Images(np.zeros((4, side, side, 3), np.uint8)), Device())

    return measure_it


def test_what_a_training_takes_is_counted_by_its_steps(of_training: Callable[..., float | None]) -> None:
    quick, slow = Steps([*range(1, 1000, 10)]), Steps([*range(1, 1000)])
    assert of_training(quick) == pytest.approx(2) and of_training(slow) == pytest.approx(20)
    assert quick.reported < 10 and slow.reported < 10, "they were not stopped"
    assert of_training(Steps([])) is None and of_training(Steps([1])) is None, "nothing was measured"


def test_a_large_size_is_measured_at_a_smaller_one(of_training: Callable[..., float | None]) -> None:
    part = Steps([1, 2, 3])
    assert of_training(part, 64) == pytest.approx(4 * 20) and part.shape == (32, 32, 3)


def test_what_cannot_be_measured_is_said_and_init_goes_on(tmp_path: Path) -> None:
    root = project(tmp_path, **NETWORK, learner={"kind": "no such"})
    (line,) = forecast.forecast(root)
    assert line.startswith("How long `asal prepare` takes is not known: no learner is called 'no such'")


def step(name: str, work: Work, status: Any = "to do") -> PlannedStep:
    return PlannedStep(name, "", status, Estimate(7.0, "rule of thumb"), work)


def test_steps_get_what_was_measured_for_their_work() -> None:
    plan = [
        step(INGEST, Work()),
        step("features of the pool", Work("extract x", 900.0)),
        step("features of addition 1", Work("extract x", 90.0)),
        step("compute the features 'x' of the test set", Work("extract x")),
        step("train", Work("train y", 5.0)),
        step("train, done", Work("train y", 5.0), "there"),
        step("index", Work("index z", 1.0)),
    ]
    steps = Trial({INGEST: 0.01, "extract x": 0.5}, {"train y": 60.0}).applied(plan, {"pool": 100, "test": 10})
    assert [one.estimate.seconds for one in steps] == pytest.approx([1.1, 50.0, 5.0, 5.0, 60.0, 7.0, 7.0])
    assert [one.estimate.basis for one in steps] == ["measured"] * 5 + ["rule of thumb"] * 2


def test_images_that_cannot_be_read_give_no_estimate(tmp_path: Path) -> None:
    root = project(tmp_path, **NETWORK)
    for file in (tmp_path / "images").rglob("*.jpg"):
        file.write_bytes(b"\xff\xd8\xff")
    assert measured(root) == Trial()


def test_a_missing_library_leaves_its_step_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asal.features import efficientnet_lite0

    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "no_such_module")
    assert measured(project(tmp_path, **NETWORK)).each.keys() == {INGEST}


def test_lines_name_every_step_the_sum_and_what_would_change_it(tmp_path: Path) -> None:
    lines = forecast.forecast(project(tmp_path, **NETWORK))
    text = "\n".join(lines)
    assert (
        lines[0] == "`asal prepare` will" and "take the images in" in text and "compute the features 'photos'" in text
    )
    assert text.count("measured here") >= 2 and "  in all" in text
    after = lines[[line.startswith("  in all") for line in lines].index(True) + 1 :]
    assert 0 < len(after) <= 4 and "pretrained" in "".join(after)


def test_prepare_expects_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASAL_CACHE_DIR", str(tmp_path / "cache"))
    root = project(tmp_path, **NETWORK)
    before = {step.name: step.estimate.basis for step in Preparer(Project.open(root)).plan()}
    assert before["compute the features 'photos'"] == "rule of thumb"
    listed = [line for line in forecast.forecast(root) if "features 'photos'  " in line]
    (step,) = [step for step in Preparer(Project.open(root)).plan() if step.name == "compute the features 'photos'"]
    assert step.estimate.basis == "measured" and str(step.estimate) in listed[0]


def test_init_says_it_of_small_images(tmp_path: Path, asal: Any) -> None:
    project(tmp_path, (28, 28))
    said = asal("init", tmp_path / "q", "--images", tmp_path / "images")
    assert said.code == 0 and "compute the features 'pixels'" in said.out and "generator" not in said.out
    assert said.out.strip().endswith("asal prepare " + str(tmp_path / "q"))
    assert "in all" not in asal("init", tmp_path / "r", "--images", tmp_path / "images", "--no-estimate").out


def test_a_generator_is_what_could_be_left_out(tmp_path: Path) -> None:
    slow = {"kind": "wgan-gp", "steps": 50_000, "width": 2}
    spaces = {"autoencoder": {"steps": 20, "width": 2, "code": 8}}
    asal = {"asal": {"search": "generator"}}
    text = "\n".join(forecast.forecast(project(tmp_path, generator=slow, features=spaces, strategies=asal)))
    assert "train the generator wgan-gp" in text and "delete [generator]" in text
