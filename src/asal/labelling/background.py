"""Work in a thread beside the loop that hands images out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from typing import Any


class Background:
    """One piece of work in a thread. A process that ends does not wait for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        """Start the work."""
        self._work, self._result = work, None
        self._error: BaseException | None = None
        self._began, self.seconds = time.monotonic(), 0.0
        self.connection, self._done = Pipe(duplex=False)  # has something to read when it is over
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self.seconds = time.monotonic() - self._began
        self._done.send_bytes(b"over")

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return bool(self.connection.poll())

    @property
    def elapsed(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    def result(self) -> Any:
        """Return what the work returned, when it is over.

        Raises:
            Exception: what the work raised.
        """
        self._thread.join()
        self.connection.close()
        self._done.close()
        if self._error is not None:
            raise self._error
        return self._result
