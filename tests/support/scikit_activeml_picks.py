"""What scikit-activeml picks on small cases: run as a script it prints the picks that a test of our strategies expects.

Run on 30 November 2026 with scikit-activeml 1.0.1, scikit-learn 1.9.1 and numpy 2.4.6, in an environment made from
benchmarks/peers.txt: `python tests/support/scikit_activeml_picks.py`. The test environment does not have it.

Their DropQuery and BALD get the predictions with dropout as they are given here, as the random numbers of two libraries
are not the same: what is compared is what each makes of the predictions. The cases come from numpy's legacy generator,
whose stream is frozen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

N, GROUPS, TIMES, CLASSES = 400, 8, 3, 3  # images, groups far from each other, predictions with dropout, classes
Array = Any


def dropout_case(seed: int) -> tuple[Array, Array, Array]:
    """Return points in groups (n, d), and classes without (n,) and with dropout (times, n); most images change."""
    rng = np.random.RandomState(seed)
    points = (9 * np.eye(GROUPS)[rng.randint(GROUPS, size=N)] + rng.normal(size=(N, GROUPS))).astype(np.float32)
    plain = rng.randint(CLASSES, size=N)
    changed = rng.rand(TIMES, N) < np.where(rng.rand(N) < 0.7, 0.85, 0.1)
    return points, plain, np.where(changed, (plain + 1) % CLASSES, plain)


def committee_case(seed: int) -> Array:
    """Return probabilities (times, n, k) of five predictions with dropout."""
    return np.random.RandomState(seed).dirichlet(np.full(CLASSES, 0.7), size=(5, 40))


def _given(answers: Any, features: Any = None) -> Any:
    """Return a classifier of theirs that predicts, at each call, what is given for it."""
    from skactiveml.base import SkactivemlClassifier

    class Given(SkactivemlClassifier):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(classes=list(range(CLASSES)), missing_label=-1, cost_matrix=None, random_state=0)

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            self.fitted_ = True
            return self

        def predict(self, X: Any) -> Any:
            return answers.pop(0), features

        def predict_proba(self, X: Any) -> Any:
            raise AssertionError("what these strategies ask of it are predictions and samples")

        def sampled(self, X: Any) -> Any:
            return answers

    return Given().fit(None, None)


def dropquery_picks(seed: int) -> list[int]:
    """Return what their DropQuery picks, one of each group, in features as the authors normalise them."""
    from skactiveml.pool import DropQuery

    points, plain, dropped = dropout_case(seed)
    features = points - points.mean(axis=0, dtype=np.float64)
    features /= np.linalg.norm(features, axis=1)[:, None]
    rule = DropQuery(n_dropout_samples=TIMES, cluster_algo_dict={"n_init": 1}, missing_label=-1, random_state=seed)
    given = _given([plain, *dropped], features)
    picks = rule.query(points, np.full(N, -1), given, fit_clf=False, batch_size=GROUPS)
    return sorted(int(row) for row in picks)


def bald_picks(seed: int) -> tuple[list[int], list[float]]:
    """Return what their greedy BALD picks, highest first, and the utilities of these."""
    from skactiveml.pool import GreedyBALD

    probs = committee_case(seed)
    rule = GreedyBALD(sample_predictions_method_name="sampled", missing_label=-1, random_state=seed)
    picks, utilities = rule.query(
        np.zeros((40, 2)), np.full(40, -1), _given(probs), fit_ensemble=False, batch_size=6, return_utilities=True
    )
    return [int(row) for row in picks], [round(float(utilities[0][row]), 6) for row in picks]


if __name__ == "__main__":
    for case in (1, 2):
        print("dropquery", case, dropquery_picks(case))
    for case in (1, 2, 3):
        print("bald", case, *bald_picks(case))
