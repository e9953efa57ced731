"""Adversarial sampling (Mayer & Timofte 2020) and its search without a generator: look up what would be uncertain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from asal.core import Ids, Neighbours, Probs, Round, Scores, Selection, not_enough
from asal.runtime.devices import Precision
from asal.strategies import strategies
from asal.strategies.batch_rules import BatchRule, SpreadRule, rate, spread_batch, with_sources
from asal.strategies.feature_search import NOTHING, search_by_gradient
from asal.strategies.latent_optimisation import Backend, LatentOptimisation
from asal.strategies.scores.margin import margin
from asal.strategies.scoring import highest, rated, shortlist
from asal.strategies.synthesis import Synthetic, enough_of, of_score, rounded, synthesise

Count = Annotated[int, Ge(1)]
Search = Literal["climb", "generator"]
MOST, UNCERTAIN = 0.5, 0.5  # the share of a search that "auto" begins; a margin
SEARCHED = SpreadRule(times=10, width=1.0)  # a search brings many that are uncertain in the same way
PAPER: Mapping[str, Any] = {  # options that the spec leaves out, under `paper = true`
    "search": "generator", "score": "entropy", "step_size": 0.05, "candidates": 1, "rerank": False, "raw_samples": 1,
    "score_tolerance": 0.0, "patience": 0, "keep_best": False,
}  # fmt: skip
OURS: Mapping[str, Any] = {  # and otherwise; those of the generator are measured in docs/results/generation.md
    "search": "climb", "score": "margin", "step_size": 0.02, "candidates": 20, "rerank": True, "raw_samples": 10,
    "score_tolerance": 0.01, "patience": 10, "keep_best": True,
}  # fmt: skip


def completed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with defaults for those that are None: these depend on `paper`, and the batch rule on the search.

    >>> completed({"paper": True, "score": None, "batch": None})
    {'paper': True, 'score': 'entropy', 'batch': 'top'}
    """
    defaults = dict(PAPER if options["paper"] else OURS)
    defaults["batch"] = "spread" if (options.get("search") or defaults["search"]) == "climb" else "top"
    return {name: defaults.get(name) if value is None else value for name, value in options.items()}


@strategies.register(
    "asal",
    needs=("generator", "features", "index", "gradient"),
    roles={"score": "score", "search": "search"},
    renamed={
        "starts": "raw_samples",
        "restarts": "num_restarts",
        "saturated": "score_tolerance",
        "stepper": "backend",
    },
    added={"search": "generator", "batch": "top", "size": 1000, "share": "auto"},
    formerly={"score": "entropy"},
    completed=completed,
)
def asal(  # noqa: PLR0913  its options are the method's
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    search: Search | None = None,
    paper: bool = False,
    score: str | None = None,
    batch: BatchRule | None = None,
    size: Count = 1000,
    share: Annotated[float, Gt(0), Lt(1)] | Literal["auto"] = "auto",
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
    """Images near points that a search found to be uncertain, by gradient in feature space or through a generator.

    With `search = "climb"` half of `size` evaluations are of random images. If the classifier is uncertain of too few
    of these to fill a batch, the other half are real images near points to which random images were moved in feature
    space (`asal.strategies.feature_search`): the method's idea without a generator, for every classifier. Otherwise
    they are random images as well. It needs the stored features and their index. Cost, whatever the pool's size:
    `size` network evaluations, size / 10 look-ups of 8 neighbours, and the batch rule.

    With `search = "generator"` synthetic images of high score are matched to real ones in feature space, as in the
    paper. It also needs a generator and a classifier with a gradient. Cost: that of n look-ups in the index, and
    `steps` evaluations of each synthetic image.

    Args:
        search: "climb" or "generator"; by default the first, and under `paper` the second.
        paper: match each synthetic image to its one nearest real image, as the paper does (algorithm 1); otherwise the
            classifier re-ranks the 20 nearest of each. An option that the spec gives takes precedence in both cases.
        score: what ranks images, and what latents are optimised for (our option, "margin"; paper: "entropy").
        batch: "spread", the rule of the strategy `spread`, over all images that were evaluated (after a search with a
            kernel three times as wide, and a choice among 10 · n), or "top". By default "spread" when climbing and
            "top" with a generator.
        size: network evaluations, when climbing.
        share: of the evaluations that the search gets, when climbing. With "auto" half where the classifier is
            uncertain (a margin below 1/2) of fewer than n of the random half, and else none: the picks are `spread`'s.
        steps: gradient steps on the latents (paper: 100, by Adam). This and all that follow are of the generator.
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
    own = completed(
        {"paper": paper, "search": search, "score": score, "batch": batch, "size": size, "share": share, "steps": steps,
         "step_size": step_size, "prior": prior, "num_restarts": num_restarts, "candidates": candidates,
         "rerank": rerank, "raw_samples": raw_samples, "score_tolerance": score_tolerance, "patience": patience,
         "keep_best": keep_best, "precision": precision, "backend": backend}
    )  # fmt: skip
    return (_by_gradient if own["search"] == "climb" else _through_generator)(now, n, own, rng)


def _through_generator(now: Round, n: int, own: Mapping[str, Any], rng: np.random.Generator) -> Selection:
    """Choose among real images that are near synthetic ones of high score."""
    latents = (
        "steps",
        "step_size",
        "prior",
        "num_restarts",
        "raw_samples",
        "patience",
        "keep_best",
        "precision",
        "backend",
    )
    enough = enough_of(now, own["score"], own["score_tolerance"])
    settings = LatentOptimisation(enough=enough, **{name: own[name] for name in latents})
    synthetic = synthesise(now, n, of_score(now.model, own["score"]), settings, rng)
    with now.meter.part("match"):
        queries = now.tools.extractor(synthetic.images)
        # Of a query's first candidates + n − 1 neighbours, the others can have taken n − 1 at the most.
        near = now.search(queries, own["candidates"] + n - 1, without=now.candidates.excluded)
    if own["batch"] == "spread":
        drawn = shortlist(now, n, max(-(-own["size"] // 2), 2 * n), rng)
        found = np.unique(near.ids[:, : own["candidates"]])
        chosen = spread_batch(now, n, drawn, (found,), own["score"])
        return with_sources(chosen, _notes(synthetic, near, found, _nearest_query(near, found)))
    if own["rerank"]:
        ids, values = _best_of(now, near, own["candidates"], n, own["score"])
        sources = _nearest_query(near, ids)
    else:
        ids, sources = nearest_untaken(near.ids, n), np.arange(n)
        values = rated(now, ids, own["score"])
    chosen = Selection(ids, values, [{"score": value} for value in values.tolist()])
    return with_sources(chosen, _notes(synthetic, near, ids, sources))


def _by_gradient(now: Round, n: int, own: Mapping[str, Any], rng: np.random.Generator) -> Selection:
    """Choose among random images and, where these are not enough, what is found by gradient in feature space.

    Without a search the random images, and so the picks, are those of the strategy `spread`.
    """
    rule, score, share = SpreadRule(), own["score"], own["share"]
    size = min(max(own["size"], rule.times * n), len(now.candidates))
    drawn = now.candidates.sample(size, rng)  # in random order: its beginning is a sample, too
    first = max(size - round(size * (MOST if share == "auto" else share)), n)
    ids, more, found = np.sort(drawn[:first]), np.sort(drawn[first:]), NOTHING
    probs = now.predict(ids)
    if share != "auto" or _few_uncertain(probs, n):
        found, rule = search_by_gradient(now, ids, probs, size - first, rng), SEARCHED
        more = found.ids
    if len(more):
        ids, probs = np.concatenate([ids, more]), np.concatenate([probs, now.predict(more)])
        order = np.argsort(ids)
        ids, probs = ids[order], probs[order]
    if own["batch"] == "spread":
        return with_sources(spread_batch(now, n, ids, (), score, rule, probs), found.notes())
    best = rate(now, ids, score, 0.0, probs).highest(n)
    chosen = Selection(best.ids, best.values, [{"score": float(value)} for value in best.values])
    return with_sources(chosen, found.notes())


def _few_uncertain(probs: Probs, n: int) -> bool:
    """Say whether fewer than n images are uncertain: the gap between their two likeliest classes is below 1/2."""
    return int((margin(probs) > -UNCERTAIN).sum()) < n


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


def _notes(synthetic: Synthetic, near: Neighbours, ids: Ids, queries: Ids) -> dict[int, dict[str, Any]]:
    """Return by id which synthetic image led to it."""
    return {
        image: {
            "source": "generator",
            "latent": rounded(synthetic.latents[query]),
            "synthetic_score": float(synthetic.scores[query]),
            "distance": float(near.distances[query, np.flatnonzero(near.ids[query] == image)[0]]),
        }
        for image, query in zip(ids.tolist(), queries.tolist(), strict=True)
    }
