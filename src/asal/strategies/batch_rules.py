"""Batch rules: which n of the images that a strategy scored are asked about together; shared by several strategies.

"top" takes those of the highest score (`asal.strategies.scoring.best`). "spread" (`spread_batch`) takes images that
are wanted and stand for others that are wanted, where no labelled or earlier image stands for these yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from asal.core import NO_IDS, Candidates, Features, Ids, Labels, Probs, Round, Score, Scores, Selection, not_enough
from asal.runtime.rng import stream
from asal.strategies.contenders import Value, contenders
from asal.strategies.scores import constant_of, scores

BatchRule: TypeAlias = Literal["top", "spread"]
Space: TypeAlias = Literal["auto", "stored", "penultimate"]
Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int64]
Profile: TypeAlias = Callable[..., Any]  # (−‖a − b‖² / 2s², out=) → similarities

SAMPLE, NEIGHBOUR = 1000, 10  # images whose distances, each to its tenth nearest other, set the kernel's width
SMALLEST = 1e-3  # of the largest feature: a narrower kernel would measure rounding errors
TIE = 1e-9  # of all that could be gained: what differs less is equal, for sums in another order differ in their digits
BLOCK = 32  # candidates whose gains are computed together
STRIP = 2048  # covered images that their similarities to them are laid out for: they stay in the processor's cache
KEPT = 1 << 22  # entries of the kernel that are kept (32 MB); of a larger one, rows are computed when they are needed
LAID_OUT = 1 << 20  # distances to labelled images that are laid out together (8 MB)


@dataclass(frozen=True)
class SpreadRule:
    """The settings of the rule "spread".

    Args:
        times: the batch is chosen among `times` · n images, the most wanted ones.
        width: of the kernel, in units of the pool's typical distance (`typical_distance`).
        gamma: how much images of classes with few labels are preferred; 0: not at all.
        recent: so many labelled images stand for others: those that were answered last.
        space: distances are those of the stored features, or of the classifier's penultimate layer; "auto" is the first
            wherever there are any, which a spec says (`asal.project.validate.table_of`).
    """

    times: Annotated[int, Ge(1)] = 3
    width: Annotated[float, Gt(0)] = 0.35
    gamma: Annotated[float, Ge(0)] = 0.5
    recent: Annotated[int, Ge(0)] = 1000
    space: Space = "auto"


@dataclass(frozen=True)
class Rated:
    """Images and how much they are wanted."""

    ids: Ids  # (m,)
    values: Scores  # (m,) of the score
    weights: Scores  # (m,) the class weights
    floor: float  # the score of an image that the classifier is certain of

    @property
    def wanted(self) -> Scores:
        """How far the score is above that of a certain image, times the class weight; never below 0."""
        return np.asarray(np.maximum(self.values - self.floor, 0.0) * self.weights)

    def at(self, rows: Rows) -> Rated:
        """Return some of them."""
        return Rated(self.ids[rows], self.values[rows], self.weights[rows], self.floor)

    def highest(self, n: int) -> Rated:
        """Return the n most wanted, most wanted first; of equal ones the lower id."""
        return self.at(np.lexsort((self.ids, -self.wanted))[:n])

    def joined(self, more: Rated, n: int) -> Rated:
        """Return the n most wanted of these, which are sorted, and of more, by the floor of these."""
        more = replace(more, floor=self.floor)
        if len(self.ids) == n:
            more = more.at(np.flatnonzero(more.wanted >= self.wanted[-1]))  # few of a block are still of interest
        ids, values = np.concatenate([self.ids, more.ids]), np.concatenate([self.values, more.values])
        return Rated(ids, values, np.concatenate([self.weights, more.weights]), self.floor).highest(n)


def rate(now: Round, ids: Ids, score: str, gamma: float, probs: Probs | None = None) -> Rated:
    """Score pool images and weight them by their probable classes.

    One network evaluation for each image whose `probs` are not given; one more where the score is a predicted loss and
    `gamma` > 0. A predicted loss has no scale: its floor is the smallest of these images.
    """
    part = scores[score]
    of_losses = "loss" in part.needs
    if probs is None:
        probs = now.predict(ids) if gamma or not of_losses else np.empty((len(ids), 0))
    values = np.asarray(part.make(now.losses(ids) if of_losses else probs), np.float64)
    floor = values.min(initial=np.inf) if of_losses else certain(part.make, probs.shape[1])
    weights = _weighted(probs, class_weights(now.labels, probs.shape[1], gamma)) if gamma else np.ones(len(ids))
    return Rated(ids, values, weights, float(floor))


def contending(now: Round, blocks: Iterable[Ids], n: int, score: str, gamma: float) -> Iterator[Rated]:
    """Rate, block by block, the images that may be among the n most wanted; where nothing is known, all of them."""
    part = scores[score]
    if "loss" in part.needs:
        yield from (rate(now, ids, score, gamma) for ids in blocks)
        return
    floors, class_weight = cache(partial(certain, part.make)), cache(partial(class_weights, now.labels, gamma=gamma))

    def weights(probs: Any) -> Any:
        return _weighted(probs, class_weight(probs.shape[1])) if gamma else np.ones(len(probs), probs.dtype)

    def wanted(probs: Any) -> Any:
        return np.maximum(part.make(probs) - floors(probs.shape[1]), 0) * weights(probs)

    def constant(classes: int) -> float | None:
        own, uniform = constant_of(part.make, classes), np.full((1, classes), 1 / classes)
        if own is None:
            return None
        highest = float(part.make(uniform)[0]) - floors(classes)
        # Of a product u·v: u's own times the largest v, and v's, which is at most the largest v, times the largest u.
        return float((own + highest) * class_weight(classes).max())

    for ids, probs in contenders(now, blocks, n, Value(wanted, constant)):
        yield Rated(ids, np.asarray(part.make(probs), np.float64), weights(probs), floors(probs.shape[1]))


def certain(score: Score, classes: int) -> float:
    """Return the score of an image that the classifier is certain of."""
    return float(score(np.eye(classes)[:1])[0])


def _weighted(probs: Any, weights: Floats) -> Any:
    """Return the class weights (n,) of images of these probabilities (n, k)."""
    # Not `probs @ weights`, which may add the columns of equal rows in different orders.
    return (probs * weights.astype(probs.dtype)).sum(axis=1)


def class_weights(labels: Labels, classes: int, gamma: float) -> Floats:
    """Return (mean(n) / n_c)^gamma for each class (k,), n_c = labels of class c so far + 1.

    >>> class_weights(np.array([0, 0, 0, 1]), 3, 0.5).round(3).tolist()
    [0.764, 1.08, 1.528]
    """
    counts = np.bincount(labels, minlength=classes) + 1.0
    return np.asarray((counts.mean() / counts) ** gamma)


def spread_batch(
    now: Round,
    n: int,
    covered: Ids,
    others: Iterable[Ids],
    score: str,
    rule: SpreadRule = SpreadRule(),
    probs: Probs | None = None,
) -> Selection:
    """Choose n images that are wanted and stand for the others: uncertainty-weighted herding.

    Each image j that is to be covered counts by how much it is wanted, u_j, and is covered by the image nearest to it
    that is labelled or picked, with the kernel K(a, b) = exp(−‖a − b‖² / 2s²). Picks are greedy: the next one, c, has
    the largest

        gain(c) = Σ_j u_j · max(0, K(c, j) − cover_j),

    j over `covered`, and c among the `times` · n most wanted of all. u is the score's distance from certainty times
    the class weight. Scores of the picks are their gains.

    The objective is the uncertainty coverage of Uncertainty Herding (Bae, Oliveira & Sutherland, ICLR 2025); with
    u = 1 it is MaxHerding's (Bae, Noh & Sutherland, ECCV 2024), named after kernel herding (Chen, Welling & Smola, UAI
    2010). Uncertainty Herding fits the kernel's width to the labels. Our choice, for cost and from measurements, are
    the random subset, the class weights, the candidates of high u, the recent labels and the fixed width.

    Cost: a network evaluation for each image of `covered` and `others` (in the penultimate space a second one for
    `covered` and the candidates, and one for each recent labelled image), len(covered) · (`recent` + `times` · n)
    entries of the kernel, in blocks. Gains never grow, so only few are computed again for each pick (Minoux 1978).

    Args:
        covered: open ids that stand for the images that matter, drawn fairly from these.
        others: blocks of open ids that may be picked as well; those that are in `covered` are not evaluated again.
        probs: what the classifier says of `covered`, where that is known.

    Raises:
        UserError: fewer than n ids.
    """
    rated = rate(now, covered, score, rule.gamma, probs)
    top = rated.highest(rule.times * n)
    for more in contending(now, _without(others, covered), rule.times * n, score, rule.gamma):
        top = top.joined(more, rule.times * n)
    if len(top.ids) < n:
        raise not_enough(n, len(top.ids))
    ids = np.unique(np.concatenate([covered, top.ids]))
    features, labelled = _features(now, ids, rule), _features(now, _recent(now, rule), rule)
    among, rows = features[np.searchsorted(ids, covered)], np.searchsorted(ids, top.ids)
    sample = _sample(now, among, rule)
    with now.meter.part("match"):
        origin = among.mean(axis=0, dtype=np.float64)  # off first: squares of features with a large offset cancel
        points, among, labelled = features[rows] - origin, among - origin, labelled - origin
        kernel = Kernel.of(points, among, kernel_width(sample, rule.width))
        rows, gains = herded(kernel, rated.wanted, kernel.similarity(nearest_squares(among, labelled)), n)
        gaps = np.sqrt(nearest_squares(points[rows], labelled))
    picks = zip(top.values[rows], top.weights[rows], gains, gaps, strict=True)
    return Selection(top.ids[rows], gains, [_note(*pick) for pick in picks])


def with_sources(chosen: Selection, found: Mapping[int, Mapping[str, Any]]) -> Selection:
    """Return a selection whose notes say where each pick came from: a note of `found`, or at random."""
    sources = [found.get(image, {"source": "random"}) for image in chosen.ids.tolist()]
    return replace(chosen, notes=[{**source, **note} for source, note in zip(sources, chosen.notes, strict=True)])


def _without(blocks: Iterable[Ids], covered: Ids) -> Iterator[Ids]:
    """Yield the ids of the blocks that are not covered; no block is empty."""
    covered = np.sort(covered)
    for block in blocks:
        places = np.searchsorted(covered, block)  # not `isin`, which takes several times as long
        rest = block[covered[np.minimum(places, len(covered) - 1)] != block] if len(covered) else block
        if len(rest):
            yield rest


def _note(score: float, weight: float, gain: float, gap: float) -> dict[str, Any]:
    distance = {"labelled_distance": float(gap)} if np.isfinite(gap) else {}
    return {"score": float(score), "class_weight": float(weight), "gain": float(gain), **distance}


def _features(now: Round, ids: Ids, rule: SpreadRule) -> Features:
    if not len(ids):
        return np.empty((0, 1), np.float32)
    return now.embed(ids) if rule.space == "penultimate" else now.features(ids)


def _recent(now: Round, rule: SpreadRule) -> Ids:
    """Return the images that were labelled last; synthetic ones have no stored features."""
    real = now.labelled[now.labelled < len(now.pool)]
    return real[max(len(real) - rule.recent, 0) :]


def _sample(now: Round, among: Features, rule: SpreadRule) -> Features:
    """Return the features of images drawn from the pool: the same in every round, as long as the pool does not grow.

    In the penultimate layer they are drawn from the covered ones, whose features are known.
    """
    rng, size = stream(0, "spread", "width"), len(among if rule.space == "penultimate" else now.pool)
    rows = np.sort(Candidates(size, NO_IDS).sample(min(SAMPLE, size), rng))
    return among[rows] if rule.space == "penultimate" else now.features(rows)


def kernel_width(sample: Features, width: float) -> float:
    """Return s: `width` typical distances, and never so little that rounding errors would count as distances."""
    smallest = SMALLEST * float(np.abs(sample).max(initial=0.0))
    return max(width * typical_distance(sample), smallest) or 1.0


def typical_distance(features: Features) -> float:
    """Return the median over images (m, d) of the distance to the tenth nearest other, or the farthest of fewer.

    >>> typical_distance(np.array([[0.0], [3.0], [4.0]], np.float32))
    4.0
    """
    if not len(features):
        return 0.0
    points = features - features.mean(axis=0, dtype=np.float64)
    squares = squared_distances(points, points)  # (m, m): each image is its own nearest
    nearest = min(NEIGHBOUR, len(features) - 1)
    return float(np.median(np.sqrt(np.partition(squares, nearest, axis=1)[:, nearest])))


def squared_distances(points: Floats, others: Floats) -> Floats:
    """Return ‖a − b‖² (n, m) of points (n, d) and others (m, d)."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * points @ others.T
    return np.asarray(np.maximum(squares, 0.0))


def nearest_squares(points: Floats, labelled: Floats) -> Scores:
    """Return the squared distance (n,) to the nearest labelled image; infinity where there is none."""
    if not len(labelled):
        return np.full(len(points), np.inf)
    size = max(1, LAID_OUT // len(labelled))
    blocks = (points[at : at + size] for at in range(0, len(points), size))
    return np.concatenate([np.empty(0), *(squared_distances(block, labelled).min(axis=1) for block in blocks)])


@dataclass(frozen=True)
class Kernel:
    """exp(−‖a − b‖² / 2s²), or another profile than exp, of candidates and of what they are to cover."""

    candidates: Floats  # (c, d)
    covered: Floats  # (m, d)
    width: float  # s
    kept: Floats | None = None  # (c, m), unless it is large
    profile: Profile = np.exp

    @classmethod
    def of(cls, candidates: Floats, covered: Floats, width: float, profile: Profile = np.exp) -> Kernel:
        """Return the kernel of features (c, d) and (m, d)."""
        plain = cls(candidates, covered, width, profile=profile)
        if len(candidates) * len(covered) > KEPT:
            return plain
        return replace(plain, kept=plain.rows(np.arange(len(candidates))))

    def rows(self, rows: Rows) -> Floats:
        """Return the similarities (r, m) of some candidates to all that is to be covered."""
        if self.kept is not None:
            return self.kept[rows]
        return self.similarity(squared_distances(self.candidates[rows], self.covered))

    def gains(self, rows: Rows, wanted: Scores, cover: Scores) -> Scores:
        """Return the gains (r,) of some candidates, with the cover (m,) as it is."""
        if self.kept is not None:
            return np.asarray(np.maximum(self.kept[rows] - cover, 0.0) @ wanted)
        gains = np.zeros(len(rows))
        for at in range(0, len(cover), STRIP):
            strip = slice(at, at + STRIP)
            near = self.similarity(squared_distances(self.candidates[rows], self.covered[strip]))
            gains += np.maximum(near - cover[strip], 0.0) @ wanted[strip]
        return gains

    def similarity(self, squares: Floats) -> Floats:
        """Return the similarities at these squared distances."""
        return np.asarray(self.profile(-squares / (2 * self.width**2)))


def herded(kernel: Kernel, wanted: Scores, cover: Scores, n: int, bounds: Scores | None = None) -> tuple[Rows, Scores]:
    """Return n rows of the kernel's candidates, each of the largest gain after those before it, and the gains (n,).

    Of equal gains the first row. Where nothing is left to gain, the first rows that are left.

    Args:
        wanted: (m,) u.
        cover: (m,) of what is labelled.
        bounds: (c,) from above on the gains, where something is known of them.
    """
    # On gains: what they were when they were last computed.
    bounds = np.full(len(kernel.candidates), np.inf) if bounds is None else bounds.copy()
    rows, gains, tie = np.empty(n, np.int64), np.zeros(n), TIE * float(wanted.sum())
    for place in range(n):
        row = _next(kernel, wanted, cover, bounds, tie)
        if bounds[row] <= tie:
            rows[place:] = np.flatnonzero(bounds > -np.inf)[: n - place]
            break
        rows[place], gains[place] = row, bounds[row]
        cover = np.maximum(cover, kernel.rows(rows[place : place + 1])[0])
        bounds[row] = -np.inf  # taken
    return rows, gains


def _next(kernel: Kernel, wanted: Scores, cover: Scores, bounds: Scores, tie: float) -> int:
    """Return the row of the largest gain, and write the gains that are computed for it into `bounds`."""
    left = np.flatnonzero(bounds > -np.inf)
    order, best = left[np.argsort(-bounds[left], kind="stable")], 0.0
    for at in range(0, len(order), BLOCK):
        block = order[at : at + BLOCK]
        if bounds[block[0]] < best - tie:
            break  # the rest gained less before, and covering more never raises a gain
        bounds[block] = kernel.gains(block, wanted, cover)
        best = max(best, float(bounds[block].max()))
    return int(np.flatnonzero(bounds >= best - tie)[0])
