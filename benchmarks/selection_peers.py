"""scikit-activeml's query strategies as strategies of `selection.py`: the same features, seeds and head.

    python -m venv PEERS
    PEERS/bin/pip install . scikit-activeml==1.0.1
    PEERS/bin/python benchmarks/selection.py … --try 'scikit-activeml Badge=selection_peers:query {"strategy": "Badge"}'

A strategy gets what its `query` takes: the samples, the labels with NaN for the open ones, and a fitted classifier,
which answers with the head's probabilities. By default the samples are the labelled images and the 1,000 random ones
that `spread` and `subset` draw with the same seed; with `"size": 0` they are the whole pool, which some of them cannot
take: MaxHerding and ProbCover lay out all distances. Options of theirs have their defaults; `"options"` gives others.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import skactiveml.pool
from skactiveml.base import SkactivemlClassifier

from asal.core import Round, Selection, not_enough
from asal.strategies.scoring import shortlist


class Fitted(SkactivemlClassifier):
    """A head that is fitted already, as a classifier of scikit-activeml."""

    def __init__(self, model: Any = None, classes: Any = None, missing_label: float = np.nan) -> None:
        super().__init__(classes=classes, missing_label=missing_label)
        self.model = model

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Fitted:  # noqa: N803  theirs
        """Learn which classes there are."""
        self._validate_data(X, y, sample_weight)
        return self

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        """Return the head's probabilities (n, k)."""
        return self.model.predict(np.asarray(X, np.float32))


def query(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    strategy: str,
    size: int = 1000,
    options: dict[str, Any] | None = None,
) -> Selection:
    """Choose by a query strategy of scikit-activeml.

    Args:
        strategy: its class in `skactiveml.pool`.
        size: random images that it may choose from; 0 for all.
        options: of the class.
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    ids = shortlist(now, n, size, rng) if size else np.concatenate(list(now.candidates.blocks()))
    maker = getattr(skactiveml.pool, strategy)
    chooser = maker(random_state=int(rng.integers(2**31)), **(options or {}))
    takes = chooser.query.__code__.co_varnames[: chooser.query.__code__.co_argcount]
    rows = np.concatenate([now.labelled, ids])
    samples = now.inputs(rows) if "clf" in takes or "estimator" in takes else now.features(rows)
    labels = np.concatenate([now.labels.astype(float), np.full(len(ids), np.nan)])
    given: dict[str, Any] = {"batch_size": n}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "clf" in takes or "estimator" in takes:
            now.meter.evaluations += len(ids)
            name = "clf" if "clf" in takes else "estimator"
            classes = now.model.predict(samples[:1]).shape[1]
            fitted = Fitted(now.model, classes=np.arange(classes)).fit(samples[: len(now.labels)], now.labels)
            given |= {name: fitted, f"fit_{name}": False}
        picked = np.asarray(chooser.query(samples, labels, **given))
    return Selection(rows[picked], np.zeros(n))
