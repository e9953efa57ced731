"""A run folder keeps the defaults that it was begun with, whatever the defaults of the asal that continues it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asal.errors import UserError
from asal.experiments.run import RunTask, begin, run_one
from asal.project.project import Project
from asal.project.spec import Spec, parse
from asal.runtime.progress import no_progress

DIGITS = {  # ten classes: with two, margin and entropy rank alike
    "name": "digits",
    "source": {"kind": "digits"},
    "pool": {"gray": True, "split": {"train": 200, "test": 100}},
    "learner": {"kind": "linear", "iterations": 10},
    "protocol": {"initial": 20, "batch": 10, "budget": 40},
}
ENTROPY = {"subset": {"size": 50, "score": "entropy"}}
PLAIN = {"subset": {"size": 50}}


def spec(strategies: dict[str, Any]) -> Spec:
    return parse({**DIGITS, "strategies": strategies})


def facts_of(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / "run.json").read_text())
    return facts


def older(out: Path, strategies: dict[str, Any]) -> None:
    """Let `run.json` be as an asal wrote it whose strategies ranked by entropy unless a spec said otherwise."""
    facts = facts_of(out)
    facts["spec"] = spec(strategies).model_dump(mode="json")
    del facts["options"]
    (out / "run.json").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    Project(root, spec({})).ingest()
    return root


@pytest.fixture
def begun(project: Path, tmp_path: Path) -> Callable[..., Path]:
    def begin_and_run(table: dict[str, Any], *names: str, seeds: tuple[int, ...] = (0,)) -> Path:
        out = tmp_path / "runs"
        begin(Project(project, spec(table)), names, seeds, out)
        for name in names:
            for seed in seeds:
                run_one(RunTask(project, spec(table), name, seed, out), no_progress)
        return out

    return begin_and_run


def rows(out: Path, name: str) -> bytes:
    return (out / name / "seed-0" / "rows.jsonl").read_bytes()


def test_rows_of_an_older_default_are_not_continued_by_the_present_one(begun: Callable[..., Path]) -> None:
    out = begun(ENTROPY, "subset")
    before = rows(out, "subset")
    older(out, PLAIN)
    there = (out / "run.json").read_bytes()
    with pytest.raises(UserError, match=r"\(changed: \[strategies\.subset\] score: 'entropy' → 'margin'\)") as refused:
        begun(PLAIN, "subset", seeds=(0, 1))
    assert "another default: write that into it" in refused.value.hint
    assert (out / "run.json").read_bytes() == there and not (out / "subset" / "seed-1").exists()
    begun(ENTROPY, "subset", seeds=(0, 1))  # as the hint says
    assert rows(out, "subset") == before
    assert facts_of(out)["options"]["subset"]["score"] == "entropy"


def test_a_strategy_that_the_spec_does_not_name_had_the_older_default_too(begun: Callable[..., Path]) -> None:
    out = begun({}, "random", "uncertainty")
    older(out, {})
    with pytest.raises(UserError, match=r"\[strategies\.uncertainty\] score: 'entropy' → 'margin'"):
        begun({}, "uncertainty")
    begun({}, "random", seeds=(0, 1))  # which depends on no default: that of the other stays as it was
    assert facts_of(out)["options"]["uncertainty"]["score"] == "entropy"
    with pytest.raises(UserError, match=r"\[strategies\.uncertainty\] score: 'entropy' → 'margin'"):
        begun({}, "uncertainty")
    begun({"uncertainty": {"score": "entropy"}}, "uncertainty")


def test_what_a_spec_leaves_out_and_what_it_says_are_the_same_where_they_mean_the_same(
    begun: Callable[..., Path],
) -> None:
    out = begun(PLAIN, "subset")
    before = rows(out, "subset")
    assert facts_of(out)["options"] == {
        "subset": {"size": 50, "score": "margin", "batch": "top", "space": "stored"},
    }
    begun({"subset": {"size": 50, "score": "margin"}}, "subset", "random")
    begun(PLAIN, "subset")
    assert rows(out, "subset") == before and set(facts_of(out)["options"]) == {"subset", "random"}


def test_options_that_were_written_are_what_counts(begun: Callable[..., Path]) -> None:
    """As for a default that changes once more: the folder says what it was."""
    out = begun(PLAIN, "subset")
    facts = facts_of(out)
    facts["options"]["subset"]["score"] = "least-confidence"
    (out / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"score: 'least-confidence' → 'margin'"):
        begun(PLAIN, "subset")


def test_an_option_that_this_asal_does_not_know_is_not_taken_for_a_default(begun: Callable[..., Path]) -> None:
    out = begun(PLAIN, "subset")
    facts = facts_of(out)
    facts["options"]["subset"]["moon"] = "full"  # of a newer asal
    (out / "run.json").write_text(json.dumps(facts))
    begun(PLAIN, "subset")  # the tables of both specs are the same
    with pytest.raises(UserError, match=r"changed: \[strategies\.subset\] size: 50 → 60"):
        begun({"subset": {"size": 60}}, "subset")


@pytest.mark.parametrize("features", [{"pixels": {"dimensions": 8}}, {}])
def test_a_space_that_the_spec_leaves_open_is_where_it_was(
    features: dict[str, Any], begun: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there was a choice by the spec, distances were in stored features, unless it said otherwise."""
    monkeypatch.setitem(DIGITS, "features", features)
    space = "stored" if features else "penultimate"
    table = {"subset": {"size": 50, "batch": "spread", "score": "margin"}}
    named = {"subset": {**table["subset"], "space": space}}
    begun_with = table if features else named
    out = begun({}, "random")
    facts = facts_of(out)
    facts["spec"] = spec(begun_with).model_dump(mode="json")
    facts["strategies"] = ["random", "subset"]
    del facts["options"]
    (out / "run.json").write_text(json.dumps(facts))
    begun(table, "random")
    assert facts_of(out)["options"]["subset"]["space"] == space
    if features:
        with pytest.raises(UserError, match="space: 'stored' → 'penultimate'"):
            begun({"subset": {**table["subset"], "space": "penultimate"}}, "random")
