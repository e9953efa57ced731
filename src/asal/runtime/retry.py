"""Trying again what may succeed the next time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
On: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


def retry(call: Callable[[], T], *, tries: int, on: On, pause: float | Callable[[int, Exception], float] = 0.0) -> T:
    """Call until it returns, `tries` times at most, and return what it returned.

    Args:
        on: the errors after which it is called again: classes, or a function that says so of an error.
        pause: seconds before the second call, twice as many before each one after it; or a function of how many calls
            have failed, and of the last error.

    Raises:
        Exception: what the last call raised, or any error that `on` does not cover.

    >>> numbers = iter([0, 0, 4])
    >>> retry(lambda: 8 // next(numbers), tries=3, on=ZeroDivisionError)
    2
    """
    for failed in range(1, tries):
        try:
            return call()
        except Exception as error:
            if not _covers(on, error):
                raise
            seconds = pause(failed, error) if callable(pause) else pause * 2 ** (failed - 1)
        time.sleep(seconds)
    return call()


def _covers(on: On, error: Exception) -> bool:
    return isinstance(error, on) if isinstance(on, type | tuple) else on(error)
