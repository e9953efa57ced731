"""Adversarial sampling (Mayer & Timofte 2020): generate uncertain images, and find the real ones like them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from asal.core import Ids, Neighbours, Round, Scores, Selection, not_enough
from asal.runtime.devices import Precision
from asal.strategies import strategies
from asal.strategies.latent_optimisation import Backend, LatentOptimisation
from asal.strategies.scoring import highest, rated
from asal.strategies.synthesis import Synthetic, enough_of, of_score, rounded, synthesise

Count = Annotated[int, Ge(1)]
# Unless `paper = true`; measured in docs/results/generation.md.
STEP_SIZE, RAW_SAMPLES, SCORE_TOLERANCE, PATIENCE = 0.02, 10, 0.01, 10


@strategies.register(
    "asal",
    needs=("generator", "features", "index", "gradient"),
    roles={"score": "score"},
    renamed={
        "starts": "raw_samples",
        "restarts": "num_restarts",
        "saturated": "score_tolerance",
        "stepper": "backend",
    },
)
def asal(  # noqa: PLR0913  its options are the method's
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    paper: bool = False,
    score: str = "entropy",
    steps: Annotated[int, Ge(0)] = 100,
    step_size: Annotated[float, Gt(0)] | None = None,
    prior: Annotated[float, Ge(0)] = 0.0,
    num_restarts: Count = 1,
    candidates: Count | None = None,
    rerank: bool | None = None,
    raw_samples: Count | None = None,
    score_tolerance: Annotated[float, Ge(0), Lt(1)] | None = None,
    patience: Annotated[int, Ge(0)] | None = None,
    keep_best: bool | None = None,
    precision: Precision = "float32",
    backend: Backend = "eager",
) -> Selection:
    """Synthetic images of high score, matched to real ones in feature space. Cost: that of n look-ups in the index.

    Args:
        paper: match each synthetic image to its one nearest real image, as the paper does (algorithm 1); otherwise the
            classifier re-ranks the 20 nearest of each. An option that the spec gives takes precedence in both cases.
        score: what the latents are optimised for, and what re-ranks.
        steps: gradient steps on the latents (paper: 100, by Adam).
        step_size: Adam's, in units of the latents, which are drawn from N(0, I) (our choice, 0.02; under `paper` 0.05,
            for the paper does not say).
        prior: weight of ‖z‖²/2z, which holds the latents where the generator was trained (our option; paper: none).
        num_restarts: latents optimised for each image wanted; the best are kept (our option; paper: 1).
        candidates: real images found for each synthetic one (paper: 1).
        rerank: choose among all candidates by their own score (our option; paper: no).
        raw_samples: random latents drawn for each one optimised; one forward pass keeps those of the highest score
            (our option, 10; paper: 1).
        score_tolerance: a latent stops early when its score is within this share of the score's range of the highest
            possible one (our option, 0.01; paper: 0, which is never).
        patience: a latent stops early, at its best point, after so many steps without a rise (our option, 10; paper:
            0, which is never).
        keep_best: of each latent's path take the best point, not the last one (our option, yes; paper: no).
        precision: "bf16" runs the networks in half precision (our option, for processors that have it; paper:
            "float32").
        backend: how a gradient step is run: "eager", torch.compile ("compiled") or a CUDA graph ("captured", which has
            never been run) (our option).
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    candidates = candidates or (1 if paper else 20)
    rerank = not paper if rerank is None else rerank
    step_size = step_size or (0.05 if paper else STEP_SIZE)
    raw_samples = raw_samples or (1 if paper else RAW_SAMPLES)
    score_tolerance = (0.0 if paper else SCORE_TOLERANCE) if score_tolerance is None else score_tolerance
    patience = (0 if paper else PATIENCE) if patience is None else patience
    keep_best = not paper if keep_best is None else keep_best
    enough = enough_of(now, score, score_tolerance)
    settings = LatentOptimisation(
        steps, step_size, prior, num_restarts, raw_samples, enough, patience, keep_best, precision, backend
    )
    synthetic = synthesise(now, n, of_score(now.model, score), settings, rng)
    with now.meter.part("match"):
        queries = now.tools.extractor(synthetic.images)
        # Of a query's first candidates + n − 1 neighbours, the others can have taken n − 1 at the most.
        near = now.search(queries, candidates + n - 1, without=now.candidates.excluded)
    if rerank:
        ids, values = _best_of(now, near, candidates, n, score)
        sources = _nearest_query(near, ids)
    else:
        ids, sources = nearest_untaken(near.ids, n), np.arange(n)
        values = rated(now, ids, score)
    picks = zip(ids.tolist(), sources.tolist(), values.tolist(), strict=True)
    return Selection(ids, values, [_note(synthetic, near, *pick) for pick in picks])


def nearest_untaken(near: Ids, n: int) -> Ids:
    """Match each query, in order, to the nearest image that no earlier query took.

    >>> nearest_untaken(np.array([[7, 3], [7, 5]]), 2).tolist()
    [7, 5]
    """
    taken: dict[int, None] = {}
    for row in near:
        taken.setdefault(next(int(i) for i in row if int(i) not in taken))
    return np.fromiter(taken, np.int64, n)


def _best_of(now: Round, near: Neighbours, candidates: int, n: int, score: str) -> tuple[Ids, Scores]:
    """Score the union of all queries' nearest candidates, and return the n best, best first."""
    most = near.ids.shape[1]
    # Where queries share neighbours, their union can be smaller than n: then use more neighbours of each.
    depth = next(k for k in range(min(candidates, most), most + 1) if len(np.unique(near.ids[:, :k])) >= n)
    ids = np.unique(near.ids[:, :depth])
    return highest(ids, rated(now, ids, score), n)


def _nearest_query(near: Neighbours, ids: Ids) -> Ids:
    rows = np.repeat(np.arange(len(near.ids)), near.ids.shape[1])
    order = np.lexsort((rows, near.distances.ravel(), near.ids.ravel()))  # each id's nearest query comes first
    queries: Ids = rows[order][np.searchsorted(near.ids.ravel()[order], ids)]
    return queries


def _note(synthetic: Synthetic, near: Neighbours, pick: int, query: int, score: float) -> dict[str, Any]:
    at = np.flatnonzero(near.ids[query] == pick)[0]
    return {
        "latent": rounded(synthetic.latents[query]),
        "synthetic_score": float(synthetic.scores[query]),
        "distance": float(near.distances[query, at]),
        "score": score,
    }
