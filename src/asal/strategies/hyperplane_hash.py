"""Hyperplane hashing (Jain, Vijayanarasimhan & Grauman 2010): look up the images near a linear boundary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from asal.core import NO_IDS, Candidates, Features, Ids, Inputs, LinearModel, Pool, Round, Selection, not_enough
from asal.errors import UserError
from asal.models.tensors import to_batch
from asal.runtime import artifacts, npy
from asal.runtime.progress import Progress
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.strategies.hyperplanes import Hyperplanes
from asal.strategies.scoring import highest

Count = Annotated[int, Ge(1)]
Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint32]
BLOCK = 1024  # images hashed at a time
FLIPS = 2  # bits in which a code that is looked up may differ from the plane's
LARGEST = 2**28  # random numbers of all hash functions together: 1 GiB
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@strategies.register("hyperplane-hash", needs=("own", "linear"))
@dataclass(frozen=True)
class HyperplaneHash:
    """Images near a linear classifier's boundary, by hashing; needs features that do not change from round to round.

    H-Hash (their eq. 4) gives a point x the two bits sgn(u·x), sgn(v·x) and a plane w the bits sgn(u·w), sgn(−v·w);
    EH-Hash (eq. 7) a point the bit sgn(xᵀUx) and a plane sgn(−wᵀUw). What shares a plane's code in any table is
    re-ranked by its exact distance; where too little of it is still open, codes that differ in one bit, then in two,
    are looked up too, and after those images are drawn at random, as the notes say. Points are what the classifier
    reads, pixels or stored features, less the pool's mean, with the root mean square of their lengths as one more
    coordinate for the bias, of unit length. Cost: that of `candidates` network evaluations, whatever the pool's size;
    hashing the pool is done once.

    Args:
        kind: "h", or "eh", whose codes collide twice as readily and cost pixels² to compute.
        tables: independent codes an image.
        functions: hash functions a code; by default as many as leave few images of the pool in a bucket.
        candidates: images re-ranked in a round, at most; the ones that share a code in most tables.
    """

    kind: Literal["h", "eh"] = "h"
    tables: Count = 32
    functions: Annotated[int, Ge(1), Le(16)] | None = None
    candidates: Count = 500

    made_from: ClassVar[tuple[str, ...]] = ("kind", "tables", "functions")  # the options that the tables depend on

    def __call__(self, now: Round, n: int, rng: np.random.Generator) -> Selection:
        """Return the n nearest to the boundary of what the tables hold near it."""
        if len(now.candidates) < n:
            raise not_enough(n, len(now.candidates))
        hyperplanes, tables = Hyperplanes.of(cast(LinearModel, now.model)), cast(Tables, now.tools.own)
        if not hyperplanes.exist:  # nothing is near a boundary that is not there
            return Selection(now.candidates.sample(n, rng), np.zeros(n), [{"hashed": False}] * n)
        with now.meter.part("match"):
            hashed = tables.near(hyperplanes, now.candidates, (n, max(self.candidates, n)), rng)
            ids = np.union1d(hashed, now.candidates.sample(n, rng)) if len(hashed) < n else hashed
        near = -hyperplanes.distances(now.embed(ids))
        picks, values = highest(ids, near, n)
        return Selection(picks, values, [{"hashed": bool(is_hashed)} for is_hashed in np.isin(picks, hashed)])

    def train(self, pool: Pool, folder: Path, seed: int, device: Any, progress: Progress) -> None:
        """Hash every image of the pool, or their features, into `folder`. Memory: one code an image and table."""
        rng, n = stream(seed, "hyperplane hash"), len(pool)
        self._check_size(points(pool.read(np.zeros(1, np.int64))).shape[1] + 1, self._functions(n))
        hashing = Hashing.drawn(self.kind, self.tables, self._functions(n), *_moments(pool, progress), rng)
        hashing.save(folder)
        codes = np.empty((n, self.tables), np.uint32)
        for ids in _blocks(n):
            progress("hyperplane hash", int(ids[0]), n)
            codes[ids] = hashing.of_points(points(pool.read(ids)))
        for table in range(self.tables):
            order = np.argsort(codes[:, table], kind="stable")
            npy.write(folder / f"codes-{table:03d}.npy", codes[order, table])
            npy.write(folder / f"ids-{table:03d}.npy", order.astype(np.int64))
        progress("hyperplane hash", n, n)

    def load(self, folder: Path, shape: tuple[int, int, int]) -> Tables:
        """Open what `train` wrote; the codes stay on the disk."""
        return Tables(Hashing.load(folder), *(self._mapped(folder, name) for name in ("codes", "ids")))

    def _mapped(self, folder: Path, name: str) -> tuple[npt.NDArray[Any], ...]:
        return tuple(npy.open_mapped(folder / f"{name}-{table:03d}.npy") for table in range(self.tables))

    def _check_size(self, d: int, functions: int) -> None:
        numbers = self.tables * functions * d * (2 if self.kind == "h" else d)
        if numbers > LARGEST:
            raise UserError(
                f"{self.tables} tables of {functions} functions on {d:,} coordinates take {numbers:,} random numbers",
                rule=f"there can be {LARGEST:,} at most",
                hint="use kind = 'h', fewer tables or functions, or smaller images",
            )

    def _functions(self, n: int) -> int:
        """Return how many functions leave a hundred images or so to a bucket, were codes spread evenly."""
        bits = max(1.0, np.log2(max(n, 2) / 100))
        return self.functions or min(16, max(2, round(bits / (2 if self.kind == "h" else 1))))


@dataclass(frozen=True)
class Hashing:
    """The random functions of all tables, and what is taken off a point before it is hashed."""

    kind: str
    mean: Floats  # (d,) of the pool
    radius: float  # root mean square of ‖x − mean‖: the coordinate that stands for the bias
    draws: Floats  # "h": (tables, functions, 2, d + 1); "eh": (tables, functions, d + 1, d + 1)

    @classmethod
    def drawn(
        cls, kind: str, tables: int, functions: int, mean: Floats, radius: float, rng: np.random.Generator
    ) -> Hashing:
        """Draw all functions from N(0, 1)."""
        d = len(mean) + 1
        shape = (tables, functions, 2 if kind == "h" else d, d)
        return cls(kind, mean, radius, rng.standard_normal(shape, np.float32))

    @property
    def bits(self) -> int:
        """How many a code has."""
        return int(self.draws.shape[1]) * (2 if self.kind == "h" else 1)

    def of_points(self, points: Features) -> Codes:
        """Return the codes (n, tables) of points (n, d)."""
        return self._codes(self.lifted(points), 1.0)

    def of_hyperplanes(self, hyperplanes: Hyperplanes) -> Codes:
        """Return the codes (p, tables) of hyperplanes w·x + b = 0: those of the points that lie in them."""
        bias = hyperplanes.biases + hyperplanes.weights @ self.mean.astype(np.float64)  # the mean taken off
        return self._codes(_unit(np.column_stack([hyperplanes.weights, bias / self.radius])), -1.0)

    def lifted(self, points: Features) -> Floats:
        """Return unit vectors (n, d + 1): points less the mean, with one more coordinate."""
        return _unit(np.column_stack([points - self.mean, np.full(len(points), self.radius)]))

    def _codes(self, units: Floats, sign: float) -> Codes:
        tables, functions = self.draws.shape[:2]
        codes = np.zeros((len(units), tables), np.uint32)
        for table, function in np.ndindex(tables, functions):
            draw = self.draws[table, function]
            if self.kind == "h":
                bits = units @ draw.T * np.array([1.0, sign], np.float32) >= 0  # (n, 2)
            else:
                bits = (np.einsum("nd,nd->n", units @ draw, units) * sign >= 0)[:, None]  # (n, 1)
            for bit in bits.T:
                codes[:, table] = codes[:, table] << np.uint32(1) | bit
        return codes

    def save(self, folder: Path) -> None:
        """Write the functions into a folder."""
        from safetensors.numpy import save

        arrays = {"mean": self.mean, "radius": np.array([self.radius]), "draws": self.draws}
        artifacts.write(folder / f"{self.kind}.safetensors", save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Hashing:
        """Read what `save` wrote.

        Raises:
            DamageError: it is missing or incomplete.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = next(iter(folder.glob("*.safetensors")), folder / "h.safetensors")
        try:
            arrays = load_file(path)
            return cls(path.stem, arrays["mean"], float(arrays["radius"][0]), arrays["draws"])
        except (OSError, SafetensorError, KeyError) as error:
            raise artifacts.damaged(path, f"it does not hold the hash functions ({error})") from None


@dataclass(frozen=True)
class Tables:
    """For each table the codes in ascending order, and the ids that have them."""

    hashing: Hashing
    codes: tuple[Codes, ...]
    ids: tuple[Ids, ...]

    def near(
        self, hyperplanes: Hyperplanes, candidates: Candidates, wanted: tuple[int, int], rng: np.random.Generator
    ) -> Ids:
        """Return the open ids whose codes are nearest to a plane's, ascending; those first that are so in most tables.

        Codes that differ in one bit more, up to `FLIPS`, are looked up as long as fewer than the least are found. Of a
        bucket 4 · most / tables are looked at, drawn at random where it holds more.

        Args:
            wanted: the least that is looked for, and the most that is returned.
        """
        least, most = wanted
        share, bits = -(-4 * most // len(self.codes)), self.hashing.bits
        seen = [NO_IDS]
        ids = times = NO_IDS
        for flips in range(FLIPS + 1):
            masks = [sum(1 << bit for bit in some) for some in combinations(range(bits), flips)]
            for codes in self.hashing.of_hyperplanes(hyperplanes):  # (tables,)
                for table, mask in product(range(len(codes)), masks):
                    seen.append(self._bucket(table, codes[table] ^ np.uint32(mask), share, rng))
            ids, times = np.unique(np.concatenate(seen), return_counts=True)
            left = candidates.has(ids)
            ids, times = ids[left], times[left]
            if len(ids) >= least:
                break
        return np.sort(ids[np.lexsort((ids, -times))[:most]])

    def _bucket(self, table: int, code: np.uint32, share: int, rng: np.random.Generator) -> Ids:
        start, end = (int(np.searchsorted(self.codes[table], code, side)) for side in SIDES)
        rows = np.arange(start, end) if end - start <= share else np.unique(rng.integers(start, end, size=share))
        bucket: Ids = self.ids[table][rows]
        return bucket


def points(inputs: Inputs) -> Features:
    """Return what a linear classifier's last layer sees: images as (n, c · h · w) in [−1, 1], features as they are."""
    return to_batch(inputs).flatten(1).numpy() if inputs.dtype == np.uint8 else inputs


def _unit(rows: npt.NDArray[Any]) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _blocks(n: int) -> Iterator[Ids]:
    for start in range(0, n, BLOCK):
        yield np.arange(start, min(start + BLOCK, n), dtype=np.int64)


def _moments(pool: Pool, progress: Progress) -> tuple[Floats, float]:
    """Return the mean of the pool's points (d,), and the root mean square of their distances to it."""
    n, squares, total = len(pool), 0.0, np.zeros(())  # as long as the points: PCA may give fewer than it is asked for
    for ids in _blocks(n):
        progress("hyperplane hash: mean", int(ids[0]), n)
        x = points(pool.read(ids)).astype(np.float64)
        total = total + x.sum(axis=0)
        squares += float((x**2).sum())
    mean = total / n
    return mean.astype(np.float32), float(np.sqrt(max(squares / n - float(mean @ mean), 1e-12)))
