"""The shipped checks over every registered strategy, each check's broken twin, and what each strategy is to pick."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import Candidates, Neighbours, Round, Selection, as_ids, not_enough
from asal.errors import UserError
from asal.registry import Part
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.strategies.asal import _nearest_query, nearest_untaken
from asal.strategies.latent_optimisation import LatentOptimisation
from asal.strategies.scores import scores
from asal.strategies.scoring import needs_of
from asal.strategies.synthesis import Synthetic, enough_of, of_score, synthesise
from asal.testing.rounds import Repeated, Setting, repeated, setting
from asal.testing.strategy import CHECKS, LABELLED, Make, checks_of, choose

GENERATOR: dict[str, Any] = {"search": "generator", "steps": 5}
QUICK: dict[str, dict[str, Any]] = {
    "gaal": {"steps": 5}, "adba": {"points": 5}, "hyperplane-hash": {"tables": 8},
}  # fmt: skip
CASES = {
    **{name: (name, QUICK.get(name, {})) for name in strategies},
    "asal as in the paper": ("asal", {"steps": 5, "paper": True}),
    "asal with a generator": ("asal", {**GENERATOR, "num_restarts": 3, "prior": 0.1, "candidates": 3}),
    "asal in half precision, with one raw sample": (
        "asal",
        {**GENERATOR, "score": "entropy", "raw_samples": 1, "patience": 2, "precision": "bf16"},
    ),
    "asal with a generator, on the learned loss": ("asal", {**GENERATOR, "score": "learned-loss"}),
    "asal with a generator, spread": ("asal", {**GENERATOR, "batch": "spread", "size": 20}),
    "asal climbing, few and the highest": ("asal", {"size": 6, "share": 0.9, "batch": "top", "score": "entropy"}),
    "asal climbing, half of the evaluations": ("asal", {"size": 50, "share": 0.5}),
    "asal climbing, on the learned loss": ("asal", {"score": "learned-loss", "size": 24, "share": 0.3}),
    "subset of four": ("subset", {"size": 4, "score": "least-confidence"}),
    "hyperplane-hash by EH": ("hyperplane-hash", {"kind": "eh", "tables": 4, "candidates": 20}),
    "seals with three neighbours": ("seals", {"neighbours": 3, "score": "margin"}),
    "subset of ten, spread": ("subset", {"size": 10, "batch": "spread"}),
    "uncertainty on the learned loss, spread": ("uncertainty", {"score": "learned-loss", "batch": "spread"}),
    "seals spread": ("seals", {"batch": "spread", "neighbours": 20}),
    "spread of few in the penultimate layer": ("spread", {"size": 12, "times": 1, "space": "penultimate"}),
    "spread wide without class weights": ("spread", {"times": 20, "width": 5.0, "gamma": 0.0, "score": "entropy"}),
    "bald of few": ("bald", {"size": 9, "times": 2, "rate": 0.9}),
    "cluster-margin of few clusters": ("cluster-margin", {"size": 20, "times": 1, "sample": 8, "clusters": 3}),
    "dropquery of few, five times": ("dropquery", {"size": 12, "times": 5, "rate": 0.4}),
    "anchoral of few neighbours": ("anchoral", {"neighbours": 2, "anchors": 1, "size": 8, "score": "entropy"}),
    "max-herding of a part": ("max-herding", {"size": 20, "width": 0.3}),
    "uherding of a part, fixed": ("uherding", {"size": 20, "width": 0.5, "temperature": 2.0}),
    "prob-cover of a part, of balls": ("prob-cover", {"size": 20, "radius": 0.4}),
    "tcm in its second phase": ("tcm", {"per_class": 1}),
    "typiclust of few clusters": ("typiclust", {"clusters": 2, "size": 30}),
}

ROUNDING = 1e-5  # of a score: the last bits of a float32 matrix product depend on the processor and the batch's size


def bound(name: str, options: dict[str, Any]) -> Part:
    part = strategies[name]
    return replace(part, make=part.bind(options), needs=needs_of(part, options))


PAIRS = [(case, check) for case, (name, _) in CASES.items() for check in checks_of(strategies[name])]


@pytest.mark.parametrize(("case", "check"), PAIRS)
def test_strategy(case: str, check: str) -> None:
    CHECKS[check](lambda: bound(*CASES[case]))


def twin(make: Callable[..., Any], *, needs: tuple[str, ...] = (), cost: str = "constant") -> Make:
    return lambda: Part("strategy", "twin", make, frozenset(needs), frozenset(), cost)


def drawn(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(now.candidates.sample(n, rng), np.zeros(n))


def everything(now: Round) -> Any:
    return np.concatenate(list(now.candidates.blocks()))


def rows_for_ids(now: Round, n: int, rng: np.random.Generator) -> Selection:
    sure = now.predict(everything(now)).max(axis=1)
    rows = np.argsort(sure, kind="stable")[:n]  # the commonest bug of the field: rows of what is left, not ids
    return Selection(rows, -sure[rows])


def one_short(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return drawn(now, max(1, n - 1), rng)


def what_there_is(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return drawn(now, min(n, len(now.candidates)), rng)


def fails_raw(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(rng.choice(everything(now), n, replace=False), np.zeros(n))


def forgets_the_skipped(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(Candidates(len(now.pool), now.labelled).sample(n, rng), np.zeros(n))


def draws_globally(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return drawn(now, n, np.random.default_rng(int(torch.randint(2**31, ()))))


def seeds_globally(now: Round, n: int, rng: np.random.Generator) -> Selection:
    np.random.seed(int(rng.integers(2**31)))
    return Selection(now.candidates.sample(n, rng), np.random.rand(n))  # the same each time, and others are moved


def starts_at_the_first_label(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(np.roll(everything(now), int(now.labelled[0]))[:n], np.zeros(n))


def looks_at_ten(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(now.candidates.sample(10, rng)[:n], np.zeros(n))


def contrasts_two_classes(now: Round, n: int, rng: np.random.Generator) -> Selection:
    first, second = np.unique(now.labels)[:2]
    ids = everything(now)
    probs = now.predict(ids)
    order = np.argsort(np.abs(probs[:, first] - probs[:, second]))[:n]
    return Selection(ids[order], np.zeros(n))


def stretches_its_scores(now: Round, n: int, rng: np.random.Generator) -> Selection:
    ids = now.candidates.sample(max(n, 20), rng)
    sure = now.predict(ids).max(axis=1)
    with np.errstate(invalid="ignore"):
        return Selection(ids[:n], ((sure - sure.min()) / (sure.max() - sure.min()))[:n])


def notes_arrays(now: Round, n: int, rng: np.random.Generator) -> Selection:
    ids = now.candidates.sample(n, rng)
    return Selection(ids, np.zeros(n), [{"features": row} for row in now.features(ids)])


def notes_nothings(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(now.candidates.sample(n, rng), np.zeros(n), [{"distance": float("nan")}] * n)


def sorts_in_place(now: Round, n: int, rng: np.random.Generator) -> Selection:
    now.labels.sort()
    return drawn(now, n, rng)


def whitens_in_place(now: Round, n: int, rng: np.random.Generator) -> Selection:
    now.model.model.net[-1].weight.data.mul_(0.5)  # type: ignore[attr-defined]
    return drawn(now, n, rng)


def protects_nothing(now: Round, n: int, rng: np.random.Generator) -> Selection:
    order = np.argsort(now.labelled)
    now.labelled[:] = now.labelled[order]  # nothing to see where they are sorted already
    return drawn(now, n, rng)


_ASKED: list[int] = []


def remembers_what_it_asked(now: Round, n: int, rng: np.random.Generator) -> Selection:
    ids = now.candidates.sample(min(n + len(_ASKED), len(now.candidates)), rng)
    ids = as_ids([i for i in ids if i not in _ASKED][:n])
    _ASKED.extend(ids.tolist())
    return Selection(ids, np.zeros(len(ids)))


_CALLS: dict[str, int] = {}


def counts_its_calls(now: Round, n: int, rng: np.random.Generator) -> Selection:
    _CALLS["so far"] = _CALLS.get("so far", 0) + 1
    return drawn(now, n, rng)


def carries_on(now: Round, n: int, rng: np.random.Generator) -> Selection:
    ids = now.candidates.sample(n, rng)
    try:
        now.predict(ids)
    except Exception:
        return Selection(ids, np.zeros(n))
    return Selection(ids, np.ones(n))


def predicts_past_the_meter(now: Round, n: int, rng: np.random.Generator) -> Selection:
    ids = now.candidates.sample(max(n, 20), rng)
    best = np.argsort(now.model.predict(now.pool.read(ids)).max(axis=1))[:n]
    return Selection(ids[best], np.zeros(n))


def searches_unannounced(now: Round, n: int, rng: np.random.Generator) -> Selection:
    now.tools.index.search(now.features(now.labelled[:1]), 1)
    return drawn(now, n, rng)


def uses_a_gradient_unannounced(now: Round, n: int, rng: np.random.Generator) -> Selection:
    now.model.logits(torch.zeros(1, 1, 4, 4))
    return drawn(now, n, rng)


def scores_the_whole_pool(now: Round, n: int, rng: np.random.Generator) -> Selection:
    chosen: Selection = strategies["uncertainty"].make(now, n, rng)
    return chosen


def lists_the_whole_pool(now: Round, n: int, rng: np.random.Generator) -> Selection:
    open_ids = np.ones(len(now.pool), np.bool_)  # one byte an image
    open_ids[now.candidates.excluded] = False
    ids = now.candidates.sample(n, rng)
    return Selection(ids[open_ids[ids]], np.zeros(n))


def reads_all_features(now: Round, n: int, rng: np.random.Generator) -> Selection:
    for ids in now.candidates.blocks(256):
        now.features(ids)
    return drawn(now, n, rng)


def unchecked(ids: Any, **parts: Any) -> Any:
    """What a strategy that makes its own answer returns: `Selection` would refuse it."""
    return SimpleNamespace(ids=ids, **{"scores": np.zeros(len(ids)), "notes": (), **parts})


def scores_by_the_mean_image(now: Round, n: int, rng: np.random.Generator) -> Selection:
    pixels = now.pool.read(everything(now)).reshape(len(now.candidates), -1).astype(np.float64)
    apart = ((pixels - pixels.mean(axis=0)) / pixels.std(axis=0)).mean(axis=1)  # 0 / 0 where nothing varies
    rows = np.argsort(-apart, kind="stable")[:n]
    return Selection(everything(now)[rows], apart[rows])


TWINS: dict[str, Make] = {
    "picks n unlabelled images": twin(rows_for_ids),
    "refuses more than are left": twin(what_there_is),
    "does not ask skipped again": twin(forgets_the_skipped),
    "same stream, same answer": twin(draws_globally),
    "leaves global random state alone": twin(seeds_globally),
    "does not depend on order": twin(starts_at_the_first_label),
    "exhausts the pool": twin(looks_at_ten),
    "handles labels of one class": twin(contrasts_two_classes),
    "handles an uninformative model": twin(stretches_its_scores),
    "handles images that are alike": twin(scores_by_the_mean_image),
    "returns scores and notes": twin(notes_arrays),
    "does not modify its arguments": twin(sorts_in_place),
    "keeps no state": twin(remembers_what_it_asked),
    "counts its evaluations": twin(predicts_past_the_meter),
    "uses only what it declares": twin(searches_unannounced, needs=("features",)),
    "costs what it declares": twin(scores_the_whole_pool),
}


@pytest.mark.parametrize("check", CHECKS)
def test_check_catches_its_twin(check: str) -> None:
    _ASKED.clear()
    with pytest.raises(AssertionError):
        CHECKS[check](TWINS[check])


@pytest.mark.parametrize(
    ("check", "make", "said"),
    [
        ("picks n unlabelled images", twin(one_short), "4 images were asked for and 3 returned"),
        ("picks n unlabelled images", twin(lambda now, n, rng: unchecked([7] * n)), "an array of int64"),
        ("picks n unlabelled images", twin(lambda now, n, rng: unchecked(np.full(n, 7))), "an id is returned twice"),
        ("picks n unlabelled images", twin(lambda now, n, rng: unchecked(np.arange(60, 60 + n))), "outside the pool"),
        ("refuses more than are left", twin(fails_raw), "it raises ValueError"),
        ("returns scores and notes", twin(notes_nothings), "cannot be written as JSON"),
        (
            "returns scores and notes",
            twin(lambda now, n, rng: unchecked(now.candidates.sample(n, rng), notes=[{}])),
            "have 1 notes",
        ),
        ("does not modify its arguments", twin(whitens_in_place), "it wrote into the classifier"),
        ("does not modify its arguments", twin(protects_nothing), "read-only"),
        ("keeps no state", twin(counts_its_calls), "_CALLS"),
        ("keeps no state", twin(carries_on), "it swallowed the exception"),
        ("uses only what it declares", twin(uses_a_gradient_unannounced), "'gradient' is not among its needs"),
        ("costs what it declares", twin(lists_the_whole_pool), "memory grows"),
        ("costs what it declares", twin(reads_all_features), "features read grow"),
        ("costs what it declares", twin(drawn, cost="quadratic"), "'constant' or 'linear'"),
    ],
)
def test_check_says_what_is_wrong(check: str, make: Make, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        CHECKS[check](make)


def test_a_linear_strategy_may_cost_what_it_says() -> None:
    CHECKS["costs what it declares"](twin(scores_the_whole_pool, cost="linear"))


@pytest.fixture(scope="module")
def at() -> Iterator[Setting]:
    with setting(strategies["asal"]) as made:
        yield made


@pytest.mark.parametrize("score", [name for name in scores if not scores[name].needs])
def test_uncertainty_finds_the_highest_of_all(at: Setting, score: str) -> None:
    now = at.round(LABELLED)
    chosen = choose(bound("uncertainty", {"score": score}), now, 7)
    ids = everything(now)
    values = scores[score].make(now.predict(ids))
    assert set(chosen.ids.tolist()) == set(ids[np.argsort(-values)[:7]].tolist())
    assert (np.diff(chosen.scores) <= 0).all(), "highest first"
    own = values[np.searchsorted(ids, chosen.ids)]
    np.testing.assert_allclose(chosen.scores, own, rtol=0, atol=ROUNDING, err_msg="each has its own score")
    np.testing.assert_allclose(chosen.scores, scores[score].make(now.predict(chosen.ids)), rtol=0, atol=ROUNDING)


def test_of_equal_scores_the_lower_ids_are_picked_in_whatever_block_they_lie(at: Setting) -> None:
    now, _, _ = repeated(at, LABELLED, copies=200)  # 12,000 images in three blocks, each image two hundred times
    chosen = choose(bound("uncertainty", {}), now, 50)
    assert (np.diff(chosen.ids) == 60).all(), "the copies of one image, from the first on"
    assert chosen.ids[0] < 60
    assert now.meter.evaluations == len(now.candidates) == 12_000 - len(LABELLED)


@pytest.mark.parametrize(("size", "n", "looked_at"), [(20, 3, 20), (4, 9, 9), (1000, 5, 54)])
def test_subset_is_the_best_of_what_it_draws(at: Setting, size: int, n: int, looked_at: int) -> None:
    now = at.round(LABELLED)
    chosen = strategies["subset"].make(now, n, stream(5, "subset"), size=size)
    assert now.meter.evaluations == looked_at
    seen = np.sort(now.candidates.sample(looked_at, stream(5, "subset")))  # the same rows of the same product
    values = scores["margin"].make(now.predict(seen))
    assert chosen.ids.tolist() == seen[np.argsort(-values, kind="stable")[:n]].tolist()
    if looked_at == len(now.candidates):
        assert chosen.ids.tolist() == strategies["uncertainty"].make(now, n, stream(0)).ids.tolist()


@pytest.mark.parametrize("name", ["uncertainty", "subset", "seals"])
def test_the_default_score_is_the_margin_and_was_the_entropy(name: str) -> None:
    assert strategies[name].value_of("score", {}) == "margin"
    assert strategies[name].options_of_older({})["score"] == "entropy", "run folders of before would change meaning"


@pytest.mark.parametrize("name", ["uncertainty", "subset", "asal"])
def test_a_score_that_does_not_exist_is_named(at: Setting, name: str) -> None:
    with pytest.raises(UserError, match="did you mean 'entropy'"):
        strategies[name].make(at.round(LABELLED), 2, stream(0), score="entrophy")


@pytest.mark.parametrize(
    ("name", "options"),
    [("subset", {"size": 0}), ("asal", {"steps": -1}), ("asal", {"step_size": 0.0}), ("asal", {"candidates": 0})],
)
def test_an_option_out_of_range_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        strategies[name].options(options)


def test_asals_options_can_be_given_under_their_former_names() -> None:
    former = {"starts": 3, "restarts": 2, "saturated": 0.05, "stepper": "compiled"}
    present = {"raw_samples": 3, "num_restarts": 2, "score_tolerance": 0.05, "backend": "compiled"}
    assert strategies["asal"].options(former) == strategies["asal"].options(present)
    assert present.items() <= strategies["asal"].options(former).items()


def made(at: Setting, now: Round, n: int = 6, **options: Any) -> Synthetic:
    settings_ = LatentOptimisation(**{"steps": 40, "step_size": 0.05, **options})
    return synthesise(now, n, of_score(now.model, "entropy"), settings_, stream(0, "check"))


def test_optimisation_raises_the_score_and_restarts_keep_the_best(at: Setting) -> None:
    now = at.round(LABELLED)
    start, optimised, best = made(at, now, steps=0), made(at, now), made(at, now, num_restarts=8)
    assert optimised.scores.mean() > start.scores.mean() + 0.05
    assert best.scores.min() >= optimised.scores.min()
    assert best.scores.mean() > optimised.scores.mean()
    for synthetic in (start, optimised, best):
        assert (np.diff(synthetic.scores) <= 0).all(), "best first"
        probs = now.model.predict(synthetic.images)  # of the images rounded to bytes
        np.testing.assert_allclose(synthetic.scores, scores["entropy"].make(probs), atol=0.02)
        drawn_again = at.tools.generator.decode(torch.from_numpy(synthetic.latents))
        np.testing.assert_allclose((drawn_again.numpy()[:, 0] + 1) * 127.5, synthetic.images[..., 0], atol=0.51)


def test_the_prior_holds_latents_near_the_origin(at: Setting) -> None:
    now = at.round(LABELLED)
    far, near = (np.linalg.norm(made(at, now, prior=prior).latents, axis=1).mean() for prior in (0.0, 100.0))
    assert near < 0.7 * far


def test_asal_in_the_paper_takes_each_synthetic_images_nearest(at: Setting) -> None:
    now = at.round(LABELLED)
    chosen = strategies["asal"].make(now, 6, stream(0, "check"), paper=True, steps=40)
    synthetic, open_ids = made(at, now), everything(now).tolist()
    apart = np.linalg.norm(at.tools.extractor(synthetic.images)[:, None] - now.features(as_ids(open_ids)), axis=2)
    for row, (image, note) in enumerate(zip(chosen.ids.tolist(), chosen.notes, strict=True)):
        free = [place for place, other in enumerate(open_ids) if other not in chosen.ids[:row]]
        nearest = min(free, key=lambda place: (apart[row, place], place))
        assert image == open_ids[nearest]
        assert note["distance"] == pytest.approx(apart[row, nearest], rel=1e-5)
        assert note["synthetic_score"] == synthetic.scores[row]
        assert note["latent"] == pytest.approx(synthetic.latents[row].tolist(), abs=1e-4)
        assert note["score"] == chosen.scores[row]
    np.testing.assert_allclose(chosen.scores, scores["entropy"].make(now.predict(chosen.ids)), rtol=0, atol=ROUNDING)
    assert now.meter.evaluations == 6 + 6, "the six picks, and once more just now"


def test_asal_re_ranks_what_it_finds(at: Setting) -> None:
    now = at.round(LABELLED)
    options = {"search": "generator", "score": "entropy", "steps": 40, "candidates": 1}
    chosen = strategies["asal"].make(now, 6, stream(0, "check"), **options)
    ours = {"step_size": 0.02, "raw_samples": 10, "patience": 10, "keep_best": True}
    ours["enough"] = enough_of(now, "entropy", 0.01)
    queries = at.tools.extractor(made(at, now, **ours).images)
    near = at.tools.index.search(queries, 20, without=LABELLED).ids
    depth = next(k for k in range(1, 20) if len(np.unique(near[:, :k])) >= 6)  # some share their nearest
    found = np.unique(near[:, :depth])
    assert depth > 1
    assert now.meter.evaluations == len(found) + 2, "each candidate once, and one image for the classes, here and there"
    values = scores["entropy"].make(now.predict(found))
    assert chosen.ids.tolist() == found[np.lexsort((found, -values))[:6]].tolist()
    apart = np.linalg.norm(queries[:, None] - now.features(chosen.ids), axis=2).min(axis=0)
    assert [note["distance"] for note in chosen.notes] == pytest.approx(apart.tolist(), rel=1e-5)


def test_an_option_that_is_given_outright_holds_in_the_paper_too(at: Setting) -> None:
    def picked(**options: Any) -> list[int]:
        found: Selection = strategies["asal"].make(at.round(LABELLED), 4, stream(1), steps=3, **options)
        return found.ids.tolist()

    ours = {"step_size": 0.02, "raw_samples": 10, "score_tolerance": 0.01, "patience": 10, "keep_best": True}
    ours |= {"score": "margin"}
    assert picked(paper=True, rerank=True, candidates=20, **ours) == picked(search="generator")
    off = {"step_size": 0.05, "raw_samples": 1, "score_tolerance": 0.0, "patience": 0, "keep_best": False}
    off |= {"search": "generator", "score": "entropy"}
    assert picked(paper=True) == picked(rerank=False, candidates=1, **off)
    assert len({tuple(picked(**options)) for options in ({"paper": True}, {"search": "generator"}, {})}) == 3


def test_asal_tells_where_its_time_went(at: Setting) -> None:
    now = at.round(LABELLED)
    choose(bound("asal", GENERATOR), now, 5)
    spent = now.meter.split()
    assert all(spent[part] > 0 for part in ("generate", "match", "score", "io")), spent
    assert spent["train"] == 0


def test_asal_refuses_before_it_works(at: Setting) -> None:
    now = at.round(as_ids(range(58)))
    with pytest.raises(UserError) as caught:
        strategies["asal"].make(now, 3, stream(0))
    assert str(caught.value) == str(not_enough(3, 2))
    assert sum(now.meter.split().values()) == 0


IDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(max_examples=60, deadline=None)
@given(IDS, st.integers(1, 8))
def test_every_query_finds_a_neighbour_that_is_not_taken(rng: Any, n: int) -> None:
    near = np.stack([rng.permutation(n + 2)[:n] for _ in range(n)])  # n neighbours each: the others take n − 1 at most
    ids = nearest_untaken(near, n)
    assert len(set(ids.tolist())) == n
    for row, image in zip(near.tolist(), ids.tolist(), strict=True):
        before = set(row[: row.index(image)])
        assert before <= set(ids.tolist()), "whatever is nearer was taken"


@settings(max_examples=60, deadline=None)
@given(IDS, st.integers(1, 6), st.integers(1, 7))
def test_a_picks_query_is_the_nearest_one_that_found_it(rng: Any, q: int, k: int) -> None:
    near = Neighbours(np.stack([rng.permutation(9)[:k] for _ in range(q)]), rng.integers(3, size=(q, k)).astype(float))
    ids = np.unique(near.ids)
    for image, query in zip(ids, _nearest_query(near, ids), strict=True):
        apart = np.where(near.ids == image, near.distances, np.inf).min(axis=1)
        assert query == apart.argmin(), "the lowest of the queries that are equally near"


def test_a_large_batch_takes_little_memory(at: Setting) -> None:
    """A table of picks × queries × neighbours would take 230 MB here, and 8 GB for a batch of a thousand."""
    rng = stream(0, "large batch")
    near = Neighbours(rng.integers(0, 10**5, size=(300, 319)), rng.random((300, 319)))
    ids = np.unique(near.ids)[:300]
    tracemalloc.start()
    queries = _nearest_query(near, ids)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20, f"{peak} bytes for {near.ids.size} neighbours"
    assert all(image in near.ids[query] for image, query in zip(ids, queries, strict=True))


def test_the_repeated_pool_of_the_checks_is_true(at: Setting) -> None:
    """Its index must find what brute force finds, or the check of costs would prove nothing."""
    now, pool, vectors = repeated(at, LABELLED, copies=3)
    assert isinstance(pool, Repeated)
    features = vectors.read(np.arange(180))
    queries, gone = features[[7, 100]] + 0.01, as_ids([7, 67, 3, 127])
    found = now.tools.index.search(queries, 40, without=gone)
    apart = np.linalg.norm(queries[:, None].astype(np.float64) - features, axis=2)
    apart[:, gone] = np.inf
    np.testing.assert_allclose(found.distances, np.sort(apart, axis=1)[:, :40])
    np.testing.assert_allclose(np.take_along_axis(apart, found.ids, axis=1), found.distances)
    assert all(len(set(row)) == 40 for row in found.ids.tolist())
