"""8-bit codes of the vectors, with rigorous error bounds: they rule out most vectors at a quarter of the bytes.

A scan of float32 vectors is limited by memory bandwidth. Here x − c is rotated at random, so that all dimensions have
a similar size, and rounded to integers: R(x − c) ≈ s·g, with one scale s per block of vectors. A query is rounded too:
R(q − c) ≈ t·v. The product g·v of small integers is exact, and the error of the estimate is at most

    |(x − c)·(q − c) − s·t·(g·v)| ≤ E·‖q − c‖ + L·‖R(q − c) − t·v‖

where E is the largest ‖x − c − s·Rᵀg‖ of the block and L the largest s·‖g‖: both are measured when codes are computed.
That a rotation evens the dimensions out is known from product and binary codes (such as Gao & Long 2024); the bound
is the Cauchy-Schwarz inequality, and what it does not rule out is measured in float64 by `asal.index.exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Scores
from asal.index import MAX_VALUE, Rows, Store, array_file
from asal.runtime import artifacts, npy
from asal.runtime.progress import Progress, no_progress
from asal.runtime.rng import stream

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 16_384  # vectors that share a scale and are scanned together: their products should stay in the cache
MIN_DIM, MAX_DIM = 8, 512  # dimensions: with fewer nothing is saved, and with more the rotation costs too much
STEPS = 127  # of a code, on either side of zero
MIN_QUERY_STEP = 1 / 8  # a query's step, in steps of the vectors: integers must stay well within 32 bits
MAX_THRESHOLD = 2**29  # of a threshold
UNREACHABLE = 3 * MAX_THRESHOLD  # the threshold of an excluded image: no product reaches it
ROUNDING = 2.0**-23  # twice float32's unit roundoff
ROUND_DOWN = 1 - 4 * ROUNDING
FIELDS = ("scale", "error", "length", "norm")  # of a block; the last three are maxima over its vectors

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]


def build(vectors: Store, centre: Scores, folder: Path, progress: Progress = no_progress) -> None:
    """Write one byte per number, and the error bounds of each block. One pass; memory: one block."""
    folder.mkdir(parents=True, exist_ok=True)
    n, dim = len(vectors), len(centre)
    rotation = np.linalg.qr(stream(0, "codes", dim).standard_normal((dim, dim)))[0].astype(np.float32)
    facts = np.empty((-(-n // BLOCK), len(FIELDS)))
    with array_file(folder / "codes.npy", (n, dim), np.int8) as file:
        for block, first in enumerate(range(0, n, BLOCK)):
            progress("index: codes", first, n)
            x = vectors.read(np.arange(first, min(first + BLOCK, n))) - centre.astype(np.float32)
            rotated = x @ rotation  # (m, d)
            scale = max(float(np.abs(rotated).max()) / STEPS, 1 / MAX_VALUE)
            codes = np.rint(rotated / np.float32(scale)).clip(-STEPS, STEPS).astype(np.int8)
            back = np.float32(scale) * codes.astype(np.float32)
            length = float(np.linalg.norm(back, axis=1).max())
            error = float(np.linalg.norm(x - back @ rotation.T, axis=1).max())
            # Of the product with Rᵀ in float32: γ‖|R|‖‖s·g‖, and ‖|R|‖ is below √d (Higham 2002, §3.5).
            error += ROUNDING * (dim + 8) * dim**0.5 * (length + error)
            length *= 1 + ROUNDING * (dim + 8)
            facts[block] = scale, error, length, (length + error) ** 2
            npy.append(file, codes)
    progress("index: codes", n, n)
    for name, array in (("turn.npy", rotation), ("blocks.npy", facts)):
        with array_file(folder / name, array.shape, array.dtype) as file:
            npy.append(file, array)


@dataclass(frozen=True)
class Codes:
    """What `build` wrote."""

    codes: Int8  # (n, d)
    rotation: npt.NDArray[np.float32]  # (d, d)
    blocks: Scores  # (blocks, 4)

    @classmethod
    def open(cls, folder: Path, n: int, dim: int) -> Codes:
        """Open codes by memory map.

        Raises:
            DamageError: a file is missing, damaged, or not of n vectors.
        """
        # Mode "c", copy on write, because torch warns of read-only memory.
        codes = npy.open_mapped(folder / "codes.npy", shape=(n, dim), dtype=np.int8, mode="c")
        rotation = npy.open_mapped(folder / "turn.npy", shape=(dim, dim), dtype=np.float32, mode="c")
        blocks = npy.open_mapped(folder / "blocks.npy", shape=(-(-n // BLOCK), len(FIELDS)), dtype=np.float64, mode="c")
        for name in ("codes.npy", "turn.npy", "blocks.npy"):
            artifacts.preload(folder / name)
        return cls(codes, rotation, blocks)


class CodedScan:
    """The products of a few queries with the codes, block by block, minus the threshold of each vector.

    A vector may be within a limit where `product − a ≥ −h`: a depends on its norm and h on its query.
    """

    def __init__(self, codes: Codes, norms: npt.NDArray[np.float32], queries: Scores, centre: Scores) -> None:
        import torch

        self._codes, self._norms = codes, norms
        offsets = queries - centre  # (q, d)
        rotated = offsets @ codes.rotation.astype(np.float64)
        self._t = max(float(np.abs(rotated).max()) / STEPS, MIN_QUERY_STEP * float(codes.blocks[:, 0].max()))
        v = np.rint(rotated / self._t)
        self._lengths = np.linalg.norm(offsets, axis=1)
        self._query_errors = np.linalg.norm(rotated - self._t * v, axis=1) + ROUNDING * self._lengths
        self._shift = self._lengths**2
        self._v = torch.from_numpy(v.astype(np.int8))  # (q, d)
        self._products = torch.empty(len(v) * BLOCK, dtype=torch.int32)
        self._least: Int32 = np.empty(BLOCK, np.int32)
        self._over: Int32 = np.empty((len(v), 0), np.int32)
        self._unit = 0.0
        self._slack: Scores = np.empty(0)

    def chunks(self, excluded: Ids) -> Iterator[tuple[int, int]]:
        """Score block after block, each in its rotation, and yield its first id and how many it holds."""
        import torch

        codes, n, q = torch.from_numpy(self._codes.codes), len(self._norms), len(self._v)
        for block, (scale, error, length, largest) in enumerate(self._codes.blocks.tolist()):
            first = block * BLOCK
            m = min(BLOCK, n - first)
            self._unit = 2 * scale * self._t
            self._slack = 2 * (error * self._lengths + length * self._query_errors) + 16 * ROUNDING * (
                largest + self._shift
            )
            least = self._least[:m]
            np.multiply(
                self._norms[first : first + m], np.float32(ROUND_DOWN / self._unit), out=least, casting="unsafe"
            )
            low, high = np.searchsorted(excluded, (first, first + m))
            if low < high:
                least[excluded[low:high] - first] = UNREACHABLE
            products = self._products[: q * m].view(q, m)
            self._over = _multiply(self._v, codes[first : first + m], products).numpy()
            self._over -= least
            yield first, m

    def within(self, limit: Scores) -> tuple[Rows, Rows]:
        """Return query and position of all pairs in the block that may be within the query's limit, squared."""
        reach = ((limit - self._shift + self._slack) / self._unit).clip(-MAX_THRESHOLD, MAX_THRESHOLD)
        least = -np.ceil(reach).astype(np.int32) - 2
        hit = np.flatnonzero(self._over.max(axis=1) >= least)
        if not hit.size:
            return hit, hit
        rows, places = np.nonzero(self._over[hit] >= least[hit, None])
        return hit[rows], places

    def kth(self, k: int) -> Scores:
        """Return an upper bound of the k-th squared distance (q,) in the block, if it holds k images."""
        place = self._over.shape[1] - k
        reached = np.partition(self._over, place, axis=1)[:, place]
        return np.asarray(self._unit * (1.0 - reached) + self._slack + self._shift)


@cache
def usable(dim: int) -> bool:
    """Return whether this machine multiplies small integers fast and correctly, which torch does not guarantee."""
    import torch

    if not hasattr(torch, "_int_mm") or not torch.cpu._is_vnni_supported():
        return False
    drawn = stream(0, "codes", "tried").integers(-STEPS, STEPS + 1, (300, dim)).astype(np.int8)
    codes = torch.from_numpy(drawn)
    products_of = [_multiply(codes[:q], codes, torch.empty((q, 300), dtype=torch.int32)).numpy() for q in (1, 2, 3, 10)]
    expected = drawn.astype(np.int64) @ drawn.astype(np.int64).T
    return all((products == expected[: len(products)]).all() for products in products_of)


def _multiply(v: Tensor, codes: Tensor, out: Tensor) -> Tensor:
    """Fill `out` (q, m) with the products of v (q, d) and codes (m, d)."""
    import torch

    if len(v) == 1:  # torch 2.13 computes this product wrongly the other way round
        torch._int_mm(codes, v.T, out=out.view(-1, 1))
    else:
        torch._int_mm(v, codes.T, out=out)
    return out
