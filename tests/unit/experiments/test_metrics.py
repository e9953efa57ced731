"""The numbers of a report, checked against ones that can be worked out on paper."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.run_folders import results_of, write_experiment, write_facts, write_run

from asal.errors import UserError
from asal.experiments.metrics import (
    Target,
    accuracy_at,
    aubc,
    cost,
    curve,
    evaluation_steps,
    labels_needed,
    needed,
    paired,
    quarters,
    summarise,
    usual_targets,
    within,
)  # fmt: skip
from asal.experiments.results import load


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


def test_curves_of_one_seed_are_compared_from_where_both_have_begun(tmp_path: Path) -> None:
    results_of(tmp_path, {"random": [[0.5, 0.6, 0.7]] * 2, "asal": [[0.5, 0.6, 0.7], [0.5, 0.5]]})
    write_run(tmp_path, "asal", 1, [0.7, 0.8], initial=20)  # its first batch held one class alone
    pair = paired(load(tmp_path), "asal", "random")
    assert pair is not None
    assert pair.differences == pytest.approx([0, 0.1])


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


def test_unfinished_runs_that_have_no_number_of_labels_in_common_have_no_curve(tmp_path: Path) -> None:
    write_facts(tmp_path, ["random"], seeds=2, rounds=9)
    write_run(tmp_path, "random", 0, [0.2, 0.4], finished=False)
    write_run(tmp_path, "random", 1, [0.7, 0.8], finished=False, initial=60)
    with np.errstate(all="raise"):
        assert curve(load(tmp_path), "random") is None


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


def test_labels_needed_are_linear_between_trainings() -> None:
    labels, accuracy = [10, 20, 30, 40], [0.5, 0.7, 0.6, 0.9]
    assert labels_needed(labels, accuracy, 0.6) == pytest.approx(15)
    assert labels_needed(labels, accuracy, 0.7) == pytest.approx(20)
    assert labels_needed(labels, accuracy, 0.75) == pytest.approx(35)
    assert labels_needed(labels, accuracy, 0.4) == 10  # it may have needed fewer
    assert math.isnan(labels_needed(labels, accuracy, 0.91))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.floats(0.01, 1), st.data())
@settings(max_examples=80, deadline=None)
def test_labels_needed_agree_with_accuracies_at_budgets(
    accuracy: list[float], target: float, data: st.DataObject
) -> None:
    labels = np.cumsum(data.draw(st.lists(st.integers(1, 50), min_size=len(accuracy), max_size=len(accuracy))))
    found = labels_needed(labels, accuracy, target)
    if math.isnan(found):
        assert max(accuracy) < target
        return
    assert accuracy_at(labels, accuracy, found) >= target - 1e-9
    before = labels[labels < found]
    assert all(accuracy_at(labels, accuracy, int(n)) < target for n in before)


def test_a_run_that_never_gets_there_is_not_averaged_away(tmp_path: Path) -> None:
    runs = results_of(tmp_path, {"a": [[0.5, 0.9], [0.5, 0.6], [0.7, 0.9]]}).of("a")
    found = needed(runs, Target(0.8))
    assert found.labels == pytest.approx([17.5, math.nan, 15], nan_ok=True)
    assert (found.reached, found.first, found.budget) == (2, 10, 20)
    assert found.mean == pytest.approx(16.25)  # of those that got there
    assert found.median == pytest.approx(17.5)  # of 15, 17.5 and more than 20
    assert needed(runs[:2], Target(0.8)).median == math.inf
    nobody = needed(runs, Target(0.95))
    assert (nobody.reached, nobody.median) == (0, math.inf)
    assert math.isnan(nobody.mean)


def test_usual_targets_are_shares_of_full_supervision_and_the_baselines_end(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"random": [[0.5, 0.6], [0.5, 0.7]], "asal": [[0.6, 0.8]] * 2})
    assert [target.accuracy for target in usual_targets(results, "random")] == pytest.approx(
        [0.9 * 0.989, 0.95 * 0.989, 0.99 * 0.989, 0.65]
    )
    lines = {s.strategy: s for s in summarise(results, [], "random")}
    end = list(lines["asal"].needed)[-1]
    assert lines["asal"].needed[end].labels == pytest.approx([12.5, 12.5])
    assert lines["random"].needed[end].reached == 1
    assert [target.accuracy for target in summarise(results, [], "random", [Target(0.55)])[0].needed] == [0.55]


def test_evaluations_buy_whole_rounds(tmp_path: Path) -> None:
    (run,) = results_of(tmp_path, {"asal": [[0.5, 0.6, 0.7]]}, evaluations=100, generated=20).runs
    assert [within(run, n) for n in (0, 119, 120, 239, 240, 10**6)] == [0, 0, 1, 1, 2, 2]


def test_accuracy_within_evaluations_is_that_of_the_last_training_paid_for(tmp_path: Path) -> None:
    results_of(tmp_path, {"random": [[0.5, 0.6, 0.7]] * 2, "asal": [[0.5, 0.8, 0.9]] * 2}, evaluations=0)
    for seed in range(2):
        write_run(tmp_path, "asal", seed, [0.5, 0.8, 0.9], evaluations=600, generated=100)
    results = load(tmp_path)
    assert evaluation_steps(results) == [1000]  # 1,400 in all
    random, asal = summarise(results, [], "random")
    assert (random.spent.mean, asal.spent.mean) == (0, 1400)
    there = asal.within[1000]
    assert (there.accuracy.mean, there.labels, there.ended) == (pytest.approx(0.8), 20, False)
    assert (random.within[1000].labels, random.within[1000].ended) == (30, True)
    assert (asal.cost.evaluations, asal.cost.generated, asal.cost.images) == (600, 100, 700)


def test_steps_of_evaluations_are_powers_of_ten(tmp_path: Path) -> None:
    results_of(tmp_path, {name: [[0.5, 0.6]] for name in ("a", "b", "c")}, evaluations=0)
    assert evaluation_steps(load(tmp_path)) == []
    write_run(tmp_path, "b", 0, [0.5, 0.6], evaluations=10)
    assert evaluation_steps(load(tmp_path)) == [10]
    write_run(tmp_path, "c", 0, [0.5, 0.6], evaluations=250_000)
    assert evaluation_steps(load(tmp_path)) == [100, 1_000, 10_000, 100_000]


def test_a_curve_tells_the_mean_of_what_was_spent(tmp_path: Path) -> None:
    results_of(tmp_path, {"a": [[0.5, 0.6, 0.7]] * 2})
    for seed in range(2):
        write_run(tmp_path, "a", seed, [0.5, 0.6, 0.7], evaluations=100 * (seed + 1))
    line = curve(load(tmp_path), "a")
    assert line is not None
    assert line.spent.tolist() == [0, 150, 300]


def test_ps_are_corrected_for_all_strategies_compared(tmp_path: Path) -> None:
    level = [0.5, 0.5]
    runs = {
        "random": [level] * 6,
        "better": [[0.5, 0.6 + 0.01 * seed] for seed in range(6)],
        "mixed": [[0.5, 0.5 + 0.01 * (seed + 1) * (-1) ** seed] for seed in range(6)],
        "same": [level] * 6,
    }
    lines = {s.strategy: s for s in summarise(results_of(tmp_path, runs), [], "random")}
    better, same = lines["better"].gain, lines["same"].gain
    assert better is not None and same is not None
    assert better.p == pytest.approx(2 / 2**6)
    assert lines["better"].holm == pytest.approx(3 * 2 / 2**6)
    assert (same.p, lines["same"].holm) == (1, 1)
    assert math.isnan(lines["random"].holm)
    turned = -better
    assert (turned.wins, turned.losses, turned.p, turned.estimate.sign) == (0, 6, better.p, -1)
