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


def pool(seed: int, known: int = KNOWN) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return features (n, d) in three groups, the ids that are labelled, and logits (n, k)."""
    draw = np.random.RandomState(seed)
    groups = draw.randint(CLASSES, size=IMAGES)
    features = 2 * draw.normal(size=(CLASSES, DIMENSIONS))[groups] + draw.normal(size=(IMAGES, DIMENSIONS))
    logits = draw.normal(size=(IMAGES, CLASSES)) * 2
    return np.float32(features).astype(np.float64), draw.permutation(IMAGES)[:known], logits


def partial_labels(seed: int, known: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return features and labels (n,), of which those that are not known are NaN."""
    features, ids, logits = pool(seed, known)
    labels = np.full(len(features), np.nan)
    labels[ids] = logits[ids].argmax(axis=1)
    return features, labels


def main() -> None:
    """Print the picks as JSON."""
    import skactiveml
    from skactiveml.pool import MaxHerding

    picks: dict[str, dict[str, list[int]]] = {"max-herding": {}}
    for seed in SEEDS:
        for known in (0, KNOWN):
            features, labels = partial_labels(seed, known)
            chooser = MaxHerding(metric_dict={"gamma": 1.0}, random_state=0)
            picks["max-herding"][f"{seed} {known}"] = chooser.query(features, labels, batch_size=PICKS).tolist()
    made = {"library": f"scikit-activeml {skactiveml.__version__}", "on": f"{datetime.now(UTC):%Y-%m-%d}"}
    text = json.dumps({**made, "picks": picks}, indent=1)
    print(re.sub(r"\s+(?=[\d\]])", " ", text).replace("[ ", "[").replace(" ]", "]"))


if __name__ == "__main__":
    main()
