"""Class balance: what is taken of a strategy's picks, the shipped checks over balanced strategies, and the spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import Round, Selection, as_ids
from asal.errors import UserError
from asal.experiments.run import RunTask, begin, run_one
from asal.project.project import Project
from asal.project.spec import parse
from asal.project.validate import check
from asal.registry import Part
from asal.runtime.progress import no_progress
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.strategies.class_balance import balanced, rarest_first
from asal.testing.rounds import setting
from asal.testing.strategy import CHECKS, LABELLED, choose

QUICK: dict[str, dict[str, Any]] = {"asal": {"search": "generator", "steps": 5}, "subset": {"size": 40}}


def part(name: str, times: int = 3) -> Part:
    plain = strategies[name]
    return replace(plain, make=balanced(plain.bind(QUICK.get(name, {})), times))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["random", "uncertainty", "subset", "asal", "badge"])
def test_a_balanced_strategy_passes_the_shipped_checks(name: str, check: str) -> None:
    CHECKS[check](lambda: part(name))


def test_the_rarest_class_comes_first() -> None:
    predicted = np.array([0, 0, 0, 0, 1, 0, 1, 2])
    assert rarest_first(predicted, np.array([9, 8, 7]), 5).tolist() == [7, 4, 0, 6, 1]  # then 0 and 1 are level
    assert rarest_first(predicted, np.array([0, 0, 0]), 3).tolist() == [0, 4, 7]  # of equal classes the sooner pick
    assert rarest_first(predicted, np.array([5, 0, 0]), 8).tolist() == [4, 7, 6, 0, 1, 2, 3, 5]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_all_are_taken_once_and_each_class_in_order(predicted: list[int], counts: list[int]) -> None:
    classes = np.array(predicted)
    rows = rarest_first(classes, np.array(counts), len(predicted))
    assert sorted(rows.tolist()) == list(range(len(predicted)))
    for label in range(4):
        own = rows[classes[rows] == label]
        assert (np.diff(own) > 0).all()


@settings(deadline=None)
@given(st.integers(1, 20), st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_with_enough_of_each_the_labels_even_out(n: int, counts: list[int]) -> None:
    predicted = np.tile([0, 1, 2], 40)
    after = np.array(counts) + np.bincount(predicted[rarest_first(predicted, np.array(counts), n)], minlength=3)
    raised = after > counts
    assert after[raised].max() - after.min() <= 1


def test_it_takes_of_the_strategys_picks_with_their_scores_and_notes() -> None:
    def chooser(now: Round, n: int, rng: np.random.Generator) -> Selection:
        asked.append(n)
        ids = as_ids(range(6, 6 + n))
        return Selection(ids, -ids.astype(float), [{"id": int(image)} for image in ids])

    asked: list[int] = []
    with setting(strategies["random"]) as at:
        now = at.round(LABELLED)
        chosen = balanced(chooser, 4)(now, 3, stream(0))
        predicted = now.model.predict(now.pool.read(as_ids(range(6, 18)))).argmax(1)
        rows = rarest_first(predicted, np.bincount(now.labels, minlength=3), 3)
    assert asked == [12] and now.meter.evaluations == 12
    assert chosen.ids.tolist() == (rows + 6).tolist()
    assert chosen.scores.tolist() == (-chosen.ids).tolist()
    assert [note["id"] for note in chosen.notes] == chosen.ids.tolist()


def test_once_as_many_are_the_same_images() -> None:
    with setting(strategies["uncertainty"]) as at:
        now = at.round(LABELLED)
        plain, wrapped = choose(strategies["uncertainty"], now, 6), choose(part("uncertainty", 1), now, 6)
    assert sorted(plain.ids.tolist()) == sorted(wrapped.ids.tolist())


def test_where_few_are_left_all_of_them_are_weighed() -> None:
    with setting(part("random", 50)) as at:
        now = at.round(as_ids(range(len(at.pool) - 5)))
        assert len(choose(part("random", 50), now, 4).ids) == 4


def test_a_spec_without_balance_is_as_it_was(spec: Callable[..., Any]) -> None:
    off, on = parse(spec(strategies={"random": {"balance": 0}})), parse(spec(strategies={"random": {"balance": 4}}))
    assert off.hash == parse(spec()).hash
    assert "balance" not in str(off.model_dump(mode="json")) and "untold" not in str(off.model_dump())
    assert on.hash != off.hash
    assert on.model_dump(mode="json")["strategies"]["random"]["balance"] == 4
    assert parse(on.model_dump(mode="json")) == on


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "gaal", "balance": 2}, "synthetic images"),
        ({"kind": "subset", "size": 40, "balance": 4}, "balance = 4"),
        ({"kind": "random", "balance": -1}, "greater than or equal to 0"),
        ({"kind": "random", "balance": 1.5}, "balance"),
    ],
)
def test_what_cannot_be_balanced_is_refused(spec: Callable[..., Any], table: dict[str, Any], said: str) -> None:
    two = {"keep": ["3", "8"]}
    with pytest.raises(UserError, match=said):
        check(parse(spec(pool=two, strategies={"it": table})))


def test_a_run_is_balanced(prepared: Path, spec: Callable[..., Any], tmp_path: Path) -> None:
    tiny = parse(spec(strategies={"even": {"kind": "random", "balance": 3}}))
    project = Project(prepared, tiny)
    begin(project, ["random", "even"], [0], tmp_path)
    for name in ("random", "even"):
        run_one(RunTask(prepared, tiny, name, 0, tmp_path), no_progress)
    rows = (tmp_path / "even" / "seed-0" / "rows.jsonl").read_text()
    assert '"evaluations": 30' in rows
