"""The vocabulary: candidates that are never taken, selections that refuse nonsense, rounds that count."""

from __future__ import annotations

import pickle
import tracemalloc
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import NO_IDS, Candidates, Inputs, Selection, as_ids, check_ids, not_enough
from asal.errors import BusyError, DamageError, UserError, unknown
from asal.runtime.rng import stream
from asal.testing.toys import ToyVectors, toy_world

POOLS = st.integers(1, 80).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1))))
SEEDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
QUICKLY = settings(max_examples=60, deadline=None)


class EchoModel:
    """Returns whatever it reads."""

    reads: ClassVar[Literal["features"]] = "features"

    def predict(self, inputs: Inputs) -> Inputs:
        return inputs

    embed = losses = logits = predict


def left(size: int, excluded: list[int]) -> list[int]:
    return sorted(set(range(size)) - set(excluded))


@QUICKLY
@given(POOLS, SEEDS, st.floats(0, 1))
def test_a_sample_is_distinct_and_open(pool: tuple[int, list[int]], rng: Any, share: float) -> None:
    candidates = Candidates(pool[0], as_ids(pool[1]))
    n = round(share * len(candidates))
    ids = candidates.sample(n, rng)
    assert ids.dtype == np.int64
    assert len(ids) == len(set(ids.tolist())) == n
    assert set(ids.tolist()) <= set(left(*pool))


@QUICKLY
@given(POOLS, SEEDS)
def test_a_sample_of_all_is_all(pool: tuple[int, list[int]], rng: Any) -> None:
    candidates = Candidates(pool[0], as_ids(pool[1]))
    assert len(candidates) == len(left(*pool))
    assert np.sort(candidates.sample(len(candidates), rng)).tolist() == left(*pool)


@QUICKLY
@given(POOLS, st.integers(1, 30))
def test_blocks_are_the_open_ids_in_order(pool: tuple[int, list[int]], size: int) -> None:
    blocks = list(Candidates(pool[0], as_ids(pool[1])).blocks(size))
    assert [int(image) for block in blocks for image in block] == left(*pool)
    assert all(0 < len(block) <= size for block in blocks)


@QUICKLY
@given(POOLS, st.lists(st.integers(-5, 90)))
def test_has_says_what_is_open(pool: tuple[int, list[int]], ids: list[int]) -> None:
    said = Candidates(pool[0], as_ids(pool[1])).has(as_ids(ids))
    assert said.tolist() == [image in left(*pool) for image in ids]


def test_every_open_image_is_equally_likely() -> None:
    """In a thousand samples of 4 from 10, each comes 400 times, with a deviation of √(1000 · 0.4 · 0.6) = 15.5."""
    candidates, rng = Candidates(14, as_ids([0, 1, 6, 13])), stream(3, "uniform")
    counts = np.bincount(np.concatenate([candidates.sample(4, rng) for _ in range(1000)]), minlength=14)
    assert (counts[[0, 1, 6, 13]] == 0).all()
    assert np.abs(counts[candidates.has(np.arange(14))] - 400).max() < 4 * 15.5


def test_every_place_in_a_sample_is_equally_likely() -> None:
    """The first of a sample is no smaller than the last: a strategy may cut it short."""
    firsts = [Candidates(10).sample(5, rng)[0] for rng in map(np.random.default_rng, range(400))]
    assert np.mean(firsts) == pytest.approx(4.5, abs=4 * 2.87 / 20)


def test_a_sample_costs_no_memory_of_a_large_pool() -> None:
    candidates = Candidates(10**9, as_ids(range(0, 10**6, 1000)))
    tracemalloc.start()
    ids = candidates.sample(100, stream(0, "large"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000
    assert candidates.has(ids).all()
    assert ids.max() > 10**8


def test_closed_ids_are_sorted_and_distinct_whatever_came() -> None:
    assert Candidates(9, as_ids([7, 2, 7, 2])).excluded.tolist() == [2, 7]
    assert len(Candidates(9, as_ids([7, 2, 7, 2]))) == 7


@pytest.mark.parametrize("excluded", [[-1], [5], [0, 99]])
def test_closed_ids_are_of_the_pool(excluded: list[int]) -> None:
    with pytest.raises(UserError, match=r"image id (-1|5|99) is outside 0 … 4"):
        Candidates(5, as_ids(excluded))


@pytest.mark.parametrize("ids", [[-1], [5], [0, 99]])
def test_ids_are_of_the_pool(ids: list[int]) -> None:
    assert check_ids([4, 0, 4], 5).tolist() == [4, 0, 4]
    assert check_ids([], 0).tolist() == []
    with pytest.raises(UserError, match=r"image id (-1|5|99) is outside 0 … 4"):
        check_ids(ids, 5)
    with pytest.raises(UserError, match="is not in the pool, which is empty"):
        check_ids(ids, 0)


def test_more_than_are_left_are_refused() -> None:
    with pytest.raises(UserError, match="a batch of 3 is asked for, and 2 images are left"):
        Candidates(5, as_ids([0, 1, 2])).sample(3, stream(0))
    assert "ask for 2 or fewer" in not_enough(3, 2).hint
    assert Candidates(2, as_ids([0, 1])).sample(0, stream(0)).tolist() == []
    assert list(Candidates(2, as_ids([0, 1])).blocks()) == []


def test_a_selection_holds_arrays() -> None:
    chosen = Selection([3, 1], [0.5, 1])  # type: ignore[arg-type]
    assert chosen.ids.dtype == np.int64
    assert chosen.scores.dtype == np.float64
    assert chosen.ids.tolist() == [3, 1]
    assert len(Selection(NO_IDS, np.zeros(0)).ids) == 0


@pytest.mark.parametrize(
    ("ids", "scores", "notes", "said"),
    [
        ([1, 2, 1], [0, 0, 0], (), "has one twice"),
        ([1, 2], [0], (), "1 for 2"),
        ([1, 2], [0, np.nan], (), "finite"),
        ([1, 2], [0, np.inf], (), "finite"),
        ([1, 2], [0, 0], [{}], "1 for 2"),
        ([], [], [{}], "1 for 0"),
    ],
)
def test_a_selection_refuses_nonsense(ids: Any, scores: Any, notes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Selection(as_ids(ids), np.asarray(scores, float), notes)


def test_a_round_closes_what_is_labelled_and_what_was_skipped() -> None:
    now = toy_world(images=20).round([0, 4, 8], skipped=[11, 3])
    assert now.candidates.excluded.tolist() == [0, 3, 4, 8, 11]
    assert len(now.candidates) == 15


def test_a_round_counts_what_goes_through_the_classifier() -> None:
    world = toy_world(images=20)
    now = world.round([0, 1, 2])
    ids = as_ids([7, 5, 7])
    assert np.array_equal(now.predict(ids), now.model.predict(world.pool.read(ids)))
    assert now.meter.evaluations == 3
    assert np.array_equal(now.features(ids), world.tools.vectors.read(ids))
    assert now.meter.evaluations == 3, "stored features are no evaluation"
    spent = now.meter.split()
    assert spent["io"] > 0
    assert spent["score"] > 0


def test_a_round_reads_what_its_classifier_reads() -> None:
    world = toy_world(images=20)
    vectors, ids = ToyVectors(np.arange(40, dtype=np.float32).reshape(20, 2)), as_ids([7, 5, 7])
    now = replace(world.round([0, 1, 2]), reader=vectors, model=EchoModel())
    assert np.array_equal(world.round([0]).inputs(ids), world.pool.read(ids))
    assert np.array_equal(now.inputs(ids), vectors.read(ids))
    for evaluate in (now.predict, now.embed, now.losses):
        assert np.array_equal(evaluate(ids), vectors.read(ids))
    assert now.meter.evaluations == 9
    assert now.meter.split()["io"] > 0


def test_ids_are_flat_and_whole() -> None:
    assert as_ids(7).tolist() == [7]
    assert as_ids([[1, 2], [3, 4]]).tolist() == [1, 2, 3, 4]
    assert as_ids(range(0)).dtype == np.int64
    assert as_ids(np.array([3, 4], np.uint8)).dtype == np.int64


@pytest.mark.parametrize("given", [[1.0, 2.0], [True, False], ["7"], [None]])
def test_ids_are_integers(given: Any) -> None:
    """A mask taken for ids would silently be images 0 and 1."""
    with pytest.raises(TypeError, match="are integers"):
        as_ids(given)


@pytest.mark.parametrize("kind", [UserError, DamageError, BusyError])
def test_an_error_travels_between_processes(kind: type[UserError]) -> None:
    error = kind("what came", rule="a rule", hint="a remedy")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.rule, again.got, again.hint) == ("a rule", "what came", "a remedy")
    assert str(again) == str(error) == "what came; a rule; a remedy"


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("corset", ["asal", "coreset"], "no part is called 'corset'; the parts are asal, coreset; did you mean"),
        ("zzz", ["asal", "coreset"], "choose one of them"),
        ("zzz", [], "no part is called 'zzz'; there are no parts; leave it out"),
    ],
)
def test_an_unknown_name_comes_with_the_likeliest_one(name: str, known: list[str], said: str) -> None:
    assert said in str(unknown("part", name, known))
