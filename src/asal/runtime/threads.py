"""How many threads a computation takes: sums are split by it, so it bears on the last bit of a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let numpy's matrix products use one thread inside the block, and leave torch as it is."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


@contextmanager
def limited_threads(threads: int = 1) -> Iterator[None]:
    """Compute with so many threads inside the block: torch, and the libraries under numpy."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
