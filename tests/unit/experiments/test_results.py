"""Run folders are read as they were written, of whatever age, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.run_folders import results_of, write_facts, write_run

from asal.errors import DamageError, UserError
from asal.experiments.results import load


def test_loading_keeps_the_order_and_the_numbers(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"b": [[0.5, 0.6], [0.7, 0.8]], "a": [[0.1, 0.2], [0.3, 0.4]]})
    assert [(run.strategy, run.seed) for run in results.runs] == [("b", 0), ("b", 1), ("a", 0), ("a", 1)]
    assert results.runs[1].accuracy.tolist() == [0.7, 0.8]
    assert results.runs[1].labels.tolist() == [10, 20]
    assert np.isnan(results.runs[1].mean_score).tolist() == [False, True]
    assert results.unfinished == []


def test_a_line_that_a_kill_cut_off_is_left_out_and_its_run_named(tmp_path: Path) -> None:
    results_of(tmp_path, {"random": [[0.5, 0.6, 0.7]] * 3, "asal": [[0.6, 0.7, 0.8]] * 3})
    path = tmp_path / "asal" / "seed-1" / "rows.jsonl"
    path.write_text(path.read_text()[:-30])
    (tmp_path / "asal" / "seed-2" / "rows.jsonl").write_text('{"strategy": "as')
    results = load(tmp_path)
    assert results.unfinished == [("asal", 1, 20), ("asal", 2, 0)]
    assert [run.seed for run in results.of("asal")] == [0]
    assert [run.seed for run in results.begun("asal")] == [0, 1]


def test_a_run_that_stops_where_no_whole_batch_fits_is_finished(tmp_path: Path) -> None:
    write_facts(tmp_path, ["random"], seeds=1, rounds=0, protocol={"initial": 10, "batch": 10, "budget": 35})
    write_run(tmp_path, "random", 0, [0.5, 0.6, 0.7])  # 10, 20, 30 labels; the last one without picks
    assert load(tmp_path).unfinished == []
    write_run(tmp_path, "random", 0, [0.5, 0.6, 0.7], finished=False)
    assert load(tmp_path).unfinished == [("random", 0, 30)]


DAMAGES = {
    "a line in the middle is not JSON": lambda lines: [lines[0], "{", lines[2]],
    "a row lacks its accuracy": lambda lines: [lines[0].replace('"accuracy"', '"acuracy"'), *lines[1:]],
    "a round is missing": lambda lines: [lines[0], lines[2]],
    "a round is there twice": lambda lines: [lines[0], *lines],
    "labels are lost": lambda lines: [line.replace('"labels": 20', '"labels": 5') for line in lines],
    "an accuracy is above one": lambda lines: [line.replace('"accuracy": 0.5', '"accuracy": 50.0') for line in lines],
    "a count is infinite": lambda lines: [lines[0].replace('"class_counts": [', '"class_counts": [Infinity, '), *lines],
    "a score is infinite": lambda lines: [lines[0].replace('"mean_score": ', '"mean_score": 1e999, "x": '), *lines[1:]],
    "labels are beyond 64 bits": lambda lines: [lines[0].replace('"labels": ', f'"labels": {10**30}'), *lines[1:]],
    "a line is nested endlessly": lambda lines: [lines[0], "[" * 100_000, *lines[1:]],
    "an accuracy is not a number": lambda lines: [line.replace('"accuracy": 0.5', '"accuracy": NaN') for line in lines],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_rows_that_were_never_written_are_refused(tmp_path: Path, damage: str) -> None:
    results_of(tmp_path, {"random": [[0.5, 0.6, 0.7]]})
    path = tmp_path / "random" / "seed-0" / "rows.jsonl"
    path.write_text("\n".join(DAMAGES[damage](path.read_text().splitlines())) + "\n")
    with pytest.raises(DamageError, match=r"rows\.jsonl"):
        load(tmp_path)


def test_a_folder_without_an_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds a run\.json"):
        load(tmp_path)


def test_the_baseline_is_random_where_there_is_one(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"asal": [[0.5, 0.6]], "random": [[0.5, 0.6]]})
    assert results.baseline() == "random"
    assert results.baseline("asal") == "asal"
    with pytest.raises(UserError, match="did you mean 'random'"):
        results.baseline("randon")
    assert results_of(tmp_path, {"b": [[0.5, 0.6]], "a": [[0.5, 0.6]]}).baseline() == "b"


def without(path: Path, key: str) -> None:
    """Take a key out of every row, as an older asal wrote them."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != key}) + "\n" for row in rows))


def test_images_through_the_classifier_add_up_before_each_training(tmp_path: Path) -> None:
    (run,) = results_of(tmp_path, {"asal": [[0.5, 0.6, 0.7]]}, evaluations=100, generated=7).runs
    assert run.generated.tolist() == [7, 7, 0]
    assert run.spent.tolist() == [0, 107, 214]  # nothing was asked of the first classifier
    assert run.counts_generated and not run.hides_generated


@pytest.mark.parametrize("generates", [True, False])
def test_rows_of_before_made_up_images_were_counted_are_read(tmp_path: Path, generates: bool) -> None:
    seconds = (0.5, 0.3 * generates, 0, 0.1, 0)
    results_of(tmp_path, {"asal": [[0.5, 0.6, 0.7]]}, evaluations=100, generated=7, seconds=seconds)
    without(tmp_path / "asal" / "seed-0" / "rows.jsonl", "generated")
    facts = json.loads((tmp_path / "run.json").read_text())
    del facts["reference"]
    (tmp_path / "run.json").write_text(json.dumps(facts))
    results = load(tmp_path)
    (run,) = results.runs
    assert run.spent.tolist() == [0, 100, 200]
    assert run.hides_generated == generates
    assert results.reference is None


def test_the_reference_is_read_in_either_of_its_forms(tmp_path: Path) -> None:
    write_facts(tmp_path, ["random"], 1, 2, reference={"accuracy": 0.98})
    short = load(tmp_path).reference
    assert short is not None
    assert (short.accuracy, short.low, short.high, short.labels) == (0.98, 0.98, 0.98, None)
    told: dict[str, Any] = {"accuracy": 0.98, "accuracies": [0.97, 0.99, 0.98], "labels": 900, "seeds": [0, 1, 2]}
    write_facts(tmp_path, ["random"], 1, 2, reference=told | {"settings": {"l2": 0.1}})
    whole = load(tmp_path).reference
    assert whole is not None
    assert (whole.low, whole.high, whole.labels, whole.settings) == (0.97, 0.99, 900, {"l2": 0.1})


@pytest.mark.parametrize(
    "wrong", [{"accuracy": 98.0}, {"mean": 0.98}, [0.98], {"accuracy": "high"}, {"accuracy": 0.9, "accuracies": [1.9]}]
)
def test_a_reference_that_is_no_accuracy_is_refused(tmp_path: Path, wrong: Any) -> None:
    write_facts(tmp_path, ["random"], 1, 2, reference=wrong)
    with pytest.raises(UserError, match=r"run\.json has .*fix that entry") as refused:
        load(tmp_path)
    assert not isinstance(refused.value, DamageError), "whose remedy would be to delete the runs"
