"""The numbers of a report, checked against ones that can be worked out on paper."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.errors import DamageError, UserError
from asal.evaluate import Results, accuracy_at, aubc, cost, curve, estimate, load, paired, quarters, summarise
from asal.meter import Meter
from asal.rng import stream

INITIAL, BATCH = 10, 10


def write_run(folder: Path, strategy: str, seed: int, accuracy: Sequence[float], **more: Any) -> Path:
    """Write one run's rows: one a value of `accuracy`, the last without picks unless `finished` says otherwise."""
    rng = stream(seed, "made up", strategy)
    classes, initial = more.get("classes", 2), more.get("initial", INITIAL)
    counts = np.full(classes, initial // classes)
    lines = []
    for number, value in enumerate(accuracy):
        last = number == len(accuracy) - 1 and more.get("finished", True)
        score = float(more.get("score", 0.3) * rng.uniform(0.9, 1.1) * (1.2 - 0.4 * number / len(accuracy)))
        seconds = dict(zip(Meter.PARTS, more.get("seconds", (0.5, 0, 0, 0.1, 0.05)), strict=True))
        row = {
            "strategy": strategy,
            "seed": seed,
            "round": number + 1,
            "labels": initial + BATCH * number,
            "accuracy": float(value),
            "mean_score": None if last else score,
            "class_counts": counts.tolist(),
            "evaluations": 0 if last else more.get("evaluations", 100),
            "seconds": {part: 0.5 * s if last else float(s * rng.uniform(0.9, 1.1)) for part, s in seconds.items()},
        }
        lines.append(json.dumps(row))
        counts = counts + rng.multinomial(BATCH, more.get("skew", [1 / classes] * classes))
    path = folder / strategy / f"seed-{seed}" / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_facts(folder: Path, strategies: Sequence[str], seeds: int, rounds: int, **facts: Any) -> None:
    description = {
        "name": "made-up",
        "spec": {"name": "made-up", "pool": {"source": "digits", "keep": [5, 7]}, "protocol": {"batch": BATCH}},
        "spec_hash": "0123456789ab",
        "versions": {"asal": "0.1.0", "torch": "2.13.0"},
        "commit": "0" * 40,
        "hardware": {"cpu": "two cores", "memory": "23 GiB"},
        "classes": ["5", "7"],
        "strategies": list(strategies),
        "seeds": list(range(seeds)),
        "protocol": {"initial": INITIAL, "batch": BATCH, "budget": INITIAL + BATCH * (rounds - 1), "score": "entropy"},
        "reference": {"accuracy": 0.989},
        "project": "made-up",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(description | facts))


def write_experiment(
    folder: Path, saved: Mapping[str, float], *, seeds: int = 5, rounds: int = 20, **facts: Any
) -> Path:
    """Write an experiment of made-up curves: `saved` says what share of the labels each strategy saves."""
    write_facts(folder, list(saved), seeds, rounds, **facts)
    classes = len(facts.get("classes", "57"))
    labels = INITIAL + BATCH * np.arange(rounds)
    for rank, (strategy, share) in enumerate(saved.items()):
        generates = "asal" in strategy
        for seed in range(seeds):
            luck = stream(seed, "luck").normal(0, 0.15) + stream(seed, strategy).normal(0, 0.05)
            noise = stream(seed, strategy, "noise").normal(0, 0.002, rounds)
            steps = (1 + share) * labels / (35 * np.exp(luck))
            write_run(
                folder, strategy, seed, np.clip(0.988 - 0.43 * np.exp(-np.sqrt(3 * steps)) + noise, 0, 1).tolist(),
                classes=classes, score=0.2 + 0.25 * share, evaluations=(0, 10_000, 100, 210)[rank % 4],
                seconds=(0.8, 0.31, 0.04, 0.02, 0.01) if generates else (0.8, 0, 0, 0.4 * rank, 0.1 * rank),
            )  # fmt: skip
            if generates:
                write_pairs(folder / strategy / f"seed-{seed}", seed, classes)
    return folder


def write_pairs(folder: Path, seed: int, classes: int, shape: tuple[int, int, int] = (28, 28, 1)) -> None:
    rng = stream(seed, "pairs")
    y, x = np.mgrid[: shape[0], : shape[1]]
    turns = rng.uniform(0, 3, (12, 1, 1, 1))
    waves = 127 + 120 * np.sin((x + y * np.cos(turns[..., 0]))[..., None] / 4 + turns)
    synthetic = np.broadcast_to(waves, (12, *shape)).astype(np.uint8)
    np.savez(
        folder / "pairs.npz",
        synthetic=synthetic,
        matched=np.where(synthetic > 127, 255 - synthetic // 3, synthetic // 2).astype(np.uint8),
        ids=rng.integers(0, 60_000, 12),
        labels=rng.integers(0, classes, 12),
        scores=rng.uniform(0.6, 0.69, 12),
        match_scores=rng.uniform(0.2, 0.6, 12),
    )


def results_of(folder: Path, runs: Mapping[str, Sequence[Sequence[float]]], **more: Any) -> Results:
    """Write and load an experiment whose accuracies are given, strategy by strategy and seed by seed."""
    rounds = max(len(accuracy) for of_seed in runs.values() for accuracy in of_seed)
    write_facts(folder, list(runs), max(map(len, runs.values())), rounds)
    for strategy, of_seed in runs.items():
        for seed, accuracy in enumerate(of_seed):
            write_run(folder, strategy, seed, accuracy, finished=len(accuracy) == rounds, **more)
    return load(folder)


def test_the_area_of_a_straight_line_is_its_middle() -> None:
    assert aubc([10, 20, 30], [0.5, 0.7, 0.9]) == pytest.approx(0.7)
    assert aubc([10, 50], [0.5, 0.9]) == pytest.approx(0.7)


def test_the_area_weighs_budgets_not_rounds() -> None:
    assert aubc([0, 10, 100], [0.0, 1.0, 1.0]) == pytest.approx(0.95)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.data())
@settings(max_examples=50, deadline=None)
def test_the_area_lies_between_the_worst_and_the_best(accuracy: list[float], data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.integers(1, 1000), min_size=len(accuracy), max_size=len(accuracy)))
    assert min(accuracy) - 1e-9 <= aubc(np.cumsum(steps), accuracy) <= max(accuracy) + 1e-9


def test_one_point_has_no_area() -> None:
    with pytest.raises(UserError, match="two budgets"):
        aubc([10], [0.5])


def test_accuracy_is_linear_between_trainings_and_unknown_outside() -> None:
    assert accuracy_at([10, 20], [0.5, 0.7], 20) == pytest.approx(0.7)
    assert accuracy_at([10, 20], [0.5, 0.7], 15) == pytest.approx(0.6)
    for budget in (9, 21):
        with pytest.raises(UserError, match="10 to 20 labels"):
            accuracy_at([10, 20], [0.5, 0.7], budget)


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


def test_differences_are_taken_seed_by_seed_over_finished_runs(tmp_path: Path) -> None:
    runs = {
        "random": [[0.5, 0.5], [0.6, 0.6], [0.7, 0.7], [0.8]],
        "asal": [[0.6, 0.6], [0.6, 0.6], [0.6, 0.6], [0.9, 0.9]],
    }
    pair = paired(results_of(tmp_path, runs), "asal", "random")
    assert pair is not None
    assert pair.seeds == (0, 1, 2)  # seed 3 of random is not finished
    assert pair.differences == pytest.approx([0.1, 0, -0.1])
    assert (pair.wins, pair.ties, pair.losses) == (1, 1, 1)
    assert pair.estimate.sign == 0


def test_seeds_that_begin_with_different_numbers_of_labels_are_not_compared(tmp_path: Path) -> None:
    results_of(tmp_path, {"random": [[0.5, 0.6]] * 2, "asal": [[0.5, 0.6]] * 2})
    write_run(tmp_path, "asal", 1, [0.5, 0.6], initial=20)
    with pytest.raises(UserError, match="20 and random 10 under seed 1"):
        paired(load(tmp_path), "asal", "random")


def test_the_interval_of_few_seeds_is_students() -> None:
    found = estimate([0.1, 0.2, 0.3])
    half = 4.302653 * 0.1 / np.sqrt(3)  # t with 2 degrees of freedom
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)
    assert (found.method, found.seeds, found.sign) == ("t-interval", 3, 0)


def test_the_interval_of_many_seeds_is_a_bootstrap_that_never_changes() -> None:
    values = [0.011, 0.018, 0.025, 0.016, 0.021] * 4
    found = estimate(values)
    assert found.method == "BCa bootstrap"
    assert min(values) < found.low < found.mean < found.high < max(values)
    assert found.sign == 1
    assert estimate([-x for x in values]).sign == -1
    assert estimate(values) == found


@pytest.mark.parametrize(("values", "why"), [([0.1], "one seed"), ([0.1] * 6, "alike"), ([0.0] * 3, "alike")])
def test_where_seeds_allow_no_interval_none_is_given(values: list[float], why: str) -> None:
    found = estimate(values)
    assert np.isnan([found.low, found.high]).all()
    assert why in found.method
    assert found.sign == 0


def test_intervals_cover_no_difference_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    zero = [estimate(rng.normal(0, 1, 4)).sign == 0 for _ in range(200)]  # Student's t
    assert 0.9 <= np.mean(zero) <= 0.99


def test_a_curve_is_the_mean_between_the_extremes(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"random": [[0.2, 0.4], [0.4, 0.8], [0.3, 0.6, 0.7]]})
    line = curve(results, "random")
    assert line is not None
    assert line.finished
    assert line.seeds == 1
    assert line.mean.tolist() == [0.3, 0.6, 0.7]


def test_unfinished_runs_are_drawn_as_far_as_all_have_come(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"random": [[0.1, 0.2, 0.3, 0.4]], "asal": [[0.2, 0.4], [0.4, 0.8, 0.9]]})
    line = curve(results, "asal")
    assert line is not None
    assert not line.finished
    assert line.labels.tolist() == [10, 20]
    assert line.mean == pytest.approx([0.3, 0.6])
    assert (line.low.tolist(), line.high.tolist()) == ([0.2, 0.4], [0.4, 0.8])


def test_costs_leave_out_the_round_that_only_trains(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"random": [[0.5, 0.6, 0.7]]}, evaluations=100)
    assert cost(results.of("random")).evaluations == 100


def test_a_summary_tells_the_ratio_of_scores_over_common_seeds(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.6, "uncertainty": 0.9}, seeds=3)
    summaries = {s.strategy: s for s in summarise(load(tmp_path), [50], "random")}
    ratio = summaries["asal"].score_ratio
    assert ratio is not None
    assert ratio == pytest.approx(summaries["asal"].score / summaries["random"].score)
    assert summaries["random"].gain is None
    assert summaries["random"].gain_at == {}
    assert summaries["uncertainty"].gain is not None
    assert summaries["uncertainty"].gain.estimate.sign == 1
    assert summaries["asal"].class_counts.sum() == pytest.approx(200)


def test_negative_scores_have_no_ratio(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"random": [[0.5, 0.6]] * 2, "asal": [[0.5, 0.7]] * 2}, score=-0.5)
    assert [s.score_ratio for s in summarise(results, [], "random")] == [None, None]


def test_quarter_points_lie_on_every_finished_curve(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0}, seeds=1, rounds=50)
    assert quarters(load(tmp_path)) == [125, 250, 375, 500]
    write_experiment(tmp_path, {"random": 0.0}, seeds=1, rounds=3)
    assert quarters(load(tmp_path)) == [15, 22, 30]


def test_the_baseline_is_random_where_there_is_one(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"asal": [[0.5, 0.6]], "random": [[0.5, 0.6]]})
    assert results.baseline() == "random"
    assert results.baseline("asal") == "asal"
    with pytest.raises(UserError, match="did you mean 'random'"):
        results.baseline("randon")
    assert results_of(tmp_path, {"b": [[0.5, 0.6]], "a": [[0.5, 0.6]]}).baseline() == "b"
