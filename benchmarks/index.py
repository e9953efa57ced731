"""Searches by each index, as the pool grows and near images are removed: `python benchmarks/index.py`.

Vectors are a mixture of 200 clusters whose spread falls as after PCA; queries lie half-way between stored vectors,
where synthetic images lie. The images removed are the nearest ones of the queries that follow: harder than what active
learning removes. Recall is of the nearest image, against the exact scan. Sizes are those of the paper's figure 6. Set
OMP_NUM_THREADS for the threads; 16 million images take 4 GB on disk, and as much memory to keep them cached.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from asal.core import NO_IDS, Features, Ids, Index
from asal.features.store import StoredVectors, write_vectors
from asal.index import indexes

D, QUERIES, BATCH = 50, 200, 10
SIZES = (160_000, 500_000, 1_600_000, 5_000_000, 16_000_000)
KINDS = {"exact": {}, "ivf": {"guard": 0}, "ivf, guarded": {}, "kdtree": {}}
LARGEST_TREE = 500_000  # a larger one takes seconds per search, and twice the memory of the vectors
REMOVED = (0, 10_000, 100_000)


def mixture(ids: Ids) -> Features:
    """Draw a batch of vectors, the same for the same ids."""
    spread = np.arange(1, D + 1) ** -0.55
    centres = np.random.default_rng(0).standard_normal((200, D))
    rng = np.random.default_rng(int(ids[0]) + 1)
    drawn = centres[rng.integers(200, size=len(ids))] + rng.standard_normal((len(ids), D))
    return np.asarray(drawn * spread, np.float32)


def batches(queries: Features) -> Iterator[Features]:
    """Yield the queries as a round asks them, ten at a time."""
    for at in range(0, len(queries), BATCH):
        yield queries[at : at + BATCH]


def search(index: Index, queries: Features, excluded: Ids) -> tuple[Ids, float]:
    """Return the nearest ids (q,), and the median milliseconds of a search; the first one warms up."""
    found, times = [], []
    for some in [next(batches(queries)), *batches(queries)]:
        start = time.perf_counter()
        found.append(index.search(some, 1, without=excluded).ids[:, 0])
        times.append(time.perf_counter() - start)
    return np.concatenate(found[1:]), 1000 * median(times[1:])


def remove_nearest(exact: Index, queries: Features, count: int) -> Ids:
    """Return some `count` ids: the nearest images of the queries, as many of each."""
    gone = NO_IDS
    while len(gone) < count:
        more = exact.search(queries, min(200, 1 + (count - len(gone)) // len(queries)), without=gone)
        gone = np.union1d(gone, more.ids)
    return gone


def measure(vectors: StoredVectors, times: dict[str, list[tuple[int, float]]]) -> None:
    """Print one line per index."""
    rng = np.random.default_rng(1)
    a, b = (vectors.read(rng.integers(len(vectors), size=QUERIES)) for _ in range(2))
    queries = (a + b) / 2
    removed: list[tuple[Ids, Ids]] = []
    for name, options in KINDS.items():
        if name == "kdtree" and len(vectors) > LARGEST_TREE:
            continue
        kind = indexes[name.partition(",")[0]]
        indexer, folder = kind.bind(options), vectors.folder / kind.name
        start = time.perf_counter()
        if not folder.exists():
            indexer.build(vectors, folder)
        built = time.perf_counter()
        index = indexer.load(vectors, folder)
        opened = time.perf_counter()
        if not removed:
            removals = [remove_nearest(index, queries, count) for count in REMOVED if count < len(vectors) // 10]
            removed = [(gone, index.search(queries, 1, without=gone).ids[:, 0]) for gone in removals]
        cells = ""
        for gone, true in removed:
            found, took = search(index, queries if name != "kdtree" else queries[: 2 * BATCH], gone)
            cells += f"{took:10.1f}{(found == true[: len(found)]).mean():8.3f}"
            if not len(gone):
                times.setdefault(name, []).append((len(vectors), took))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / len(vectors)
        print(
            f"{len(vectors):>10,}  {name:<13}{built - start:8.1f}{opened - built:8.2f}{size:8.1f}{cells}   "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:6.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--largest", type=int, default=SIZES[2], help="the largest pool")
    parser.add_argument("--sizes", type=int, nargs="+", help="only these pools")
    parser.add_argument("--folder", type=Path, help="a temporary place for the vectors")
    args = parser.parse_args()
    heads = "".join(f"{f'{count:,} removed':>18}" for count in REMOVED)
    print(f"{BATCH} queries at a time, {D} dimensions; seconds to build and to open, bytes/image, ms, recall, peak GiB")
    print(f"    images  index           build    open   bytes{heads}     GiB")
    times: dict[str, list[tuple[int, float]]] = {}
    for n in args.sizes or [n for n in SIZES if n <= args.largest]:
        with tempfile.TemporaryDirectory(dir=args.folder) as home:
            measure(write_vectors(Path(home), mixture, n, batch=65_536), times)
    for name, points in times.items():
        if len(points) > 2:
            n, ms = np.log(np.array(points)).T
            print(f"{name}: milliseconds grow as n^{np.polyfit(n, ms, 1)[0]:.2f}")


if __name__ == "__main__":
    main()
