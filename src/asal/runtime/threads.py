"""How many threads a computation takes: sums are split by it, so it bears on the last bit of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from asal.runtime.prefetch import map_ahead

S = TypeVar("S")
T = TypeVar("T")


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


def map_in_threads(work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Yield `work(item)` for each item, in order, by as many threads as torch may use; if that is one, by the caller's.

    For work that is done by numpy, which lets go of the interpreter's lock. Memory: two results a thread.

    >>> list(map_in_threads(str.upper, "abc"))
    ['A', 'B', 'C']
    """
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(work, items)
        return
    with one_blas_thread():
        yield from map_ahead(work, items, threads=threads, ahead=2 * threads, name="numbers")
