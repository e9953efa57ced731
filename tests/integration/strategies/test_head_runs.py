"""Every strategy that goes with a head, through an experiment on stored features; what is read, and resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import merged

from asal.errors import UserError
from asal.experiments.evaluation import Evaluation, Supervised
from asal.experiments.results import load as load_results
from asal.experiments.run import RunTask, begin, run_one
from asal.project.project import Project
from asal.project.spec import Spec, parse
from asal.project.validate import REGISTRIES, check, learner_space
from asal.runtime.progress import no_progress
from asal.session.class_changes import ClassChange

OPTIONS: dict[str, dict[str, Any]] = {
    "asal": {"search": "generator", "steps": 3}, "gaal": {"steps": 3}, "hyperplane-hash": {"tables": 4},
    "subset": {"size": 50}, "adba": {"points": 4, "features": "latent"}, "badge": {"size": 50},
    "typiclust": {"size": 50}, "dropquery": {"size": 50}, "anchoral": {"size": 50},
    "bald": {"size": 50}, "cluster-margin": {"size": 50},
}  # fmt: skip
HEAD: dict[str, Any] = {
    "pool": {"keep": ["3", "8"], "split": {"train": 400, "validation": 60, "test": 200}},
    "features": {"pixels": {"dimensions": 24, "index_dimensions": 8}, "latent": {"steps": 5, "dimensions": 0}},
    "annotator": {"kind": "teacher", "steps": 60, "width": 8, "hidden": 16},
    "learner": {"kind": "head", "features": "pixels", "l2": None, "iterations": None},
    "reference": {"l2": 0.001},
    "strategies": {
        **{name: OPTIONS.get(name, {}) for name in REGISTRIES["strategies"] if name != "learning-loss"},
        "typical-first": {"kind": "random", "first": "typiclust", "features": "autoencoder"},
        "balanced": {"kind": "subset", "size": 80, "balance": 3},
        "climbing": {"kind": "asal", "size": 60},
    },
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, spec: Callable[..., Any]) -> tuple[Path, Spec]:
    """Return a prepared project of two digits whose classifier is a head. To be read, not written."""
    folder, of_head = tmp_path_factory.mktemp("head"), parse(spec(**HEAD))
    Project(folder, of_head).prepare()
    return folder, of_head


@pytest.fixture(scope="module")
def done(two: tuple[Path, Spec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one seed of every strategy."""
    out = tmp_path_factory.mktemp("runs")
    begin(Project(*two), list(two[1].strategies), [0], out)
    for name in two[1].strategies:
        run_one(RunTask(two[0], two[1], name, 0, out), no_progress)
    return out


def test_every_strategy_but_one_goes_with_a_head(two: tuple[Path, Spec]) -> None:
    admitted = {table.kind for table in check(two[1]).tables.values()}
    assert admitted == set(REGISTRIES["strategies"]) - {"learning-loss"}
    with pytest.raises(UserError, match="does not go with the learner 'head'"):
        check(two[1], ["learning-loss"])


def test_all_of_them_run_to_the_budget_and_learn(done: Path, two: tuple[Path, Spec]) -> None:
    results = load_results(done)
    assert {run.strategy for run in results.runs} == set(two[1].strategies)
    for run in results.runs:
        assert run.finished and run.labels.tolist() == [20, 30, 40], run.strategy
        if run.strategy not in ("adba", "gaal"):  # untrained generators make no digits
            assert run.accuracy[-1] > 0.8, run.strategy


def test_a_run_goes_on_with_the_same_weights(done: Path, two: tuple[Path, Spec], tmp_path: Path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    rows = again / "asal" / "seed-0" / "rows.jsonl"
    before = [json.loads(line) for line in rows.read_text().splitlines()]
    rows.unlink()
    run_one(RunTask(two[0], two[1], "asal", 0, again), no_progress)
    after = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [(row["accuracy"], row["mean_score"]) for row in after] == [
        (row["accuracy"], row["mean_score"]) for row in before
    ]


def test_what_it_reads_is_stored_for_the_pool_and_the_held_out_sets(two: tuple[Path, Spec]) -> None:
    project = Project(*two)
    for part in ("pool", "test", "validation"):
        ids = np.arange(8)
        found = project.inputs(part).read(ids)
        assert project.space("pixels").vectors.dim == 8, "what strategies and the index see"
        assert found.shape == (8, 24)
        np.testing.assert_allclose(
            found, project.space("pixels").stored_extractor(project.images(part).read(ids)), atol=1e-4
        )


def test_a_gradient_passes_the_space_to_the_image(two: tuple[Path, Spec]) -> None:
    import torch

    from asal.models.tensors import to_batch

    project, ids = Project(*two), np.arange(60)
    labels = project.oracle("pool").answer(ids)
    vectors = project.inputs().read(ids)
    model = project.learner(frozenset({"gradient"})).fit(vectors, labels, 2, np.random.default_rng(0))
    batch = to_batch(project.pool.read(ids)).requires_grad_()
    logits = model.logits(batch)
    np.testing.assert_allclose(logits.detach().double().softmax(1).numpy(), model.predict(vectors), atol=1e-4)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), batch)
    assert bool((gradient.flatten(1).abs().amax(1) > 0).all())
    with pytest.raises(UserError, match="without their extractor"):
        project.learner().fit(vectors, labels, 2, np.random.default_rng(0)).logits(batch)


def test_classes_that_are_added_later_get_a_column(two: tuple[Path, Spec], tmp_path: Path) -> None:
    project = Project(*two)
    session = project.session("subset", record=tmp_path / "labels.db")
    ids = session.ask(20).ids
    session.tell(zip(ids.tolist(), project.oracle("pool").answer(ids).tolist(), strict=True))
    before, at = session.model().predict(session.inputs(ids)), session.state.seq
    session.change_classes(ClassChange("add", ("neither",)))
    session.correct({int(ids[0]): "neither"})
    assert session.model().predict(session.inputs(ids)).shape == (20, 3)
    assert np.array_equal(session.as_of(at).model().predict(session.inputs(ids)), before)


def test_the_fully_supervised_head_is_the_line_at_the_top(two: tuple[Path, Spec], tmp_path: Path) -> None:
    said = Supervised(two[0], two[1], 0, tmp_path).run(no_progress)
    assert float(said.split()[1]) > 0.9
    assert Evaluation.of(Project(*two), "validation").features is not None


@pytest.mark.parametrize("dimensions", [0, 60], ids=["as they are", "more than PCA can give"])
def test_hyperplanes_are_hashed_in_as_many_dimensions_as_there_are(
    dimensions: int, spec: Callable[..., Any], tmp_path: Path
) -> None:
    features = {"pixels": {"dimensions": dimensions, "index_dimensions": 0}}
    few = parse(merged(spec(**HEAD), {"pool": {"split": {"train": 150}}, "features": features}))
    project = Project(tmp_path, few)
    project.prepare(["hyperplane-hash"])
    session = project.session("hyperplane-hash", record=tmp_path / "labels.db")
    for n in (10, 5):
        ids = session.ask(n).ids
        assert len(ids) == n
        session.tell(zip(ids.tolist(), project.oracle("pool").answer(ids).tolist(), strict=True))


NO_GRADIENT = {"learner": {"features": "latent"}}
HIDDEN = {"learner": {"hidden": 8}}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a gradient through a space that has none": (NO_GRADIENT, "asal", "no gradient"),
    "a hyperplane of a network": (HIDDEN, "hyperplane-hash", "does not go with the learner 'head'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_head_cannot_do_is_refused(case: str, spec: Callable[..., dict[str, Any]]) -> None:
    changes, strategy, said = REFUSED[case]
    poor = parse(merged(spec(**HEAD), changes))
    check(poor, ["random"])
    with pytest.raises(UserError, match=said) as refusal:
        check(poor, [strategy])
    assert refusal.value.hint


def test_its_space_is_the_first_prepared_one_by_default(spec: Callable[..., dict[str, Any]]) -> None:
    tables = spec(**merged(HEAD, {"learner": {"features": None}})) | {"strategies": {"random": {}}}
    latent, pixels = {"kind": "latent", "dimensions": 0}, {"kind": "pixels"}
    assert learner_space(parse(tables | {"features": {"z": latent, "x": pixels}})) == "z"
    without = {key: table for key, table in tables.items() if key != "generator"}
    assert learner_space(parse(without | {"features": {"z": latent, "x": pixels}})) == "x"
    with pytest.raises(UserError, match="learner 'head' needs a feature space"):
        check(parse(without | {"features": {}}))
