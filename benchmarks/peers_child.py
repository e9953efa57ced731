"""One library's selection, timed in its own process, which `benchmarks/peers.py` starts.

It runs in the peers' environment as well as in asal's, and therefore imports each library only where it is measured.
Inputs lie in a folder; see `peers.py`. It prints one line of JSON: the seconds of each selection, its memory beyond the
inputs, and its picks.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

METHODS = {"entropy": "entropy", "margin": "margin_sampling"}  # asal's names and scikit-activeml's
WARM = 4096  # images of the selection that loads libraries, before anything is measured


def linear(inputs, rows, labels):
    """Return scikit-learn's classifier, fitted to the labelled rows, with the weights that all libraries share."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=20).fit(rows, labels)
    head = np.load(inputs / "head.npz")
    fitted.coef_, fitted.intercept_ = head["weights"], head["biases"]
    return fitted


def scikit_activeml(inputs: Path, rows, known, labels, n: int, score: str) -> Callable[[int], np.ndarray]:
    """Return uncertainty sampling by scikit-activeml, over the first so many rows."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import UncertaintySampling
    from sklearn.linear_model import LogisticRegression

    classifier = SklearnClassifier(LogisticRegression(max_iter=20), classes=np.arange(labels.max() + 1))
    classifier.fit(rows[known], labels)
    classifier.estimator_ = linear(inputs, rows[known], labels)
    answers = np.full(len(rows), np.nan)
    answers[known] = labels

    def select(first):
        strategy = UncertaintySampling(method=METHODS[score], random_state=0)
        return strategy.query(rows[:first], answers[:first], classifier, fit_clf=False, batch_size=n)

    return select


def modal(inputs: Path, rows, known, labels, n: int, score: str) -> Callable[[int], np.ndarray]:
    """Return uncertainty sampling by modAL; the labelled rows come first, and it gets the rest."""
    from modAL.models import ActiveLearner
    from modAL.uncertainty import entropy_sampling, margin_sampling

    strategy = {"entropy": entropy_sampling, "margin": margin_sampling}[score]
    learner = ActiveLearner(linear(inputs, rows[known], labels), query_strategy=strategy)
    start = len(known)
    return lambda first: start + np.asarray(learner.query(rows[start:first], n_instances=n)[0])


def asal_on(kind: str):
    """Return asal's `uncertainty` over rows in memory, or over what lies on the disk."""

    def prepared(inputs: Path, rows, known, labels, n: int, score: str) -> Callable[[int], np.ndarray]:
        from torch import from_numpy, nn

        from asal.core import Round
        from asal.models.learners.head import HeadModel
        from asal.models.learners.neural import NeuralModel
        from asal.strategies.uncertainty import uncertainty

        shared = np.load(inputs / "head.npz")
        head = nn.utils.skip_init(nn.Linear, *shared["weights"].shape[::-1])
        head.weight.data, head.bias.data = (
            from_numpy(shared[name].astype(np.float32)) for name in ("weights", "biases")
        )
        reader = InMemory(rows) if kind == "memory" else stored(inputs, kind)
        if kind == "images":
            model = NeuralModel(nn.Sequential(nn.Flatten(), head).eval().requires_grad_(False), reader.shape)
        else:
            model = HeadModel(nn.Sequential(head).eval().requires_grad_(False))

        def select(first):
            now = Round(0, First(reader, first), known, labels, model, None, reader=reader)
            return uncertainty(now, n, None, score=score).ids

        return select

    return prepared


class InMemory:
    """Rows in memory, as what a classifier reads."""

    def __init__(self, rows) -> None:
        self._rows = rows

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Return some rows."""
        return self._rows[ids]

    def view(self, first: int, end: int) -> np.ndarray:
        """Return consecutive rows without a copy."""
        return self._rows[first:end]


class First:
    """The first images, as a pool."""

    def __init__(self, reader, size: int) -> None:
        self.read, self._size = reader.read, size

    def __len__(self) -> int:
        return self._size


def stored(inputs: Path, kind: str):
    """Return what reads from disk: images of one byte per pixel, or features, through memory maps."""
    if kind == "images":
        from asal.data.pool import StoredPool

        facts = json.loads((inputs / "images.json").read_text())
        return StoredPool(inputs, facts, "peers")
    from asal.features.store import StoredVectors

    return StoredVectors.open(inputs / "vectors")


LIBRARIES = {
    "scikit-activeml": scikit_activeml,
    "modAL": modal,
    "asal, in memory": asal_on("memory"),
    "asal, stored images": asal_on("images"),
    "asal, stored features": asal_on("features"),
}


def memory(name: str) -> float:
    """Return a line of the kernel's account of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main(who: str, folder: str, n: str, repeats: str, score: str) -> None:
    """Measure, and print."""
    warnings.simplefilter("ignore")
    inputs = Path(folder)
    known, labels = np.load(inputs / "known.npy"), np.load(inputs / "labels.npy")
    size = json.loads((inputs / "size.json").read_text())
    rows = None if "stored" in who else np.load(inputs / "rows.npy")  # float32 (n, d), all of it in memory
    select = LIBRARIES[who](inputs, rows, known, labels, int(n), score)
    select(WARM)
    seconds, extra, mapped, picked = [], [], [], np.empty(0)
    for _ in range(int(repeats)):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before, files = memory("VmRSS"), memory("RssFile")
        start = time.process_time()  # of all threads; other processes do not change it
        picked = select(size)
        seconds.append(time.process_time() - start)
        extra.append(memory("VmHWM") - before)
        mapped.append(memory("RssFile") - files)
    result = {"seconds": seconds, "extra": extra, "mapped": mapped, "picked": np.asarray(picked).tolist()}
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
