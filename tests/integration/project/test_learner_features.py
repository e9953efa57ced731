"""A classifier that reads stored features, through a project: checked, prepared, trained, evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asal.errors import UserError
from asal.experiments.evaluation import Evaluation, Supervised
from asal.project import validate
from asal.project.preparer import Preparer
from asal.project.project import Project
from asal.project.spec import load, parse
from asal.runtime.progress import no_progress

REGRESSION = {"kind": "sklearn", "features": "autoencoder", "factory": "sklearn.linear_model:LogisticRegression"}


@pytest.fixture
def project(tiny: Path, write_spec: Callable[..., Path]) -> Project:
    write_spec(tiny, learner=None)
    text = (tiny / "asal.toml").read_text()
    lines = "\n".join(f'{key} = "{value}"' for key, value in REGRESSION.items())
    (tiny / "asal.toml").write_text(f"{text}\n[learner]\n{lines}\n")
    opened = Project.open(tiny)
    opened.prepare(["uncertainty"])
    return opened


def test_it_is_trained_on_stored_vectors_and_measured_on_those_of_the_test_set(project: Project) -> None:
    session = project.session("uncertainty")
    truth = project.oracle("pool")
    for _ in range(2):
        ids = session.ask(20).ids
        session.tell(zip(ids.tolist(), truth.answer(ids).tolist(), strict=True))
    model, space = session.model(), project.space("autoencoder")
    assert model.reads == "features"
    some = np.arange(5)
    assert np.array_equal(session.inputs(some), space.vectors.read(some))
    assert np.allclose(model.embed(session.inputs(some)), space.extractor(project.pool.read(some)), atol=1e-3)
    test_set = Evaluation.of(project)
    found = model.predict(space.extractor(project.test.read(np.arange(200)))).argmax(axis=1)
    assert np.allclose(project.held_out_vectors("autoencoder", "test").read(some),
                       space.stored_extractor(project.test.read(some)), atol=1e-3)  # fmt: skip
    assert test_set.accuracy(model) == float((found == test_set.labels).mean())
    assert test_set.accuracy(model) > 0.12, "ten classes, forty labels, a space of eight untrained dimensions"
    again = project.session("uncertainty")
    assert np.array_equal(again.model().predict(again.inputs(some)), model.predict(session.inputs(some)))


def test_its_space_is_prepared_for_a_strategy_that_needs_none(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    plain = write_spec(tmp_path)
    assert [step.name for step in Preparer(Project.open(plain)).plan(["random"])] == ["take the images in"]
    spec = parse(load(plain).model_dump() | {"learner": REGRESSION})
    steps = [step.name for step in Preparer(Project(tmp_path, spec)).plan(["random"])]
    features = "compute the features 'autoencoder'"
    assert steps[1:4] == ["make the extractor autoencoder", features, f"{features} of the test set"]
    assert not any("index" in name or "generator" in name for name in steps)


def test_the_fully_supervised_one_reads_them_too(project: Project, tmp_path: Path) -> None:
    spec = parse(project.spec.model_dump() | {"reference": {}})
    said = Supervised(project.root, spec, 0, tmp_path).run(no_progress)
    assert float(said.split()[1]) > 0.2


REFUSED = {
    "a learner of pictures": ({"kind": "linear", "features": "autoencoder"}, {}, "which reads pictures"),
    "a space that is not there": (REGRESSION | {"features": "autoencodre"}, {}, "did you mean 'autoencoder'"),
    "the present classifier's": (REGRESSION | {"features": "classifier"}, {"classifier": {}}, "reads features itself"),
    "a strategy in the present classifier's": (REGRESSION, {"classifier": {}}, "reads features itself"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_read_is_refused(case: str, spec: Callable[..., dict[str, Any]]) -> None:
    learner, more, said = REFUSED[case]
    tables = spec(features=more, learner=None) | {"learner": learner}
    with pytest.raises(UserError, match=said):
        validate.check(parse(tables))
