"""Named streams: the same numbers for ever, and independent of each other."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from asal.runtime import rng as module
from asal.runtime.rng import stream, torch_stream


def test_a_stream_gives_the_same_numbers_for_ever() -> None:
    """Published results hang on these: a change here is a change of every experiment."""
    assert stream(0, "strategy", 3).integers(1000, size=6).tolist() == [960, 166, 133, 943, 930, 904]
    assert stream(7).integers(1000, size=3).tolist() == [645, 621, 794]


def test_a_stream_is_the_same_in_another_process() -> None:
    code = "from asal.runtime.rng import stream; print(stream(5, 'initial').integers(10**9))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": module.__file__.removesuffix("asal/runtime/rng.py"), "PYTHONHASHSEED": "12"},
    )  # fmt: skip
    assert int(done.stdout) == int(stream(5, "initial").integers(10**9))


@pytest.mark.parametrize("other", [(1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a"), (0, "a", 0, 0), (0, "A", 0)])
def test_another_path_is_another_stream(other: tuple[int, ...]) -> None:
    mine, others = stream(0, "a", 0).random(2000), stream(*other).random(2000)
    assert abs(np.corrcoef(mine, others)[0, 1]) < 4 / 2000**0.5


def test_drawing_from_one_moves_no_other() -> None:
    one, two = stream(0, "one"), stream(0, "two")
    one.random(100)
    assert two.random() == stream(0, "two").random()


def test_a_torch_stream_hangs_on_the_path_alone() -> None:
    before = torch.get_rng_state()
    draws = [torch.rand(3, generator=torch_stream(stream(seed, "latents"))).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    rng = stream(0, "latents")
    first, second = torch_stream(rng), torch_stream(rng)
    assert first.initial_seed() != second.initial_seed(), "the second of one stream is another"
    assert torch.equal(torch.get_rng_state(), before)
