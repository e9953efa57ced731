"""The images that each variant of synthesis finds, and its cost.

    asal prepare specs/mnist-ten.toml --project projects/mnist-ten
    python benchmarks/generation.py projects/mnist-ten --spec specs/mnist-ten.toml --labels 200

For each seed a classifier is trained on random labels; every variant then synthesises images from the same stream.
Entropies are in nats: of the synthetic images, of the nearest image to each that no other took (the paper's match), and
of the best among the 20 nearest of each (re-ranked). Differences are paired by seed, ± half their 95% interval. Seconds
are processor time of the synthesis alone, and relative to the paper's variant: medians over seeds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from asal.core import Round
from asal.experiments.statistics import estimate
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import environment
from asal.runtime.meter import Meter
from asal.runtime.rng import stream
from asal.strategies import latent_optimisation
from asal.strategies.asal import PATIENCE, RAW_SAMPLES, SCORE_TOLERANCE, STEP_SIZE, nearest_untaken
from asal.strategies.latent_optimisation import LatentOptimisation
from asal.strategies.scoring import highest, rated
from asal.strategies.synthesis import enough_of, of_score, synthesise

PAPER = LatentOptimisation(steps=100, step_size=0.05)
OURS = replace(
    PAPER, step_size=STEP_SIZE, raw_samples=RAW_SAMPLES, patience=PATIENCE, enough=SCORE_TOLERANCE, keep_best=True
)
ONE_PASS = "the paper's, in one pass"
COMPILED = "compiled"
VARIANTS = {
    "the paper's": PAPER,
    ONE_PASS: PAPER,
    f"step_size {STEP_SIZE}": replace(PAPER, step_size=STEP_SIZE),
    f"raw_samples {RAW_SAMPLES}": replace(PAPER, raw_samples=RAW_SAMPLES),
    f"score_tolerance {SCORE_TOLERANCE}": replace(PAPER, enough=SCORE_TOLERANCE),
    f"patience {PATIENCE}": replace(PAPER, patience=PATIENCE),
    "keep_best": replace(PAPER, keep_best=True),
    "bf16": replace(PAPER, precision="bf16"),
    COMPILED: replace(PAPER, backend="compiled"),
    "no step, raw_samples 10": LatentOptimisation(0, 1.0, raw_samples=10),
    "no step, raw_samples 100": LatentOptimisation(0, 1.0, raw_samples=100),
    "ours, step_size 0.05": replace(OURS, step_size=0.05),
    "ours": OURS,
    "ours, bf16": replace(OURS, precision="bf16"),
    "ours, raw_samples 100": replace(OURS, raw_samples=100),
}  # `enough` is a share here, and becomes a score once there is a classifier


@dataclass(frozen=True)
class Batch:
    """Means over the images of one batch."""

    synthetic: float
    match: float
    reranked: float
    evaluations: float  # for each image
    seconds: float


def synthesised(project: Project, now: Round, n: int, name: str, seed: int) -> Batch:
    """Synthesise images by one variant, and match them."""
    now = replace(now, meter=Meter())
    variant = VARIANTS[name]
    variant = replace(variant, enough=enough_of(now, "entropy", variant.enough if np.isfinite(variant.enough) else 0.0))
    with patch.object(latent_optimisation, "AT_ONCE", n if name == ONE_PASS else latent_optimisation.AT_ONCE):
        start = time.process_time()  # processor time: other processes do not change it
        synthetic = synthesise(now, n, of_score(now.model, "entropy"), variant, stream(seed, "generation"))
        seconds = time.process_time() - start
    near = now.tools.index.search(now.tools.extractor(synthetic.images), 20 + n - 1, without=now.candidates.excluded)
    match = rated(now, nearest_untaken(near.ids, n), "entropy")
    among = np.unique(near.ids[:, :20])
    best = highest(among, rated(now, among, "entropy"), n)[1]
    return Batch(synthetic.scores.mean(), match.mean(), best.mean(), now.meter.generated / n, seconds)


def round_of(project: Project, space: str, labels: int, seed: int) -> Round:
    """Return a round whose classifier is trained on this many random labels."""
    oracle, pool = project.oracle("pool"), project.pool
    known = np.sort(stream(seed, "labels").choice(len(pool), labels, replace=False))
    answers, k = oracle.answer(known), len(oracle.classes)
    model = project.learner().fit(pool.read(known), answers, k, stream(seed, "learner", 0))
    name = next(name for name, it in project.spec.strategies.items() if it.kind == "asal" and it.features == space)
    return Round(0, pool, known, answers, model, project.tools(name))


def table(project: Project, args: argparse.Namespace, n: int) -> Table:
    """Return one line for each variant."""
    names = [name for name in VARIANTS if name in args.variants or name == "the paper's"]
    batches: dict[str, list[Batch]] = {name: [] for name in names}
    first = 0.0
    for seed in range(args.seeds):
        now = round_of(project, args.space, args.labels, seed)
        for name in names:
            if name == COMPILED and seed == 0:
                first = synthesised(project, now, n, name, seed).seconds
            batches[name].append(synthesised(project, now, n, name, seed))
    heads = ("variant", "synthetic", "matches", "Δ", "re-ranked", "Δ", "evaluations", "seconds", "of the paper's")
    lines = Table(*heads, title=f"{project.spec.name}, {args.labels} labels, {n} images, {args.seeds} seeds")
    base = batches["the paper's"]
    for name, its in batches.items():
        cells = [f"{np.mean([it.synthetic for it in its]):.3f}"]
        for part in ("match", "reranked"):
            gaps = np.array([getattr(it, part) - getattr(other, part) for it, other in zip(its, base, strict=True)])
            cells.append(f"{np.mean([getattr(it, part) for it in its]):.3f}")
            known = estimate(gaps)
            cells.append(
                f"{known.mean:+.3f} ± {known.high - known.mean:.3f}"
                if np.isfinite(known.high)
                else f"{known.mean:+.3f}"
            )
        cells.append(f"{np.mean([it.evaluations for it in its]):.0f}")
        cells.append(f"{median(it.seconds for it in its):.2f}")
        ratio = median(it.seconds / other.seconds for it, other in zip(its, base, strict=True))
        lines.add_row(name, *cells, f"{ratio:.2f}")
    if first:
        lines.caption = f"compiling: {first - batches[COMPILED][0].seconds:.0f} s, once"
    return lines


def main() -> None:
    """Print a table for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a prepared project with a generator")
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-ten.toml"))
    parser.add_argument("--space", default="autoencoder", help="the feature space of the matches")
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--batch", type=int, nargs="+", default=[10, 500])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="the paper's is always among them"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console, project = Console(width=140), Project(args.project, load(args.spec))
    for n in args.batch:
        console.print(table(project, args, n))
    console.print({**environment.hardware(), "threads": args.threads, "commit": environment.commit()})


if __name__ == "__main__":
    main()
