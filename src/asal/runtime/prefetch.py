"""Work done ahead by threads, in the order in which it is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def map_ahead(
    work: Callable[[S], T], items: Iterable[S], *, threads: int, ahead: int, name: str = "ahead"
) -> Generator[T, None, None]:
    """Yield `work(item)` for each item, in order, while threads work on the next ones. Memory: `ahead` results.

    What `work` raises is raised in its place; nothing is begun after that, nor when the generator is closed.

    >>> list(map_ahead(str.upper, "abc", threads=2, ahead=2))
    ['A', 'B', 'C']
    """
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, name) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
