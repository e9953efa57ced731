"""The vectors in 8 bits a dimension, with proven bounds: most of them are ruled out at a quarter of the bytes.

A scan of float32 vectors waits for memory. Here x − c is turned by a random rotation, so that no dimension is larger
than the others, and rounded to whole numbers: R(x − c) ≈ s·g, with one scale s for each block of vectors. A query is
rounded too: R(q − c) ≈ t·v. The product g·v of small integers is exact, and it is off by at most

    |(x − c)·(q − c) − s·t·(g·v)| ≤ E·‖q − c‖ + L·‖R(q − c) − t·v‖

where E is the largest ‖x − c − s·Rᵀg‖ of the block and L the largest s·‖g‖: both are measured when the codes are made.
That the rotation evens the dimensions out is known from product and binary codes (such as Gao & Long 2024); the bound
is the Cauchy-Schwarz inequality, and what it lets through is measured in float64 by `asal.index.exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Scores
from asal.index import LARGEST, Rows, Store
from asal.runtime import artifacts
from asal.runtime.progress import Progress, no_progress
from asal.runtime.rng import stream

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 16_384  # vectors that share a scale, and are scanned together: their products should stay in the cache
NARROWEST, WIDEST = 8, 512  # dimensions: in fewer nothing is saved, and in more the turning costs too much
STEPS = 127  # of a code, on either side of zero
FINEST = 1 / 8  # of a vector's steps are a query's, at the least: whole numbers must stay far inside 32 bits
MOST = 2**29  # of a threshold
NEVER = 3 * MOST  # the threshold of a removed image: none of its products reaches it
ROUNDING = 2.0**-23  # twice float32's unit roundoff
SHRUNK = 1 - 4 * ROUNDING
FIELDS = ("scale", "error", "length", "norm")  # of a block; the last three are the largest there is

Codes8 = npt.NDArray[np.int8]
Whole = npt.NDArray[np.int32]


def build(vectors: Store, centre: Scores, folder: Path, progress: Progress = no_progress) -> None:
    """Write a byte for each number, and what bounds the error of each block. One pass; memory: one block."""
    folder.mkdir(parents=True, exist_ok=True)
    n, dim = len(vectors), len(centre)
    turn = np.linalg.qr(stream(0, "codes", dim).standard_normal((dim, dim)))[0].astype(np.float32)
    facts = np.empty((-(-n // BLOCK), len(FIELDS)))
    with (folder / "codes.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|i1", "fortran_order": False, "shape": (n, dim)})
        for block, first in enumerate(range(0, n, BLOCK)):
            progress("index: codes", first, n)
            x = vectors.read(np.arange(first, min(first + BLOCK, n))) - centre.astype(np.float32)
            turned = x @ turn  # (m, d)
            scale = max(float(np.abs(turned).max()) / STEPS, 1 / LARGEST)
            codes = np.rint(turned / np.float32(scale)).clip(-STEPS, STEPS).astype(np.int8)
            back = np.float32(scale) * codes.astype(np.float32)
            length = float(np.linalg.norm(back, axis=1).max())
            error = float(np.linalg.norm(x - back @ turn.T, axis=1).max())
            # Of the product with Rᵀ in float32: γ‖|R|‖‖s·g‖, and ‖|R|‖ is below √d (Higham 2002, §3.5).
            error += ROUNDING * (dim + 8) * dim**0.5 * (length + error)
            length *= 1 + ROUNDING * (dim + 8)
            facts[block] = scale, error, length, (length + error) ** 2
            file.write(codes.tobytes())
    progress("index: codes", n, n)
    for name, array in (("turn.npy", turn), ("blocks.npy", facts)):
        with (folder / name).open("wb") as file:
            np.save(file, array, allow_pickle=False)


@dataclass(frozen=True)
class Codes:
    """What `build` wrote."""

    codes: Codes8  # (n, d)
    turn: npt.NDArray[np.float32]  # (d, d)
    blocks: Scores  # (blocks, 4)

    @classmethod
    def open(cls, folder: Path, n: int, dim: int) -> Codes:
        """Open codes by memory map.

        Raises:
            DamageError: they are not those of n vectors.
        """
        shapes = {"codes.npy": (n, dim), "turn.npy": (dim, dim), "blocks.npy": (-(-n // BLOCK), len(FIELDS))}
        arrays: list[Any] = []
        for name, shape in shapes.items():
            try:
                # Copied when written to, which nobody does: torch warns of memory that it must not write to.
                array = np.load(folder / name, mmap_mode="c", allow_pickle=False)
            except FileNotFoundError:
                raise artifacts.damaged(folder / name, "it is missing") from None
            except (ValueError, EOFError) as error:
                raise artifacts.damaged(folder / name, f"it is not a whole npy file ({error})") from None
            if array.shape != shape:
                raise artifacts.damaged(folder / name, f"its shape is {array.shape}, not {shape}")
            arrays.append(array.view(np.ndarray))
            artifacts.preload(folder / name)
        return cls(*arrays)


class CodedScan:
    """The products of a few queries with one block of codes after the other, against what each vector must reach.

    A vector may be within a limit where `product − a ≥ −h`: a is its norm's, h its query's, in steps of the block.
    """

    def __init__(self, codes: Codes, norms: npt.NDArray[np.float32], queries: Scores, centre: Scores) -> None:
        import torch

        self._codes, self._norms = codes, norms
        offsets = queries - centre  # (q, d)
        turned = offsets @ codes.turn.astype(np.float64)
        self._t = max(float(np.abs(turned).max()) / STEPS, FINEST * float(codes.blocks[:, 0].max()))
        v = np.rint(turned / self._t)
        self._lengths = np.linalg.norm(offsets, axis=1)
        self._off = np.linalg.norm(turned - self._t * v, axis=1) + ROUNDING * self._lengths
        self._shift = self._lengths**2
        self._v = torch.from_numpy(v.astype(np.int8))  # (q, d)
        self._products = torch.empty(len(v) * BLOCK, dtype=torch.int32)
        self._least: Whole = np.empty(BLOCK, np.int32)
        self._over: Whole = np.empty((len(v), 0), np.int32)
        self._unit = 0.0
        self._slack: Scores = np.empty(0)

    def chunks(self, gone: Ids) -> Iterator[tuple[int, int]]:
        """Score block after block, each in its turn, and yield its first id and how many it holds."""
        import torch

        codes, n, q = torch.from_numpy(self._codes.codes), len(self._norms), len(self._v)
        for block, (scale, error, length, largest) in enumerate(self._codes.blocks.tolist()):
            first = block * BLOCK
            m = min(BLOCK, n - first)
            self._unit = 2 * scale * self._t
            self._slack = 2 * (error * self._lengths + length * self._off) + 16 * ROUNDING * (largest + self._shift)
            least = self._least[:m]
            np.multiply(self._norms[first : first + m], np.float32(SHRUNK / self._unit), out=least, casting="unsafe")
            low, high = np.searchsorted(gone, (first, first + m))
            if low < high:
                least[gone[low:high] - first] = NEVER
            products = self._products[: q * m].view(q, m)
            self._over = _multiplied(self._v, codes[first : first + m], products).numpy()
            self._over -= least
            yield first, m

    def within(self, limit: Scores) -> tuple[Rows, Rows]:
        """Return query and place in the block of all pairs whose squared distance may be at most the query's limit."""
        reach = ((limit - self._shift + self._slack) / self._unit).clip(-MOST, MOST)
        least = -np.ceil(reach).astype(np.int32) - 2
        hit = np.flatnonzero(self._over.max(axis=1) >= least)
        if not hit.size:
            return hit, hit
        rows, places = np.nonzero(self._over[hit] >= least[hit, None])
        return hit[rows], places

    def kth(self, k: int) -> Scores:
        """Return an upper bound of the k-th squared distance (q,) in the block; more than k of it are not removed."""
        place = self._over.shape[1] - k
        reached = np.partition(self._over, place, axis=1)[:, place]
        return np.asarray(self._unit * (1.0 - reached) + self._slack + self._shift)


@cache
def usable(dim: int) -> bool:
    """Say whether this machine multiplies small integers fast, and rightly: torch does not promise that it does."""
    import torch

    if not hasattr(torch, "_int_mm") or not torch.cpu._is_vnni_supported():
        return False
    drawn = stream(0, "codes", "tried").integers(-STEPS, STEPS + 1, (300, dim)).astype(np.int8)
    codes = torch.from_numpy(drawn)
    tried = [_multiplied(codes[:q], codes, torch.empty((q, 300), dtype=torch.int32)).numpy() for q in (1, 2, 3, 10)]
    true = drawn.astype(np.int64) @ drawn.astype(np.int64).T
    return all((products == true[: len(products)]).all() for products in tried)


def _multiplied(v: Tensor, codes: Tensor, out: Tensor) -> Tensor:
    """Fill `out` (q, m) with the products of v (q, d) and codes (m, d)."""
    import torch

    if len(v) == 1:  # torch 2.13 gets such a product wrong the other way round
        torch._int_mm(codes, v.T, out=out.view(-1, 1))
    else:
        torch._int_mm(v, codes.T, out=out)
    return out
