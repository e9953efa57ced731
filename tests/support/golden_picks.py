"""Picks of scikit-activeml on small pools, against which strategies are tested: written once, into data.

    python -m venv env && env/bin/pip install scikit-activeml==1.0.1 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
    env/bin/python tests/support/golden_picks.py > tests/unit/strategies/golden_picks.json

asal is not needed for it, and scikit-activeml not for the tests. What the pools are is `pool`; numpy keeps the streams
of `RandomState` as they are.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

IMAGES, DIMENSIONS, CLASSES, KNOWN, PICKS = 60, 5, 3, 6, 8
SEEDS = (100, 101, 102)
Floats = npt.NDArray[np.float64]
MANY, RADIUS, BALLS = 1000, 0.3, (103, 104, 105)  # of few images many would cover equally many


def pool(seed: int, known: int = KNOWN, images: int = IMAGES) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return features (n, d) in three groups, the ids that are labelled, and logits (n, k)."""
    draw = np.random.RandomState(seed)
    groups = draw.randint(CLASSES, size=images)
    features = 2 * draw.normal(size=(CLASSES, DIMENSIONS))[groups] + draw.normal(size=(images, DIMENSIONS))
    logits = draw.normal(size=(images, CLASSES)) * 2
    return np.float32(features).astype(np.float64), draw.permutation(images)[:known], logits


def partial_labels(seed: int, known: int, images: int = IMAGES) -> tuple[Floats, Floats]:
    """Return features and labels (n,), of which those that are not known are NaN."""
    features, ids, logits = pool(seed, known, images)
    labels = np.full(len(features), np.nan)
    labels[ids] = logits[ids].argmax(axis=1)
    return features, labels


def far_apart(seed: int) -> Floats:
    """Return features (n, d) of length 1 in groups that any k-means finds."""
    draw = np.random.RandomState(seed)
    centres = np.eye(DIMENSIONS)[np.arange(MANY) % CLASSES]
    features = centres + 0.25 * draw.uniform(-1, 1, size=(MANY, DIMENSIONS))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features)


def prob_cover(seed: int, known: int) -> list[int]:
    """Return scikit-activeml's picks as long as no two images cover equally many: it draws among these."""
    from skactiveml.pool import ProbCover

    features, labels = partial_labels(seed, known, MANY)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    chooser = ProbCover(deltas=[RADIUS], random_state=0)
    picks, covers = chooser.query(features, labels, batch_size=PICKS, return_utilities=True)
    alone = [(cover == np.nanmax(cover)).sum() == 1 for cover in covers]
    return [int(pick) for pick in picks[: alone.index(False) if False in alone else PICKS]]


def pure_radius(seed: int) -> float:
    """Return the radius that scikit-activeml finds pure enough, of a fine grid."""
    from skactiveml.pool import ProbCover

    chooser = ProbCover(n_classes=CLASSES, deltas=np.arange(0.001, 1.5, 0.001), random_state=0)
    chooser.query(far_apart(seed), np.full(MANY, np.nan))
    return round(float(chooser.delta_max_), 3)


def main() -> None:
    """Print the picks as JSON."""
    import skactiveml
    from skactiveml.pool import MaxHerding

    picks: dict[str, dict[str, list[int]]] = {"max-herding": {}, "prob-cover": {}}
    for seed in SEEDS:
        for known in (0, KNOWN):
            features, labels = partial_labels(seed, known)
            chooser = MaxHerding(metric_dict={"gamma": 1.0}, random_state=0)
            picks["max-herding"][f"{seed} {known}"] = chooser.query(features, labels, batch_size=PICKS).tolist()
    for seed in BALLS:
        for known in (0, KNOWN):
            if some := prob_cover(seed, known):
                picks["prob-cover"][f"{seed} {known}"] = some
    radii = {str(seed): pure_radius(seed) for seed in BALLS}
    made = {"library": f"scikit-activeml {skactiveml.__version__}", "on": f"{datetime.now(UTC):%Y-%m-%d}"}
    text = json.dumps({**made, "picks": picks, "radii": radii}, indent=1)
    print(re.sub(r"\s+(?=[\d\]])", " ", text).replace("[ ", "[").replace(" ]", "]"))


if __name__ == "__main__":
    main()
