"""How good a generator is: a grid of its images, and the Fréchet distance of their features from the pool's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import linalg

from asal.core import Extractor, Features, Generator, Images, Pool
from asal.models.tensors import to_images
from asal.runtime import artifacts
from asal.runtime.rng import stream, torch_stream

SAMPLE = 2_048  # images on each side of the distance
MIN_IMAGES = 50  # below, the distance means nothing
GRID = 10  # images in a row and in a column of the picture
# Times the distance of two halves of the real images. Measured on digits of 8 × 8 and on MNIST: the benchmarks'
# generators have 2 to 3, images of half the classes 8 and 10, images whose pixels are drawn one by one 16 and 44.
FAR = 15.0
FACTS, PICTURE = "quality.json", "samples.png"


def write_quality(generator: Generator, encoder: Extractor, pool: Pool, folder: Path, seed: int) -> None:
    """Write `samples.png` and `quality.json` into the folder.

    `frechet` compares synthetic images with real ones, and `frechet_real` two halves of real ones, as a perfect
    generator would score. Both are in the encoder's feature space, so they compare generators of one pool only.
    """
    rng = stream(seed, "quality")
    n = min(SAMPLE, len(pool) // 2)
    ids = (
        rng.permutation(len(pool))[: 2 * n]
        if len(pool) < 10 * SAMPLE
        else np.unique(rng.integers(len(pool), size=2 * n))
    )
    rng.shuffle(ids)
    real = _features(pool.read(ids), encoder)
    synthetic = draw(generator, n, rng)
    first, second = np.array_split(real, 2)
    enough = n >= MIN_IMAGES
    artifacts.write_json(
        folder / FACTS,
        {
            "frechet": round(frechet(first, _features(synthetic, encoder)), 4) if enough else None,
            "frechet_real": round(frechet(first, second), 4) if enough else None,
            "images": n,
            "space": "auto-encoder code, trained on the same pool",
        },
    )
    save_grid(synthetic[: GRID * GRID], folder / PICTURE)


def warning(folder: Path) -> str:
    """Return what to know of a generator whose images are far from the real ones, with the picture's path, else "".

    Far is a Fréchet distance of more than `FAR` times that of two halves of the real images, which a perfect generator
    would have.
    """
    if not (folder / FACTS).exists():
        return ""
    measured = artifacts.read_json(folder / FACTS)
    distance, real = measured["frechet"], measured["frechet_real"]
    if distance is None or distance <= FAR * real:
        return ""
    times = f"{distance / real:.0f} times" if real else "more than"
    return (
        f"the generator's images are far from the real ones: their Fréchet distance is {distance:.2f}, {times} that of "
        f"two halves of the real images ({real:.2f}). Look at {folder / PICTURE}: if you do not recognise your images, "
        "what is found through it is no better than random. More `steps` help, or a strategy without a generator "
        "(`subset`)."
    )


def draw(generator: Generator, n: int, rng: np.random.Generator) -> Images:
    """Return n synthetic images from latents of N(0, I)."""
    import torch

    latents = torch.randn(n, generator.latent_dim, generator=torch_stream(rng))
    with torch.inference_mode():
        return np.concatenate([to_images(generator.decode(part)) for part in latents.split(256)])


def frechet(a: Features, b: Features) -> float:
    """Return the Fréchet distance of two samples (n, d), (m, d), each taken as a Gaussian (Heusel et al. 2017, eq. 6).

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½), the last trace by the square roots of Σ_a Σ_b's eigenvalues.
    """
    gap = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    cov_a, cov_b = (np.atleast_2d(np.cov(x.astype(np.float64), rowvar=False)) for x in (a, b))
    roots = np.sqrt(np.clip(linalg.eigvals(cov_a @ cov_b).real, 0, None))
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum())


def save_grid(images: Images, path: Path, scale: int = 2) -> None:
    """Write the images as one PNG, row by row, each pixel `scale` pixels wide."""
    from PIL import Image

    side = int(np.sqrt(len(images)))
    n, h, w, c = images[: side * side].shape
    sheet = images[:n].reshape(side, side, h, w, c).transpose(0, 2, 1, 3, 4).reshape(side * h, side * w, c)
    picture = Image.fromarray(sheet[:, :, 0] if c == 1 else sheet)
    picture.resize((side * w * scale, side * h * scale), Image.Resampling.NEAREST).save(path)


def _features(images: Images, encoder: Extractor) -> Features:
    return np.concatenate([encoder(part) for part in np.array_split(images, -(-len(images) // 256))])
