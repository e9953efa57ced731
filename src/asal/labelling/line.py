"""A worker's line to the server's process: a pipe that several threads may send into."""

from __future__ import annotations

import threading
import time
from multiprocessing.connection import Connection, wait

from asal.labelling.messages import CaughtUp, FromWorker, RecordChanged

GATHER = 0.1  # seconds in which answers come together: each read of a large record costs milliseconds
POLL = 1.0  # seconds after which the record is read although no message came


class Line:
    """The worker's end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, message: FromWorker) -> None:
        """Send a message: the threads of a worker take turns."""
        with self._lock:
            self._connection.send(message)

    def pass_on(self, message: FromWorker | None) -> None:
        """Send a message, if there is one."""
        if message is not None:
            self.send(message)

    def wait(self, *others: Connection) -> None:
        """Wait until another connection has something to read, or for a moment; notice that the server is gone.

        Raises:
            EOFError: the server is gone.
        """
        if self._connection in wait([self._connection, *others], POLL):
            self._connection.recv()

    def wait_for_changes(self, rate: float, *others: Connection) -> float:
        """Wait until something was written, another connection has something to read, or for `POLL`.

        Returns:
            How many answers come in a second by now.

        Raises:
            EOFError: the server is gone.
        """
        if self._connection not in wait([self._connection, *others], POLL):
            return rate
        gathered = False
        while self._connection.poll():
            message: RecordChanged = self._connection.recv()
            if not gathered:
                time.sleep(GATHER)
            rate, gathered = message.rate, True  # read all that was sent, then look at the record
        self.send(CaughtUp())
        return rate
