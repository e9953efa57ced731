"""Every strategy through a whole comparison on a tiny project: what is prepared, asked, counted and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asal.errors import UserError
from asal.experiments.evaluation import add_reference, references
from asal.experiments.metrics import paired
from asal.experiments.results import load as load_results
from asal.experiments.run import RunTask, begin, run_one
from asal.experiments.sweep import compare
from asal.project.prepare import PASSING, temporary_context
from asal.project.project import Project
from asal.project.spec import Spec, parse
from asal.project.validate import check
from asal.runtime import artifacts
from asal.runtime.progress import no_progress
from asal.session.events import Record
from asal.session.state import State, fold

CNN = {"kind": "cnn", "width": 4, "hidden": 8, "steps": 20, "l2": None, "iterations": None}
TWO = {"pool": {"keep": ["3", "8"], "split": {"train": 400, "test": 200}}}
LINEAR: dict[str, Any] = {
    **TWO,
    "features": {"latent": {"steps": 5, "dimensions": 0}, "classifier": {"dimensions": 5, "fit_on": 30}},
    "annotator": {"kind": "teacher", "steps": 60, "width": 8, "hidden": 16},
    "reference": {"l2": 0.001, "seeds": 2},
    "strategies": {
        "asal": None, "subset": None, "uncertainty": None,
        "gaal": {"steps": 3}, "gaal-sure": {"kind": "gaal", "steps": 3, "min_confidence": 0.999},
        "adba": {"points": 4, "features": "latent"}, "margin-svm": {}, "hyperplane-hash": {"tables": 4},
        "asal-classifier": {"kind": "asal", "features": "classifier", "steps": 3, "paper": True},
        "typical-first": {"kind": "random", "first": "typiclust", "features": "autoencoder"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, spec: Callable[..., Any]) -> tuple[Path, Spec]:
    """Return a prepared project of two digits, and its spec. To be read, not written."""
    folder, tiny = tmp_path_factory.mktemp("two"), parse(spec(**LINEAR))
    Project(folder, tiny).prepare()
    return folder, tiny


@pytest.fixture(scope="module")
def done(two: tuple[Path, Spec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one seed of every strategy."""
    out = tmp_path_factory.mktemp("runs")
    project = Project(*two)
    begin(project, list(two[1].strategies), [0], out)
    for name in two[1].strategies:
        run_one(RunTask(project.root, two[1], name, 0, out), no_progress)
    return out


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name / "seed-0" / "rows.jsonl").read_text().splitlines()]


def state(out: Path, name: str) -> State:
    with Record.open(out / name / "seed-0" / "labels.db") as record:
        return fold(State(), record.read())


def test_all_of_them_run_to_the_budget(done: Path) -> None:
    results = load_results(done)
    assert {run.strategy for run in results.runs} == set(LINEAR["strategies"]) - {"asal", "subset", "uncertainty"} | {
        "random"
    }
    for run in results.runs:
        assert run.finished and run.labels.tolist() == [20, 30, 40], run.strategy


def test_what_is_prepared_is_named_by_what_went_into_it(two: tuple[Path, Spec]) -> None:
    names = sorted(path.name.rpartition("-")[0] for path in (two[0] / "parts").iterdir())
    assert names == ["autoencoder", "hyperplane-hash", "latent", "teacher", "wgan-gp"]
    assert {path.name.rpartition("-")[0] for path in (two[0] / "features").iterdir()} == {"autoencoder", "latent"}
    facts = artifacts.manifest(next((two[0] / "features").glob("latent-*")))
    assert facts["dimensions"] == 0 and not any("pca" in name for name in facts["files"])
    before = {path: path.stat().st_mtime_ns for path in two[0].rglob("*.safetensors")}
    Project(*two).prepare()
    assert before == {path: path.stat().st_mtime_ns for path in two[0].rglob("*.safetensors")}, "nothing is made twice"


def test_latents_stay_complete_and_draw_their_images(two: tuple[Path, Spec]) -> None:
    project = Project(*two)
    space = project.space("latent")
    assert space.extractor.dim == space.vectors.dim == project.generator.latent_dim
    images = project.pool.read(np.arange(6))
    np.testing.assert_allclose(space.extractor(images), space.vectors.read(np.arange(6)), atol=1e-4)


def test_runs_of_one_seed_are_paired_whatever_is_generated(done: Path) -> None:
    for name in ("gaal", "adba", "margin-svm", "asal-classifier"):
        assert state(done, name).rounds[0].ids == state(done, "random").rounds[0].ids
    assert rows(done, "gaal")[0]["accuracy"] == rows(done, "random")[0]["accuracy"]


def test_a_first_batch_may_be_chosen_by_typiclust(done: Path) -> None:
    first = state(done, "typical-first").rounds[0]
    assert first.strategy == "typiclust" and first.ids != state(done, "random").rounds[0].ids
    assert len(set(first.scores)) > 1, "typicalities"


def test_gaal_labels_the_images_that_it_generates(done: Path, two: tuple[Path, Spec]) -> None:
    project, found = Project(*two), state(done, "gaal")
    made = [image for asked in found.rounds[1:] for image in asked.ids]
    assert made == list(range(len(project.pool), len(project.pool) + 20))
    for row in rows(done, "gaal")[:-1]:
        assert row["evaluations"] == 0 and row["generated"] == 10 * 4, "three steps, and once for the end"
    images = project.session("gaal", record=done / "gaal" / "seed-0" / "labels.db").images(np.array(made))
    told = project.teacher.answer(images)
    assert [found.answers[image] for image in made] == told.tolist()


def test_who_is_not_sure_skips_and_pays(done: Path, two: tuple[Path, Spec]) -> None:
    sure, found = state(done, "gaal-sure"), state(done, "gaal")
    assert sure.spent == found.spent == 40
    assert sure.skips, "a network of thirty steps is not sure of everything"
    assert len(sure.answers) == 40 - len(sure.skips)
    assert rows(done, "gaal-sure")[-1]["labels"] == 40 and sum(rows(done, "gaal-sure")[-1]["class_counts"]) < 40


def test_adba_pays_once_a_line(done: Path) -> None:
    assert all(row["mean_score"] is None for row in rows(done, "adba")), "which would be those of latents found anew"
    found = state(done, "adba")
    assert [len(asked.ids) for asked in found.rounds] == [20, 40, 40] and found.spent == 40
    assert {made.note["line"] for made in found.synthetic.values()} == {*range(10), *range(40, 50)}
    assert len({made.note["source"] for made in found.synthetic.values()}) == 20


def test_the_classifiers_own_features_cost_the_pool_in_every_round(done: Path, two: tuple[Path, Spec]) -> None:
    pool = len(Project(*two).pool)
    for row in rows(done, "asal-classifier")[:-1]:
        assert row["evaluations"] == pool + 30 + 1 + 10, (
            "the pool, what PCA is fitted on and its first image, the picks"
        )
    assert not list((two[0] / PASSING).iterdir()), "they go with the round"


def test_what_a_killed_round_left_is_tidied_by_the_next(two: tuple[Path, Spec]) -> None:
    homes = two[0] / PASSING
    for name in ("999999999-left", f"{os.getpid()}-mine"):
        (homes / name).mkdir(parents=True)

    class Keeper:
        pass

    keeper = Keeper()
    made = temporary_context(Project(*two).context, keeper)
    assert made.root.parent == homes and made.root.is_dir()
    assert {path.name for path in homes.iterdir()} == {f"{os.getpid()}-mine", made.root.name}
    del keeper
    assert not made.root.exists()
    (homes / f"{os.getpid()}-mine").rmdir()


def test_a_passing_space_cannot_be_prepared_or_chosen_by_default(two: tuple[Path, Spec]) -> None:
    with pytest.raises(UserError, match="exist in a round"):
        Project(*two).space("classifier")
    assert Project(*two).tools("asal").features == "autoencoder", "the first that is stored"


def test_learning_loss_and_core_set_ask_a_network(tmp_path: Path, spec: Callable[..., Any]) -> None:
    names = {
        "random": {}, "learning-loss": {"size": 50}, "coreset": {}, "badge": {"size": 40}, "seals": {},
        "spread": {"size": 60}, "hidden": {"kind": "spread", "size": 60, "space": "penultimate"},
        "subset-spread": {"kind": "subset", "size": 60, "score": "margin", "batch": "spread"},
    }  # fmt: skip
    learned = {
        "kind": "asal",
        "search": "generator",
        "score": "learned-loss",
        "steps": 3,
        "raw_samples": 1,
        "keep_best": False,
    }
    tiny = parse(spec(learner=CNN, strategies={**names, "asal": learned, "subset": None, "uncertainty": None}))
    project, out = Project(tmp_path / "project", tiny), tmp_path / "out"
    compare(project, list(tiny.strategies), [0], out, jobs=1)
    first = {name: rows(out, name)[0] for name in tiny.strategies}
    assert first["coreset"]["accuracy"] == first["random"]["accuracy"], "the same network, the same start"
    assert first["learning-loss"]["evaluations"] == 50
    assert first["badge"]["evaluations"] == 80, "probabilities and the hidden layer"
    assert first["coreset"]["evaluations"] == 400, "the pool, labelled images included"
    assert first["spread"]["evaluations"] == 60
    assert first["hidden"]["evaluations"] == 60 + 60 + 20, "the hidden layer too, and that of labelled images"
    spread, subset = (state(out, name).rounds[1] for name in ("spread", "subset-spread"))
    assert spread.ids == subset.ids and spread.scores == subset.scores
    notes = state(out, "spread").notes[spread.ids[0]]
    assert set(notes) == {"score", "class_weight", "gain", "labelled_distance"}
    assert first["asal"]["generated"] == 40 and 10 <= first["asal"]["evaluations"] <= 200


def test_a_killed_run_that_generates_images_ends_in_the_same_rows(
    done: Path, two: tuple[Path, Spec], tmp_path: Path
) -> None:
    class Killed(Exception):  # noqa: N818  the machine's end, not an error
        pass

    project = Project(*two)
    for name in ("gaal", "adba"):
        begin(project, [name], [0], tmp_path / name)
        job = RunTask(project.root, two[1], name, 0, tmp_path / name)
        for stop in (1, 2):
            calls = 0

            def progress(*told: Any, stop: int = stop) -> None:
                nonlocal calls
                calls += 1
                if calls == stop:
                    raise Killed

            with pytest.raises(Killed):
                run_one(job, progress)
        run_one(job, no_progress)

        def timeless(out: Path, name: str = name) -> list[dict[str, Any]]:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(out, name)]

        assert timeless(tmp_path / name) == timeless(done)


def test_the_fully_supervised_line_is_trained_once_on_every_label(
    two: tuple[Path, Spec], done: Path, tmp_path: Path
) -> None:
    project = Project(*two)
    begin(project, ["random"], [0], tmp_path)
    trainings = references(project, tmp_path)
    assert [one.seed for one in trainings] == [0, 1]
    said = [one.run(no_progress) for one in trainings]
    written = [one.path.stat().st_mtime_ns for one in trainings]
    assert [one.run(no_progress) for one in trainings] == said
    assert [one.path.stat().st_mtime_ns for one in trainings] == written
    add_reference(tmp_path)
    run_one(RunTask(project.root, two[1], "random", 0, tmp_path), no_progress)
    full = load_results(tmp_path).reference
    assert full is not None and full.labels == len(project.pool) and full.accuracy > 0.9
    begin(project, ["random", "gaal"], [0], tmp_path)
    assert load_results(tmp_path).reference is not None, "it stays when strategies are added"


def test_a_spec_without_a_reference_trains_none(tmp_path: Path, spec: Callable[..., Any]) -> None:
    assert references(Project(tmp_path, parse(spec())), tmp_path) == []


def test_a_teacher_gives_no_answer_below_the_minimal_confidence(two: tuple[Path, Spec]) -> None:
    project = Project(*two)
    images, teacher = project.pool.read(np.arange(40)), project.teacher
    probs = teacher.model.predict(images)
    told = teacher.answer(images, min_confidence=0.9)
    assert (told[probs.max(1) < 0.9] == -1).all() and (
        told[probs.max(1) >= 0.9] == probs.argmax(1)[probs.max(1) >= 0.9]
    ).all()
    truth = project.oracle("test").answer(np.arange(len(project.test)))
    assert (teacher.answer(project.test.read(np.arange(len(project.test)))) == truth).mean() > 0.8


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "min_confidence without synthetic images": (
        {"strategies": {"random": {"min_confidence": 0.9}}}, "about synthetic images",
    ),
    "its former name": ({"strategies": {"random": {"sure": 0.9}}}, "`min_confidence`"),
    "a first strategy that needs a classifier": ({"strategies": {"random": {"first": "asal"}}}, "is called 'asal'"),
    "a misspelt first": ({"strategies": {"random": {"first": "typiclus"}}}, "did you mean 'typiclust'"),
    "latents cut by PCA": (
        {"features": {"latent": {"dimensions": 8}}, "strategies": {"adba": {"features": "latent"}}},
        "latents, uncompressed",
    ),
    "adba in another space": ({"strategies": {"adba": {"features": "autoencoder"}}}, "latents, uncompressed"),
    "an option of the reference": ({"reference": {"l3": 1}}, "is called 'l3'"),
    "a value of the reference": ({"reference": {"l2": -1}}, "l2 = -1"),
    "an option of the annotator": ({"annotator": {"kind": "teacher", "depth": 3}}, "is called 'depth'"),
    "a learned loss of a linear learner": ({"strategies": {"subset": {"score": "learned-loss"}}}, "predict its loss"),
    "picks measured by a learned loss": ({"protocol": {"score": "learned-loss"}}, "set `score`"),
    "an annotator that is none": ({"annotator": {"kind": "stored"}}, "is called 'stored'"),
    "a subset as small as the batch": ({"strategies": {"subset": {"size": 10}}}, "raise `size`"),
    "an option of a first": ({"strategies": {"random": {"first": {"kind": "typiclust", "sise": 3}}}}, "mean 'size'"),
    "dropout of a classifier that has no layers": (
        {"learner": {"kind": "sklearn", "factory": "sklearn.linear_model:LogisticRegression", "l2": None,
                     "iterations": None}, "strategies": {"dropquery": {}}},
        "learners cnn, head, linear, torch",
    ),
    "hashing for a network": ({"learner": CNN, "strategies": {"hyperplane-hash": {}}}, "learners head, linear"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_is_refused_in_the_first_second(what: str, spec: Callable[..., Any]) -> None:
    changes, said = REFUSED[what]
    with pytest.raises(UserError) as caught:
        check(parse(spec(**changes)))
    assert said in str(caught.value)


def test_adba_on_ten_classes_is_refused_before_anything_runs(tmp_path: Path, spec: Callable[..., Any]) -> None:
    changes = {"features": {"latent": {"steps": 2, "dimensions": 0}}, "strategies": {"adba": {"features": "latent"}}}
    project = Project(tmp_path, parse(spec(**changes)))
    project.ingest()
    with pytest.raises(UserError, match="is for two classes"):
        begin(project, ["adba"], [0], tmp_path / "out")
    with pytest.raises(UserError, match="is for two classes"):
        project.prepare(["adba"])
    assert not (tmp_path / "parts").exists(), "before anything was trained"


def test_a_first_batch_of_one_class_is_followed_by_another(tmp_path: Path, spec: Callable[..., Any]) -> None:
    """As in a pool with a rare class: no classifier, so no row; the next batch is chosen as the first was."""
    rng, labels = np.random.default_rng(0), (np.arange(120) >= 80).astype(np.int64)
    noise = rng.integers(40, size=(120, 8, 8, 1)) * (
        1 + labels[:, None, None, None]
    )  # the second class is less typical
    images = (noise + 100 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "rare.npz", x=images, y=labels, x_test=images[-16:], y_test=labels[-16:])
    first = {"kind": "typiclust", "clusters": 1, "size": 60}
    changes = {
        "source": {"kind": "arrays", "path": str(tmp_path / "rare.npz")},
        "features": {"pixels": {}, "autoencoder": None},
        "generator": None,
        "pool": {"split": {"train": 120, "test": "test"}},
        "protocol": {"initial": 8, "batch": 10, "budget": 118},
        "strategies": {"asal": None, "uncertainty": None, "typical": {"kind": "subset", "size": 20, "first": first}},
    }
    rare = parse(spec(**changes))
    compare(Project(tmp_path / "project", rare), ["random", "typical"], [1], tmp_path / "out", jobs=1)
    with Record.open(tmp_path / "out" / "typical" / "seed-1" / "labels.db") as record:
        found = fold(State(), record.read())
    unchosen = [asked.round for asked in found.rounds if asked.fallback_reason is not None]
    assert len(unchosen) > 1, "or this test shows nothing"
    path = tmp_path / "out" / "typical" / "seed-1" / "rows.jsonl"
    numbers = [json.loads(line)["round"] for line in path.read_text().splitlines()]
    assert numbers == list(range(len(unchosen), len(found.rounds) + 1))
    pair = paired(load_results(tmp_path / "out"), "typical", "random")
    assert pair is not None and np.isfinite(pair.differences).all()
    assert load_results(tmp_path / "out").facts["unlike"] == {"classifier": [], "first batch": ["typical"]}
