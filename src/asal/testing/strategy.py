"""What every strategy must do: pick distinct images that nobody was asked about, in any round.

`CHECKS[name](make)` raises AssertionError where the strategy fails. `make` is called without arguments and returns the
strategy's registered part, `strategies[name]`: what it declares of its needs and its cost is held against it. Options
are bound to its `make`, as in `replace(part, make=partial(part.make, steps=5))`; it is called some fifty times.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from asal.core import Ids, Images, Round, Selection, as_ids
from asal.errors import UserError
from asal.registry import Part
from asal.runtime.rng import stream
from asal.testing.rounds import Certain, CountingModel, Setting, Tripwire, Uncertain, declared, repeated, setting
from asal.testing.training import Cut, global_streams

Make: TypeAlias = Callable[[], Part]

LABELLED = as_ids([0, 1, 2, 3, 4, 5])


def choose(part: Part, now: Round, n: int, *path: str | int) -> Selection:
    """Call a strategy on the stream of this path; what it raises is a failure."""
    try:
        chosen: Selection = part.make(now, n, stream(0, "check", *path))
    except (AssertionError, Cut):
        raise
    except Exception as error:
        raise AssertionError(f"asked for {n} of {len(now.candidates)}: {type(error).__name__}: {error}") from error
    return chosen


def _in_order(now: Round, chosen: Selection, n: int) -> Ids:
    ids = chosen.ids
    assert getattr(ids, "dtype", None) == np.int64, f"ids are an array of int64, not {type(ids).__name__}: {ids!r}"
    if getattr(chosen, "images", None) is not None:
        return _synthetic(now, chosen, n)
    assert len(ids) == n, f"{n} images were asked for and {len(ids)} returned"
    assert len(np.unique(ids)) == n, f"an id is returned twice: {sorted(ids.tolist())}"
    assert ((ids >= 0) & (ids < len(now.pool))).all(), f"an id is outside the pool: {ids.tolist()}"
    assert not np.isin(ids, now.labelled).any(), f"an image is labelled already: {np.intersect1d(ids, now.labelled)}"
    assert not np.isin(ids, now.skipped).any(), f"an image was skipped before: {np.intersect1d(ids, now.skipped)}"
    return ids


def _synthetic(now: Round, chosen: Selection, n: int) -> Ids:
    images, first = chosen.images, len(now.pool) + len(now.origins)
    assert images is not None
    assert images.dtype == np.uint8 and images.shape[1:] == now.pool.shape, f"it made {images.dtype} {images.shape}"
    assert len(images) == n * chosen.group, f"{n} × {chosen.group} images were asked for and {len(images)} returned"
    expected = list(range(first, first + len(images)))
    assert chosen.ids.tolist() == expected, f"synthetic images have the ids from {first} on, not {chosen.ids.tolist()}"
    return chosen.ids


def _same(a: Selection, b: Selection, when: str) -> None:
    assert np.array_equal(a.ids, b.ids), f"{when}: {a.ids.tolist()} became {b.ids.tolist()}"
    assert np.array_equal(a.scores, b.scores), f"{when}: the scores differ"
    assert list(a.notes) == list(b.notes), f"{when}: the notes differ"


def _nearly_same(a: Selection, b: Selection, when: str) -> None:
    """Compare scores and notes but for rounding, as sums in another order differ in their last digits."""
    assert np.array_equal(a.ids, b.ids), f"{when}: {a.ids.tolist()} became {b.ids.tolist()}"
    assert np.allclose(a.scores, b.scores, rtol=1e-4, atol=1e-5), f"{when}: the scores differ"
    assert _notes_close(list(a.notes), list(b.notes)), f"{when}: the notes differ"


def _notes_close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=1e-4, atol=1e-5))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_notes_close(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_notes_close, a, b))
    return bool(a == b)


def picks_n_unlabelled_images(make: Make) -> None:
    """It returns exactly n distinct ids of unlabelled images, from one to all that are left."""
    with setting(make()) as at:
        labelled = as_ids(range(0, len(at.pool), 2))
        now = at.round(labelled)
        for n in (1, 4, len(now.candidates)):
            _in_order(now, choose(make(), now, n, n), n)


def refuses_more_than_are_left(make: Make) -> None:
    """Asked for more images than are left, it raises a UserError."""
    with setting(make()) as at:
        for labelled in (as_ids(range(len(at.pool) - 3)), as_ids(range(len(at.pool)))):
            now = at.round(labelled)
            try:
                chosen = make().make(now, len(now.candidates) + 1, stream(0, "check"))
            except UserError:
                continue
            except Exception as error:
                raise AssertionError(f"asked for one too many, it raises {type(error).__name__}: {error}") from error
            raise AssertionError(f"asked for one too many, it returned {len(chosen.ids)} images")


def does_not_ask_skipped_again(make: Make) -> None:
    """An image that was skipped is not asked about again."""
    with setting(make()) as at:
        rest = np.setdiff1d(np.arange(len(at.pool)), LABELLED)
        now = at.round(LABELLED, skipped=rest[5:])
        _in_order(now, choose(make(), now, 5), 5)


def same_stream_same_answer(make: Make) -> None:
    """The same round and stream give the same ids, scores and notes, whatever the global random state is."""
    with setting(make()) as at:
        now = at.round(LABELLED)
        found = []
        for seed in (1, 2):
            with global_streams(seed):
                found.append(choose(make(), now, 5))
        _same(found[0], found[1], "called again on the same stream")


def leaves_global_random_state_alone(make: Make) -> None:
    """It does not change the global random state of numpy and torch."""
    import torch

    with setting(make()) as at, global_streams(7):
        now = at.round(LABELLED)
        before = str(np.random.get_state()), torch.get_rng_state()
        choose(make(), now, 5)
        assert str(np.random.get_state()) == before[0], "it moved numpy's global stream"
        assert torch.equal(torch.get_rng_state(), before[1]), "it moved torch's global stream"


def does_not_depend_on_order(make: Make) -> None:
    """The order in which images were labelled or skipped makes no difference, but for rounding."""
    with setting(make()) as at:
        now = at.round(LABELLED, skipped=as_ids([30, 20, 25]))
        turned = replace(
            now, labelled=now.labelled[::-1].copy(), labels=now.labels[::-1].copy(), skipped=np.sort(now.skipped)
        )
        _nearly_same(choose(make(), now, 6), choose(make(), turned, 6), "with labelled and skipped in another order")


def exhausts_the_pool(make: Make) -> None:
    """Round after round, every image is asked about once, to the last."""
    with setting(make(), images=28) as at:
        labelled = as_ids([3, 4, 5])
        while left := len(at.pool) - len(labelled):
            now = at.round(labelled, number=len(labelled))
            ids = _in_order(now, choose(make(), now, min(7, left), len(labelled)), min(7, left))
            labelled = np.concatenate([labelled, ids])
        assert np.array_equal(np.sort(labelled), np.arange(len(at.pool))), "not every image was asked about once"


def handles_labels_of_one_class(make: Make) -> None:
    """It picks n images where all labels so far are of one class."""
    with setting(make()) as at:
        now = at.round(np.flatnonzero(at.truth == 1)[:5])
        _in_order(now, choose(make(), now, 5), 5)


def handles_an_uninformative_model(make: Make) -> None:
    """It picks n images where the classifier is certain of all of them, or equally uncertain of all."""
    with setting(make()) as at:
        now = at.round(LABELLED)
        for model in (Certain(now.model), Uncertain(now.model)):
            chosen = choose(make(), replace(now, model=model), 5)
            _in_order(now, chosen, 5)
            assert np.isfinite(chosen.scores).all(), f"a score is not finite: {chosen.scores}"


def handles_images_that_are_alike(make: Make) -> None:
    """It picks n images where all of the pool are one picture, or all are black, or the labelled ones are one picture.

    Nothing varies then, lengths and distances are 0, and one picture has labels of several classes.
    """

    def one_picture(images: Images) -> Images:
        return np.repeat(images[:1], len(images), axis=0)

    def labelled_are_one(images: Images) -> Images:
        images = images.copy()
        images[LABELLED] = images[0]
        return images

    for change in (one_picture, np.zeros_like, labelled_are_one):
        with setting(make(), change=change) as at:
            now = at.round(LABELLED)
            for n in (5, 1 if "images" in make().provides else len(now.candidates)):
                with np.errstate(divide="raise", invalid="raise", over="raise"):
                    chosen = choose(make(), now, n, n)
                _in_order(now, chosen, n)
                assert np.isfinite(chosen.scores).all(), f"a score is not finite: {chosen.scores}"


def returns_scores_and_notes(make: Make) -> None:
    """Each pick has a finite score; there is one note a pick, or none at all, and notes can be written as JSON."""
    with setting(make()) as at:
        chosen = choose(make(), at.round(LABELLED), 5)
    picks = len(chosen.ids)
    assert chosen.scores.shape == (picks,), f"{picks} picks have scores of shape {chosen.scores.shape}"
    assert np.isfinite(chosen.scores).all(), f"a score is not finite: {chosen.scores}"
    assert len(chosen.notes) in (0, picks), f"{picks} picks have {len(chosen.notes)} notes"
    try:
        json.dumps(list(chosen.notes), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the notes cannot be written as JSON: {error}") from error


def does_not_modify_its_arguments(make: Make) -> None:
    """Ids, labels, images, features and the classifier stay as they were; arrays may be read-only."""
    with setting(make()) as at:
        now = at.round(LABELLED.copy(), skipped=as_ids([9, 8]))
        kept = _contents(at, now)
        choose(make(), now, 5)
        for name, value in _contents(at, now).items():
            assert value == kept[name], f"it wrote into {name}"
        for array in (now.labelled, now.labels, now.skipped, now.candidates.excluded):
            array.setflags(write=False)
        choose(make(), now, 5)


def _contents(at: Setting, now: Round) -> dict[str, Any]:
    everything = np.arange(len(at.pool))
    return {
        "the labelled ids": now.labelled.tolist(),
        "the labels": now.labels.tolist(),
        "the skipped ids": now.skipped.tolist(),
        "the candidates": now.candidates.excluded.tolist(),
        "the pool": at.pool.read(everything).tolist(),
        "the features": at.tools.vectors.read(everything).tolist(),
        "the classifier": now.model.predict(now.inputs(everything)).tolist(),
    }


def keeps_no_state(make: Make) -> None:
    """Interrupted anywhere and called again, or called on other rounds in between, it gives the same answer."""
    with setting(make()) as at:
        now = at.round(LABELLED)
        part = make()
        first, before = choose(part, now, 5), _globals(part.make)
        choose(part, at.round(as_ids(range(20)), skipped=as_ids([30]), number=2), 9, "another round")
        _same(first, choose(part, now, 5), "after another round")
        wire = Tripwire()
        choose(part, wire.across(now), 5)
        for place in sorted({1, 2, 3, wire.touched // 2, wire.touched} & set(range(1, wire.touched + 1))):
            with suppress(Cut):
                choose(part, Tripwire(place).across(now), 5)
                raise AssertionError(f"it swallowed the exception that interrupted it at {place} of {wire.touched}")
            _same(first, choose(part, now, 5), f"after an interruption at {place} of {wire.touched}")
        changed = [name for name, value in _globals(part.make).items() if before.get(name) != value]
    assert not changed, f"it keeps state from call to call: {', '.join(changed)}"


def _globals(make: Callable[..., Any]) -> dict[str, str]:
    function: Any = make.func if isinstance(make, functools.partial) else make
    values: dict[str, Any] = {**vars(sys.modules[function.__module__])} if hasattr(function, "__module__") else {}
    if inspect.isfunction(function):
        values |= {"its defaults": (function.__defaults__, function.__kwdefaults__), "its attributes": vars(function)}
        values |= inspect.getclosurevars(function).nonlocals
    return {name: repr(value) for name, value in values.items() if not name.startswith("__")}


def counts_its_evaluations(make: Make) -> None:
    """Every image that goes through the classifier is on the meter: strategies are compared by it."""
    with setting(make()) as at:
        now = at.round(LABELLED)
        model: Any = CountingModel(now.model)
        now = replace(now, model=model)
        choose(make(), now, 5)
    counted, optimised = now.meter.evaluations, now.meter.generated
    assert counted == model.predicted, f"the classifier evaluated {model.predicted} images, the meter has {counted}"
    assert optimised == model.optimised, (
        f"the classifier evaluated {model.optimised} synthetic images, the meter has {optimised}"
    )


def uses_only_what_it_declares(make: Make) -> None:
    """It touches no tool, and no gradient of the classifier, that it did not name in its needs."""
    part = make()
    with setting(part) as at:
        choose(part, declared(part.needs, at.round(LABELLED)), 5)


def costs_what_it_declares(make: Make) -> None:
    """If its cost is constant, a pool twenty times as large takes no more images, evaluations or memory."""
    part = make()
    assert part.cost in ("constant", "linear"), f"a cost is 'constant' or 'linear', not {part.cost!r}"
    if part.cost == "linear":
        return
    with setting(part, images=500) as at:
        small, large = _cost(part, at, 20), _cost(part, at, 400)
    for what, before, after in zip(("images read", "evaluations", "features read"), small, large, strict=False):
        assert after <= 2 * before + 10, f"{what} grow with the pool: {before} of 10,000 and {after} of 200,000 images"
    grown = large[-1] - small[-1]
    assert grown < 190_000, f"memory grows with the pool: by {grown} bytes for 190,000 images more"


def _cost(part: Part, at: Setting, copies: int) -> tuple[int, int, int, int]:
    """Return images read, evaluations, features read, and the peak of memory in bytes."""
    now, pool, vectors = repeated(at, LABELLED, copies)
    choose(part, now, 5, "to warm up")  # what is imported and cached at the first call is no cost of the pool
    pool.reads = vectors.reads = now.meter.evaluations = 0
    tracemalloc.start()
    try:
        choose(part, now, 5)
        return pool.reads, now.meter.evaluations, vectors.reads, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CHECKS: dict[str, Callable[[Make], None]] = {
    "picks n unlabelled images": picks_n_unlabelled_images,
    "refuses more than are left": refuses_more_than_are_left,
    "does not ask skipped again": does_not_ask_skipped_again,
    "same stream, same answer": same_stream_same_answer,
    "leaves global random state alone": leaves_global_random_state_alone,
    "does not depend on order": does_not_depend_on_order,
    "exhausts the pool": exhausts_the_pool,
    "handles labels of one class": handles_labels_of_one_class,
    "handles an uninformative model": handles_an_uninformative_model,
    "handles images that are alike": handles_images_that_are_alike,
    "returns scores and notes": returns_scores_and_notes,
    "does not modify its arguments": does_not_modify_its_arguments,
    "keeps no state": keeps_no_state,
    "counts its evaluations": counts_its_evaluations,
    "uses only what it declares": uses_only_what_it_declares,
    "costs what it declares": costs_what_it_declares,
}

OF_THE_POOL = ("refuses more than are left", "does not ask skipped again", "exhausts the pool")


def checks_of(part: Part) -> list[str]:
    """Return the names of the checks that concern a strategy: one that generates images never uses up the pool."""
    return [name for name in CHECKS if name not in OF_THE_POOL or "images" not in part.provides]
