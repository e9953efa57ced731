"""Seconds of one training step of a generator, by size and network: `python benchmarks/generator_steps.py`.

A step is one of the generator's with the critic's before it, on random images, with one thread. Seconds are processor
time, medians over the steps after the first one; ratios are to 32 pixels, the largest size at which `net = "auto"` has
strided convolutions.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from asal.models.generators.adversarial import start_training, training_step
from asal.models.generators.wgan_gp import WganGp
from asal.runtime import environment
from asal.runtime.devices import Device
from asal.testing.training import toy_pool

CASES = ((32, "auto"), (64, "strided"), (64, "auto"))


def seconds(part: WganGp, size: int, steps: int) -> float:
    """Return the processor seconds of a step."""
    pool, fabric = toy_pool((size, size, 3)), Device("cpu").fabric(part.precision)
    training, taken = start_training(fabric, part, pool.shape, 0), []
    for _ in range(1 + steps):
        begun = time.process_time()
        training_step(fabric, part, training, pool)
        taken.append(time.process_time() - begun)
    return median(taken[1:])


def main() -> None:
    """Print a row for each size and network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed; one of residual blocks")
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console, precision = Console(width=140), args.precision
    base = WganGp(width=args.width, precision=precision)
    title = f"wgan-gp, width {args.width}, batches of {base.batch}, {precision}"
    rows, first = Table("pixels", "net", "seconds a step", "of 32 pixels", title=title), 0.0
    for size, net in CASES:
        options: dict[str, Any] = {"net": net}
        part = replace(base, **options)
        taken = seconds(part, size, 1 if part.is_residual((size, size, 3)) else args.steps)
        first = first or taken
        rows.add_row(str(size), net, f"{taken:.2f}", f"{taken / first:.1f}")
    console.print(rows)
    console.print({**environment.hardware(), "threads": args.threads, "commit": environment.commit()})


if __name__ == "__main__":
    main()
