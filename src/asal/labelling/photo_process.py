"""A process that decodes photographs for people, within limits: what it is sent, what it replies, how it is ended.

Files of people's are decoded nowhere else while they label: a decompression bomb, a broken file or a share that does
not answer costs this process, which is killed and started again, and never the server. It sends back bytes and plain
JSON, so that a decoder that went wrong cannot have the server read objects.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from asal.core import Images
from asal.data.decoding import Conversion
from asal.data.originals import Originals
from asal.data.sources import Lost, Raw, Source
from asal.data.sources.remote import forget_connections
from asal.data.views import STATES, View, view
from asal.errors import UserError

START = 60.0  # seconds until a new process must be ready
READY = b"ready"
BYTES = 2**30  # of a file
SPARE = 2**29  # bytes of memory beside those of the pixels
PER_PIXEL = 16  # bytes of memory: 16-bit colours and their parts


@dataclass(frozen=True)
class PhotoTask:
    """A photograph to be decoded.

    Args:
        image: its id.
        key: its name in the pool.
        originals: where it may be.
        picture: the pool's (h, w, c), with which it is compared.
        how: the pool's images were made.
        edges: wanted, in pixels.
    """

    image: int
    key: str
    originals: Originals
    picture: Images
    how: Conversion
    edges: tuple[int, ...]


class Overdue(Exception):  # noqa: N818  # an expected result, not an error of the program
    """A process did not reply in time, or ended: it is gone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PhotoProcess:
    """One process and the pipe to it. Not safe to share between threads."""

    def __init__(self, pixel_limit: int) -> None:
        """Start it; it imports what it needs meanwhile.

        Args:
            pixel_limit: of a photograph: decides how much memory the process may take.
        """
        context = multiprocessing.get_context("spawn")  # a fork would inherit the server's threads and sockets
        self._connection, there = context.Pipe()
        memory = SPARE + PER_PIXEL * pixel_limit
        self._process: SpawnProcess = context.Process(
            target=decode_for_people, args=(there, memory), name="asal photographs", daemon=True
        )
        self._process.start()
        there.close()
        self._ready = False

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until it can work.

        Raises:
            Overdue: it ended, or takes too long.
        """
        if not self._ready:
            self._receive(START)
            self._ready = True

    def send(self, task: PhotoTask) -> None:
        """Send a task.

        Raises:
            Overdue: the process has ended.
        """
        try:
            self._connection.send(task)
        except OSError:
            raise Overdue("the process that decodes it has ended") from None

    def poll(self, seconds: float) -> bool:
        """Wait for a reply for so long; say whether there is one, or an end."""
        try:
            return self._connection.poll(seconds)
        except OSError:
            return True

    def receive(self) -> View:
        """Return the reply that `poll` has seen.

        Raises:
            Overdue: the process has ended.
        """
        return _read(self._receive(0.0))

    def _receive(self, seconds: float) -> bytes:
        try:
            if self._connection.poll(seconds):
                return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise Overdue("the process that decodes it has ended: the file may need too much memory") from None
        raise Overdue("the process that decodes it does not start")

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join(5)
        self._connection.close()


def decode_for_people(connection: Connection, memory: int) -> None:
    """Decode what is sent until the other end of the connection is closed.

    Args:
        memory: bytes that may be allocated beside what the process has when it is ready.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that serves people
    from asal.data.decoding.opening import prepare_formats

    prepare_formats()
    _limit(memory)
    opened: list[Source] = []
    with suppress(EOFError, OSError):  # the server is gone
        connection.send_bytes(READY)
        while True:
            connection.send_bytes(_written(_viewed(connection.recv(), opened)))


def _viewed(task: PhotoTask, opened: list[Source]) -> View:
    found = _view(task, opened)
    if found.state == "unreadable" and not found.files and _is_remote(task):
        forget_connections()
        found = _view(task, opened)
    return found


def _view(task: PhotoTask, opened: list[Source]) -> View:
    originals = task.originals.with_sources(lambda source: _same(source, opened))
    try:
        return view(_small_enough(originals.places(task.image, task.key)), task.picture, task.how, task.edges)
    except MemoryError:
        return View("unreadable", reason="the memory for reading it was too small")
    except (UserError, OSError) as error:
        return View("unreadable", reason=error.got if isinstance(error, UserError) else f"{error}")


def _same(source: Source, opened: list[Source]) -> Source:
    """Return the source that is open, if there is an equal one: it may have listed its files already."""
    for other in opened:
        if other == source:
            return other
    opened.append(source)
    return source


def _is_remote(task: PhotoTask) -> bool:
    sources = [task.originals.source, *(each.source for each in task.originals.additions)]
    return any("://" in str(getattr(source, "path", "")) for source in sources)


def _small_enough(places: Iterator[Raw]) -> Iterator[Raw]:
    for raw in places:
        size = 0 if isinstance(raw, Lost) else getattr(raw, "nbytes", None) or _length(raw)
        yield Lost(f"its file has {size:,} bytes, more than {BYTES:,}") if size > BYTES else raw


def _length(raw: Any) -> int:
    return len(raw) if isinstance(raw, bytes) else int(raw.stat().st_size)


def _limit(memory: int) -> None:
    """Limit the memory of this process, and its other appetites. Not every system can."""
    with suppress(ImportError, ValueError, OSError, AttributeError):
        import resource

        used = _data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))
    with suppress(ImportError, ValueError, OSError, AttributeError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no copy of the photograph


def _data_bytes() -> int:
    """Return how many bytes this process has allocated, as RLIMIT_DATA counts them; 0 where that is not known."""
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def _written(found: View) -> bytes:
    sizes = {str(edge): len(data) for edge, data in found.files.items()}
    head = json.dumps({"state": found.state, "reason": found.reason, "sizes": sizes}).encode()
    return len(head).to_bytes(4, "big") + head + b"".join(found.files.values())


def _read(reply: bytes) -> View:
    start = 4 + int.from_bytes(reply[:4], "big")
    try:
        facts = json.loads(reply[4:start])
        files = {}
        for edge, size in facts["sizes"].items():
            files[int(edge)] = reply[start : start + int(size)]
            start += int(size)
        state, reason = facts["state"], str(facts["reason"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Overdue("the process that decodes it replied what cannot be read") from None
    if state not in STATES:
        raise Overdue("the process that decodes it replied what cannot be read")
    return View(state, files, reason)
