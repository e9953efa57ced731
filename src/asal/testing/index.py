"""What every index must do: return the true neighbours, by id, whatever ids are excluded.

`CHECKS[name](make)` raises AssertionError where the index fails. `make` is called without arguments and returns an
indexer (`asal.index.Indexer`), the same options each time: e.g. `CHECKS["finds the nearest"](Exact)`.
An index that promises recall 1 is held to the true order, ties by lower id; of any other, the nearest neighbours of
all queries are compared, and as many must be right as it promises. Distances are true of either.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Features, Ids, Index, Neighbours, as_ids
from asal.errors import UserError
from asal.features.store import StoredVectors, write_vectors
from asal.index import Indexer
from asal.runtime.rng import stream

Make: TypeAlias = Callable[[], Indexer]
Check: TypeAlias = Callable[[Make], None]

ROWS = 128  # a shard of the toy stores
D = 12


@contextmanager
def opened(indexer: Indexer, features: Features, rows: int = ROWS) -> Iterator[Index]:
    """Store the features in shards, build the index over them in a temporary folder, and open it."""
    with stored(features, rows) as vectors:
        indexer.build(vectors, vectors.folder / "index")
        yield indexer.load(vectors, vectors.folder / "index")


@contextmanager
def stored(features: Features, rows: int = ROWS) -> Iterator[StoredVectors]:
    """Write the features as shards into a temporary folder."""
    with tempfile.TemporaryDirectory() as home:
        yield write_vectors(Path(home), lambda ids: features[ids], len(features), rows=rows)


def toy_features(n: int, seed: int = 0, *, d: int = D, clusters: int = 20) -> Features:
    """Return n vectors (n, d) in clusters, the leading directions wider than the last, as after PCA."""
    rng = stream(seed, "toy features")
    centres = 3 * rng.standard_normal((clusters, d))
    spread = np.arange(1, d + 1) ** -0.5
    drawn = (centres[rng.integers(clusters, size=n)] + rng.standard_normal((n, d))) * spread
    return drawn.astype(np.float32)


def toy_queries(features: Features, q: int, seed: int = 0) -> Features:
    """Return points (q, d) half-way between stored vectors: where synthetic images lie."""
    rng = stream(seed, "toy queries")
    a, b = rng.integers(len(features), size=(2, q))
    found: Features = (features[a] + features[b]) / np.float32(2)
    return found


def brute_force(features: Features, queries: Features, k: int, without: Ids = NO_IDS) -> Neighbours:
    """Return the true neighbours in float64: nearest first, ties by lower id."""
    squares = np.square(queries[:, None].astype(np.float64) - features[None]).sum(axis=2)  # (q, n)
    squares[:, without] = np.inf
    left = len(features) - len(np.unique(without))
    ids = np.argsort(squares, axis=1, kind="stable")[:, : min(k, left)]
    return Neighbours(as_ids(ids).reshape(ids.shape), np.sqrt(np.take_along_axis(squares, ids, axis=1)))


def agree(found: Neighbours, true: Neighbours, promised: float, when: str) -> None:
    """Assert that an answer is the true one, as far as the index promises."""
    assert found.ids.shape == found.distances.shape == true.ids.shape, (
        f"{when}: ids of shape {found.ids.shape}, distances of {found.distances.shape}, both should be {true.ids.shape}"
    )
    if promised < 1:
        recall = (found.ids[:, :1] == true.ids[:, :1]).mean() if true.ids.size else 1.0
        assert recall >= promised, f"{when}: recall {recall:.3f} of the nearest, {promised} is promised"
        return
    for row, column in np.argwhere(found.ids != true.ids):
        mine, right = ((answer.ids[row, column], answer.distances[row, column]) for answer in (found, true))
        raise AssertionError(
            f"{when}: neighbour {column} of query {row} is id {right[0]} at {right[1]:.9g}, "
            f"and id {mine[0]} at {mine[1]:.9g} was returned"
        )
    _close(found.distances, true.distances, when)


def _close(found: npt.NDArray[np.float64], true: npt.NDArray[np.float64], when: str) -> None:
    apart = np.abs(found - true)
    assert (apart <= 1e-9 + 1e-6 * true).all(), f"{when}: distances are off by up to {apart.max():.3g}"


def _same(a: Neighbours, b: Neighbours, when: str) -> None:
    assert np.array_equal(a.ids, b.ids), f"{when}: the ids differ"
    assert np.array_equal(a.distances, b.distances), f"{when}: the distances differ"


def finds_the_nearest(make: Make) -> None:
    """Few queries and many, one neighbour and many, are answered as by brute force."""
    features = toy_features(700)
    with opened(indexer := make(), features) as index:
        for q, k in ((200, 1), (3, 40), (40, 5), (1, 1)):
            queries = toy_queries(features, q)
            agree(index.search(queries, k), brute_force(features, queries, k), indexer.recall, f"{q} queries, k = {k}")


def nearest_come_first(make: Make) -> None:
    """Distances never fall along a row, and are those of the ids beside them."""
    features = toy_features(500)
    queries = toy_queries(features, 30)
    with opened(make(), features) as index:
        found = index.search(queries, 12)
    assert (np.diff(found.distances, axis=1) >= 0).all(), "a farther image comes before a nearer one"
    apart = queries[:, None].astype(np.float64) - features[found.ids]
    _close(found.distances, np.sqrt(np.square(apart).sum(axis=2)), "against the vectors of the returned ids")


def returns_ids(make: Make) -> None:
    """A stored vector finds its own id, in every shard, whatever ids below it are gone."""
    features = toy_features(500)
    gone = as_ids(range(0, 500, 3))
    kept = np.setdiff1d(np.arange(500), gone)
    with opened(indexer := make(), features) as index:
        found = index.search(features[kept], 1, without=gone).ids[:, 0]
    right = (found == kept).mean()
    assert right >= indexer.recall, f"{right:.3f} of the vectors found their own id: are these rows of what is left?"


def excludes_removed_ids(make: Make) -> None:
    """No id in `without` is returned, even if they are unsorted and repeated; the rest is as if those did not exist."""
    features = toy_features(600)
    queries = toy_queries(features, 200)
    gone = stream(0, "removed").choice(600, size=300, replace=False).astype(np.int64)
    gone = np.concatenate([gone, gone[:50]])
    with opened(indexer := make(), features) as index:
        found = index.search(queries, 10, without=gone)
    assert not np.isin(found.ids, gone).any(), "an excluded id was returned"
    agree(found, brute_force(features, queries, 10, gone), indexer.recall, "with half of the images gone")


def handles_clustered_removals(make: Make) -> None:
    """The nearest are taken again and again, as active learning does, and the next nearest are still found."""
    features = toy_features(1500)
    queries = toy_queries(features, 8)
    gone = NO_IDS
    with opened(indexer := make(), features) as index:
        while len(gone) < 1200:
            found = index.search(queries, 20, without=gone)
            agree(found, brute_force(features, queries, 20, gone), indexer.recall, f"after {len(gone)} removals")
            gone = np.concatenate([gone, np.unique(found.ids)])


def handles_k_beyond_the_pool(make: Make) -> None:
    """Asked for more than there are, it returns all there are."""
    features = toy_features(30)
    queries = toy_queries(features, 4)
    with opened(indexer := make(), features) as index:
        found = _answer(index, queries, 50)
        agree(found, brute_force(features, queries, 30), indexer.recall, "k = 50 of 30")
    assert (np.sort(found.ids) == np.arange(30)).all(), "the 30 ids are not each there once"


def handles_k_beyond_what_is_left(make: Make) -> None:
    """Asked for more than are left, it returns all that are left, down to none."""
    features = toy_features(40)
    queries = toy_queries(features, 4)
    with opened(indexer := make(), features) as index:
        for left in (3, 1, 0):
            gone = as_ids(range(left, 40))
            found = index.search(queries, 5, without=gone)
            agree(found, brute_force(features, queries, 5, gone), indexer.recall, f"{left} left")


def handles_no_queries(make: Make) -> None:
    """No queries get an answer of no rows and k columns."""
    with opened(make(), toy_features(30)) as index:
        found = _answer(index, np.empty((0, D), np.float32), 3)
    assert found.ids.shape == found.distances.shape == (0, 3), f"shapes {found.ids.shape} and {found.distances.shape}"


def gives_the_same_answers_when_reopened(make: Make) -> None:
    """What one process built, another opens, and gets the same answers."""
    features = toy_features(400)
    queries = toy_queries(features, 20)
    with stored(features) as vectors:
        folder = vectors.folder / "index"
        builder = make()
        builder.build(vectors, folder)
        first = builder.load(vectors, folder).search(queries, 5)
        again = make().load(StoredVectors.open(vectors.folder), folder).search(queries, 5)
    _same(first, again, "opened by another indexer than it was built by")


def grows(make: Make) -> None:
    """Grown twice, to four times its size, it finds what lies in any part; the first folder is not needed any more."""
    features = toy_features(1200)
    queries = toy_queries(features, 40)
    gone = as_ids(range(0, 1200, 3))
    with tempfile.TemporaryDirectory() as home:
        before, indexer = Path(home) / "300", make()
        for number, (held, n) in enumerate([(0, 300), (300, 700), (700, 1200)]):
            folder = Path(home) / str(n)
            store = write_vectors(Path(home) / f"vectors-{number}", lambda ids: features[ids], n, rows=ROWS)
            if held:
                make().grow(before, held, store, folder)
                shutil.rmtree(before)
            else:
                indexer.build(store, folder)
            before = folder
        found = make().load(store, before).search(queries, 5, without=gone)
    agree(found, brute_force(features, queries, 5, gone), indexer.recall, "grown fourfold")


def breaks_ties_by_id(make: Make) -> None:
    """Among images that are the same, the lower id comes first, in whatever shards they lie."""
    features = np.tile(toy_features(50), (9, 1))
    queries = np.concatenate([features[:20], toy_queries(features, 20)])
    with opened(indexer := make(), features) as index:
        found = index.search(queries, 12, without=as_ids([0, 57, 103]))
    for distances, ids in zip(found.distances, found.ids, strict=True):
        assert (np.diff(ids)[np.diff(distances) == 0] > 0).all(), f"equally far images come as {ids}"
    if indexer.recall == 1:  # an approximate index may miss a twin, but not shuffle those it found
        agree(found, brute_force(features, queries, 12, as_ids([0, 57, 103])), 1.0, "nine copies of each image")


def handles_far_queries(make: Make) -> None:
    """A query a million away gets its neighbours in true order."""
    features = toy_features(500)
    queries = toy_queries(features, 40)
    queries[:, 0] += 1e6
    with opened(indexer := make(), features) as index:
        agree(index.search(queries, 100), brute_force(features, queries, 100), indexer.recall, "far queries")


def handles_an_offset(make: Make) -> None:
    """A large number added to all features costs no precision."""
    features = toy_features(500) + np.float32(1e4)
    queries = toy_queries(features, 40)
    with opened(indexer := make(), features) as index:
        agree(index.search(queries, 3), brute_force(features, queries, 3), indexer.recall, "features around 10,000")


def does_not_depend_on_shards(make: Make) -> None:
    """One shard or many: the same answer."""
    features = toy_features(5000, d=6)
    queries = toy_queries(features, 30)
    gone = as_ids(range(0, 5000, 7))
    with opened(indexer := make(), features, rows=5000) as index:
        one = index.search(queries, 8, without=gone)
    with opened(make(), features, rows=300) as index:
        many = index.search(queries, 8, without=gone)
    agree(many, one if indexer.recall == 1 else brute_force(features, queries, 8, gone), indexer.recall, "17 shards")


def handles_many_threads(make: Make) -> None:
    """Searches at the same time, each with its own removals, do not see each other."""
    features = toy_features(1000)
    queries = toy_queries(features, 25)
    removals = [as_ids(range(i, 1000, 8)) for i in range(8)]
    with opened(make(), features) as index:
        alone = [index.search(queries, 6, without=gone) for gone in removals]
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda gone: index.search(queries, 6, without=gone), removals * 3))
    for i, found in enumerate(together):
        _same(found, alone[i % 8], "eight threads at a time")


def does_not_remember_removals(make: Make) -> None:
    """What one search leaves out, the next one finds."""
    features = toy_features(300)
    queries = toy_queries(features, 20)
    with opened(make(), features) as index:
        before = index.search(queries, 4)
        index.search(queries, 4, without=np.unique(before.ids))
        _same(index.search(queries, 4), before, "after a search that left these out")


def does_not_modify_its_arguments(make: Make) -> None:
    """Queries and removed ids are as they were."""
    features = toy_features(300)
    queries, gone = toy_queries(features, 5), as_ids([40, 7, 7, 199])
    kept = queries.copy(), gone.copy()
    with opened(make(), features) as index:
        index.search(queries, 4, without=gone)
    assert np.array_equal(queries, kept[0]), "the search wrote into the queries"
    assert np.array_equal(gone, kept[1]), "the search wrote into the removed ids"


def refuses_invalid_queries(make: Make) -> None:
    """Queries of another dimension or not finite, k = 0 and unknown ids raise a UserError."""
    features = toy_features(100)
    queries = toy_queries(features, 2)
    broken = queries.copy()
    broken[1, 3] = np.nan
    with opened(make(), features) as index:
        for what, call in (
            ("a NaN in a query", lambda: index.search(broken, 1)),
            ("queries of another dimension", lambda: index.search(queries[:, 1:], 1)),
            ("a single flat query", lambda: index.search(queries[0], 1)),
            ("k = 0", lambda: index.search(queries, 0)),
            ("an unknown id to leave out", lambda: index.search(queries, 1, without=as_ids([3, 100]))),
            ("a negative id to leave out", lambda: index.search(queries, 1, without=as_ids([-1]))),
        ):
            assert _refused(call), f"{what} is taken without a UserError"


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except UserError:
        return True
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} in place of a UserError: {error}") from error
    return False


def _answer(index: Index, queries: Features, k: int) -> Neighbours:
    try:
        return index.search(queries, k)
    except Exception as error:
        raise AssertionError(f"{len(queries)} queries and k = {k} were answered with: {error}") from error


CHECKS: dict[str, Check] = {
    "finds the nearest": finds_the_nearest,
    "nearest come first": nearest_come_first,
    "returns ids": returns_ids,
    "excludes removed ids": excludes_removed_ids,
    "handles clustered removals": handles_clustered_removals,
    "handles k beyond the pool": handles_k_beyond_the_pool,
    "handles k beyond what is left": handles_k_beyond_what_is_left,
    "handles no queries": handles_no_queries,
    "gives the same answers when reopened": gives_the_same_answers_when_reopened,
    "grows": grows,
    "breaks ties by id": breaks_ties_by_id,
    "handles far queries": handles_far_queries,
    "handles an offset": handles_an_offset,
    "does not depend on shards": does_not_depend_on_shards,
    "handles many threads": handles_many_threads,
    "does not remember removals": does_not_remember_removals,
    "does not modify its arguments": does_not_modify_its_arguments,
    "refuses invalid queries": refuses_invalid_queries,
}
