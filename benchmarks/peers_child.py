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

WARM = 4096  # images of the selection that loads libraries, before anything is measured


def linear(inputs, rows, labels):
    """Return scikit-learn's classifier, fitted to the labelled rows, with the weights that all libraries share."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=20).fit(rows, labels)
    head = np.load(inputs / "head.npz")
    fitted.coef_, fitted.intercept_ = head["weights"], head["biases"]
    return fitted


def scikit_activeml(inputs: Path, rows, known, labels, n: int) -> Callable[[int], np.ndarray]:
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
        strategy = UncertaintySampling(method="entropy", random_state=0)
        return strategy.query(rows[:first], answers[:first], classifier, fit_clf=False, batch_size=n)

    return select


def modal(inputs: Path, rows, known, labels, n: int) -> Callable[[int], np.ndarray]:
    """Return entropy sampling by modAL; the labelled rows come first, and it gets the rest."""
    from modAL.models import ActiveLearner
    from modAL.uncertainty import entropy_sampling

    learner = ActiveLearner(linear(inputs, rows[known], labels), query_strategy=entropy_sampling)
    start = len(known)
    return lambda first: start + np.asarray(learner.query(rows[start:first], n_instances=n)[0])


def asal_on(kind: str):
    """Return asal's `uncertainty` over rows in memory, or over what lies on the disk."""

    def prepared(inputs: Path, rows, known, labels, n: int) -> Callable[[int], np.ndarray]:
        from torch import from_numpy, nn

        from asal.core import Round
        from asal.models.learners.neural import NeuralModel
        from asal.strategies.uncertainty import uncertainty

        shared = np.load(inputs / "head.npz")
        head = nn.utils.skip_init(nn.Linear, *shared["weights"].shape[::-1])
        head.weight.data, head.bias.data = (
            from_numpy(shared[name].astype(np.float32)) for name in ("weights", "biases")
        )
        net = nn.Sequential(nn.Flatten(), head).eval().requires_grad_(False)
        model = NeuralModel(net) if kind == "images" else Head(net)

        read = stored(inputs, kind) if rows is None else rows.__getitem__

        def select(first):
            now = Round(0, First(read, first), known, labels, model, None)
            return uncertainty(now, n, None, score="entropy").ids

        return select

    return prepared


class Head:
    """A linear classifier of rows, with the same computation as `NeuralModel` has for images."""

    def __init__(self, net) -> None:
        self.net = net

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return probabilities (n, k)."""
        from torch import from_numpy, inference_mode

        with inference_mode():
            logits = self.net(from_numpy(rows)).T.contiguous()
            return logits.double().softmax(0).numpy().T


class First:
    """The first rows, as a pool."""

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], size: int) -> None:
        self.read, self._size = read, size

    def __len__(self) -> int:
        return self._size


def stored(inputs: Path, kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that reads rows from disk: images of one byte per pixel, or features, through memory maps."""
    if kind == "images":
        from asal.data.pool import StoredPool

        facts = json.loads((inputs / "images.json").read_text())
        return StoredPool(inputs, facts, "peers").read
    from asal.features.store import StoredVectors

    return StoredVectors.open(inputs / "vectors").read


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


def main(who: str, folder: str, n: str, repeats: str) -> None:
    """Measure, and print."""
    warnings.simplefilter("ignore")
    inputs = Path(folder)
    known, labels = np.load(inputs / "known.npy"), np.load(inputs / "labels.npy")
    size = json.loads((inputs / "size.json").read_text())
    rows = None if "stored" in who else np.load(inputs / "rows.npy")  # float32 (n, d), all of it in memory
    select = LIBRARIES[who](inputs, rows, known, labels, int(n))
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
