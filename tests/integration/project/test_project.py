"""From names to working parts, and an engineer's way through a project by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asal
from asal.errors import UserError
from asal.project.project import Project
from asal.project.spec import StrategyTable, load, parse
from asal.project.validate import REGISTRIES, check
from asal.session.events import Record
from asal.session.plan import Plan
from asal.session.session import Session
from asal.strategies.scoring import needs_of

SOURCE = Path(asal.__file__).parent


def test_every_kind_of_part_has_its_registry() -> None:
    for title, registry in REGISTRIES.items():
        assert registry.package and (SOURCE.parent / registry.package.replace(".", "/")).is_dir()
        assert len(registry) > 0, title
    declaring = [path.parent for path in SOURCE.rglob("__init__.py") if "= Registry(" in path.read_text()]
    packages = {".".join(path.relative_to(SOURCE.parent).parts) for path in declaring}
    assert packages == {registry.package for registry in REGISTRIES.values()}


def test_entry_points_keep_their_groups_wherever_the_packages_lie() -> None:
    kinds = {"features", "generators", "index", "learners", "oracles", "scores", "sources", "strategies"}
    assert {registry.group for registry in REGISTRIES.values()} == {f"asal.{kind}" for kind in kinds}


def test_check_returns_the_chosen_tables(spec: Callable[..., Any]) -> None:
    tiny = parse(spec())
    assert list(check(tiny).strategies) == ["random", "uncertainty", "subset", "asal"]
    (table,) = check(tiny, ["subset"]).tables.values()
    assert table.options == {**tiny.strategies["subset"].options, "space": "stored"}, "what it leaves open is settled"
    assert check(tiny, ["random"]).tables == {"random": tiny.strategies["random"]}
    bare = parse(spec(strategies=None))
    assert check(bare).tables == {}
    assert check(bare, ["seals"]).tables == {"seals": StrategyTable(kind="seals")}, (
        "a registered one, with its defaults"
    )


NO_OPTIONS = {"l2": None, "iterations": None}  # of the tiny spec's linear learner
CNN: dict[str, Any] = {"learner": {"kind": "cnn", **NO_OPTIONS}}
SVC: dict[str, Any] = {"learner": {"kind": "sklearn", "factory": "sklearn.svm:SVC", **NO_OPTIONS}}
LATENT: dict[str, Any] = {"features": {"latent": {"dimensions": 0}}}
MET: dict[str, dict[str, Any]] = {"loss": CNN, "latents": LATENT}  # where the tiny spec does not meet a need
LACKING: dict[str, dict[str, Any]] = {
    "generator": {"generator": None},
    "features": {"features": None},
    "gradient": SVC,
    "linear": CNN,
    "loss": {"learner": {"kind": "linear"}},
    "latents": {"features": {"latent": {"dimensions": 3}}},
}


@pytest.mark.parametrize("name", list(REGISTRIES["strategies"]))
def test_every_strategy_is_checked_against_its_needs(name: str, spec: Callable[..., Any]) -> None:
    needs = needs_of(REGISTRIES["strategies"][name], {})
    met = {key: value for need in needs for key, value in MET.get(need, {}).items()}
    assert check(parse(spec(**met)), [name]).tables
    for need, changes in LACKING.items():
        poor = parse(spec(strategies=None, **{**met, **changes}))
        if need in needs and not (need == "features" and "space" in REGISTRIES["strategies"][name].roles):
            with pytest.raises(UserError, match=f"{name}|latent"):
                check(poor, [name])
        elif need in ("features", "generator"):
            check(poor, [name])


def test_a_strategy_matches_in_the_space_it_names_or_in_the_first(spec: Callable[..., Any], tmp_path: Path) -> None:
    spaces = {"features": {"pixels": {}}, "strategies": {"near": {"kind": "asal", "features": "pixels"}}}
    project = Project(tmp_path, parse(spec(**spaces)))
    assert project.tools("asal").features == "autoencoder" and project.tools("near").features == "pixels"
    assert project.tools("random").features == ""


UNDECLARED = """
def first(now, n, rng):
    return now.tools.index.search(now.features(now.unlabelled[:1]), n)
"""


def test_a_strategy_that_uses_what_it_does_not_declare_is_refused(
    spec: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undeclared_strategy.py").write_text(UNDECLARED)
    monkeypatch.syspath_prepend(tmp_path)
    project = Project(tmp_path, parse(spec(strategies={"mine": {"kind": "undeclared_strategy:first"}})))
    tools = project.tools("mine")
    for tool, needs in {"index": '"features", "index"', "vectors": '"features"', "generator": '"generator"'}.items():
        with pytest.raises(UserError, match=f"the strategy 'mine' uses `{tool}` but declares no needs") as refused:
            getattr(tools, tool)
        assert f"needs=({needs},)" in refused.value.hint
    with pytest.raises(UserError, match="the strategy 'asal' uses `own` but declares only features, generator"):
        _ = project.tools("asal").own


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"latent": {"dimensions": 3}}, "the features 'latent', which are compressed to 3 dimensions"),
        ({"pixels": {"dimensions": 0}}, "the features 'pixels', which are of kind 'pixels'"),
    ],
)
def test_features_that_are_no_latents_are_refused(
    features: dict[str, Any], words: str, spec: Callable[..., Any]
) -> None:
    (name,) = features
    with pytest.raises(UserError, match=f"cannot work in {words}"):
        check(parse(spec(features=features, strategies={"adba": {"features": name}})), ["adba"])


def test_a_score_of_some_classifiers_cannot_measure_picks(spec: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"score = 'learned-loss' under .* needs a classifier that predicts its loss"):
        check(parse(spec(protocol={"score": "learned-loss"})))


def test_a_learner_of_ones_own_gets_its_options(write_spec: Callable[..., Path], tiny: Path) -> None:
    own = {"kind": "torch", "factory": "support.classifiers:small_net", "options": {"hidden": 5}, "steps": 20}
    write_spec(tiny, learner={"l2": None, "iterations": None, **own})
    project = Project.open(tiny)
    model = project.session("asal").plan.learner.fit(
        project.pool.read(np.arange(40)), project.oracle("pool").answer(np.arange(40)), 10, np.random.default_rng(0)
    )
    assert model.embed(project.pool.read(np.arange(3))).shape == (3, 5)
    session = project.session("asal")
    for _ in range(2):
        batch = session.ask(20)
        session.tell(zip(batch.ids, project.oracle("pool").answer(batch.ids), strict=True))
    assert len(session.labelled) == 40


def test_a_learner_without_a_gradient_serves_strategies_that_need_none(
    write_spec: Callable[..., Path], tiny: Path
) -> None:
    forest = {"kind": "sklearn", "factory": "sklearn.ensemble:RandomForestClassifier", "options": {"n_estimators": 5}}
    write_spec(tiny, learner={"l2": None, "iterations": None, **forest}, strategies={"asal": None})
    project = Project.open(tiny)
    session = project.session("uncertainty")
    for _ in range(2):
        batch = session.ask(20)
        session.tell(zip(batch.ids, project.oracle("pool").answer(batch.ids), strict=True))
    assert session.state.rounds[1].evaluations == 380
    with pytest.raises(
        UserError, match=r"does not go with the learner 'sklearn'.*must have one.*cnn, head, linear, torch"
    ):
        project.session("gaal")


def test_only_preparing_makes_what_is_not_there(tiny: Path) -> None:
    import shutil

    before = sorted(tiny.glob("*/*/part.json"))
    for name in ("features", "indexes"):
        shutil.rmtree(tiny / name)
    with pytest.raises(UserError, match="run `asal prepare`"):
        Project.open(tiny).index("autoencoder")
    Project.open(tiny).prepare()
    assert len(Project.open(tiny).index("autoencoder").search(np.zeros((1, 8), np.float32), 2).ids[0]) == 2
    assert sorted(tiny.glob("*/*/part.json")) == before


def test_a_pool_that_is_not_there_is_said(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `asal prepare`"):
        len(Project.open(write_spec(tmp_path)).pool)


# By hand -------------------------------------------------------------------------------------------------------------


def test_an_engineers_way(tiny: Path) -> None:
    project = Project.open(tiny)
    truth = project.oracle("pool")
    session = project.session("asal")
    while len(session.labelled) < 40:
        batch = session.ask(10)
        for image, label in zip(batch.ids, truth.answer(batch.ids), strict=True):
            session.tell({image: str(label)}, by="me")  # by the class's name
    model = session.model()
    right = model.predict(project.test.read(np.arange(200))).argmax(1) == project.oracle("test").answer(np.arange(200))
    assert right.mean() > 0.5
    assert len(project.pool.keys(session.labelled)) == 40
    assert sum(session.counts.values()) == 40


def test_a_batch_lives_through_skips_corrections_and_an_end_of_the_process(tiny: Path) -> None:
    project = Project.open(tiny)
    truth = project.oracle("pool")
    session = project.session("asal")
    first = session.ask(20)
    assert session.state.rounds[0].fallback_reason == "nothing is labelled yet"
    assert session.tell(zip(first.ids, truth.answer(first.ids), strict=True)) == 0

    batch = session.ask(10)
    assert len(batch.notes) == 10
    for note in batch.notes:
        assert (
            len(note["latent"]) == 8
            and note["distance"] >= 0
            and -1 <= note["score"] <= 0
            and -1 <= note["synthetic_score"] <= 0
        )
    told, unclear = int(batch.ids[0]), int(batch.ids[1])
    wrong = int(truth.answer(batch.ids[:1])[0] + 1) % 10
    assert session.tell({told: wrong, unclear: None}, by="Ada") == 8
    session.record.close()

    again = Project.open(tiny).session("asal")
    rest = again.ask(3)  # the open batch, whatever is asked for
    assert rest.ids.tolist() == batch.ids[2:].tolist() and rest.answered.tolist() == [told, unclear]
    assert [note["latent"] for note in rest.notes] == [note["latent"] for note in batch.notes[2:]]
    again.correct({told: (wrong + 9) % 10}, by="Ada")
    assert again.tell(zip(rest.ids, truth.answer(rest.ids), strict=True)) == 0
    assert len(again.labelled) == 29 and again.skipped.tolist() == [unclear]
    assert again.labels[again.labelled == told] == truth.answer(np.array([told]))
    following = again.ask(10)
    assert not set(following.ids.tolist()) & {*first.ids.tolist(), *batch.ids.tolist()}, "asked twice"
    with Record.open(tiny / "labels.db") as record:
        assert [e.kind for e in record.read() if e.by == "Ada"] == ["answered", "skipped", "corrected"]


def test_wrong_answers_are_refused_and_cost_nothing(tiny: Path) -> None:
    session = Project.open(tiny).session("random")
    batch = session.ask(5)
    inside, outside = int(batch.ids[0]), next(i for i in range(400) if i not in batch.ids)
    before = session.state
    wrong: list[tuple[Any, str]] = [
        ({9999: 1}, "9999"), ({outside: 1}, "not in the open batch"), ({inside: 1, outside: 1}, "not in the open"),
        ({inside: 10}, "10"), ({inside: "ten"}, "ten"), ([(inside, 1), (inside, 2)], "twice"),
    ]  # fmt: skip
    for answers, words in wrong:
        with pytest.raises(UserError, match=words):
            session.tell(answers)
        assert session.state is before
    assert session.ask(5).ids.tolist() == batch.ids.tolist()


def test_classes_may_be_named_by_the_one_who_labels(tiny: Path) -> None:
    project = Project.open(tiny)
    session = project.session("random", classes=("even", "odd"), record=tiny / "parity.db")
    batch = session.ask(6)
    session.tell({image: ("even", "odd")[i % 2] for i, image in enumerate(batch.ids)})
    assert session.counts == {"even": 3, "odd": 3} and session.model().predict(project.pool.read(batch.ids)).shape == (
        6,
        2,
    )
    assert not (tiny / "labels.db").exists()


def test_the_parts_can_be_put_together_without_a_project_folder(prepared: Path) -> None:
    project = Project(prepared, load(prepared))
    plan: Plan = project.plan("subset", ("a", "b"), seed=5)
    with Record.open("sqlite://") as record:
        session = Session(project.pool, record, plan, project.tools("subset"))
        batch = session.ask(4)
        session.tell({image: i % 2 for i, image in enumerate(batch.ids)})
        assert len(session.ask(7)) == 7 and session.state.rounds[1].evaluations == 50
