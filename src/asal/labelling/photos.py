"""The photographs that people see: originals, decoded in processes of their own, ahead of whoever asks for them.

Every method returns at once. What somebody waits for is decoded first, then what is handed out. A photograph that takes
too long ends its process; another one goes on with the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, PriorityQueue

import numpy as np

from asal.data.concat_pool import ConcatPool
from asal.data.decoding import Conversion
from asal.data.image_options import conversion, ranges_of
from asal.data.originals import Originals, keyed, originals_of
from asal.data.pool import StoredPool
from asal.data.views import View
from asal.errors import UserError
from asal.labelling.photo_cache import PhotoCache
from asal.labelling.photo_process import Overdue, PhotoProcess, PhotoTask
from asal.project.folder import ProjectFolder
from asal.project.images import source_of
from asal.runtime import artifacts
from asal.runtime.environment import cores

PHOTO, THUMB = 2048, 256  # pixels of the longer edge: of a screen, and of the strip and the grid
EDGES = (PHOTO, THUMB)
SECONDS = 20.0  # to read and decode one photograph
SLOW = 2.0  # seconds after which a process is not counted on: another one is started
REMOTE = 6  # processes where the source is behind a URL: they wait more than they work
MOST = 8  # processes
IDLE = 300.0  # seconds after which a process that has nothing to do ends
TICK = 0.25  # seconds
LONG = 4.0  # seconds after which a photograph that is being read is called slow
PATIENCE, IMPATIENCE = 8.0, 0.3  # seconds that a request waits; and where that is of no use
RETRY = {"gone": 10.0, "changed": 60.0, "unreadable": 30.0}  # seconds until such an original is looked at again
NOBODY_WAITS, SOMEBODY_WAITS = 1, 0  # the lower goes first
KEPT_KEYS = 50_000


@dataclass
class _Job:
    """A photograph that is waited for or decoded ahead."""

    image: int
    edges: tuple[int, ...]
    done: Future[View] = field(default_factory=Future)
    begun: float | None = None  # when
    asked: bool = False  # somebody waits for it


@dataclass(frozen=True, eq=False)
class _Opened:
    """A project's pool and its originals, as they were when they were opened."""

    pool: StoredPool | ConcatPool
    originals: Originals
    how: Conversion

    @classmethod
    def of(cls, folder: ProjectFolder) -> _Opened | None:
        pool = keyed(folder.current_pool())
        if pool is None:
            return None
        originals = originals_of(source_of(folder.root, folder.spec.source), folder.root)
        if originals is None:
            return None
        options = artifacts.manifest(folder.root / "pool")["options"]
        how = conversion(options, ranges_of(folder.root), folder.spec.pool.pixel_limit)
        return cls(pool, originals, how)


class Photos:
    """The originals of a project's images, for people. Safe to share between threads."""

    def __init__(self, folder: ProjectFolder, cache: PhotoCache | None = None) -> None:
        """Open what a project says of its originals; no process is started before one is needed.

        Args:
            cache: None keeps what is decoded in memory, and not for long.
        """
        self._folder, self._cache = folder, cache or PhotoCache(None)
        self._lock, self._closed = threading.RLock(), threading.Event()
        self._opened, self._keys = _opened_or_none(folder), dict[int, str]()
        self._queue: PriorityQueue[tuple[int, int, _Job]] = PriorityQueue()
        self._numbers, self._jobs = count(), dict[tuple[int, tuple[int, ...]], _Job]()
        self._failed: dict[int, tuple[float, View]] = {}
        self._busy_since: dict[threading.Thread, float] = {}  # 0 for a thread that waits for a job
        remote = "://" in str(getattr(self._opened and self._opened.originals.source, "path", ""))
        self._wanted = REMOTE if remote else max(2, min(4, cores()))

    @property
    def are_kept(self) -> bool:
        """Whether the project's source keeps originals that can be read again."""
        return self._opened is not None

    def patience(self, image: int, edges: tuple[int, ...] = EDGES) -> float:
        """Return how many seconds a request waits: few, where a photograph has taken long already, or all that are
        being read have, so that nobody will read this one soon.
        """
        now = time.monotonic()
        with self._lock:
            job, busy = self._jobs.get((image, edges)), list(self._busy_since.values())
        if job is not None and job.begun is not None:
            return max(IMPATIENCE, job.begun + PATIENCE - now)
        return IMPATIENCE if busy and all(since and now - since > LONG for since in busy) else PATIENCE

    def keys(self, images: Sequence[int]) -> dict[int, str]:
        """Return the names of images in the pool; those that are in no source have none."""
        with self._lock:
            opened = self._covering(max(images, default=0))
            if opened is None:
                return {}
            missing = [image for image in images if image not in self._keys and image < len(opened.pool)]
            if missing:
                if len(self._keys) > KEPT_KEYS:
                    self._keys.clear()
                with suppress(UserError):  # a damaged list of names keeps nobody from labelling
                    names = opened.pool.keys(np.array(missing, np.int64))
                    self._keys.update(zip(missing, names, strict=True))
            return {image: self._keys[image] for image in images if image in self._keys}

    def ahead(self, images: Iterable[int], tag: str) -> None:
        """Decode photographs that will be asked for soon, in this order."""
        if not self.are_kept:
            return
        for image in images:
            if not all(self._cache.has(_name(tag, image, edge)) for edge in EDGES):
                self._job(image, tag, EDGES)

    def kept(self, image: int, tag: str, edge: int) -> bytes | None:
        """Return a photograph that was decoded already."""
        return self._cache.read(_name(tag, image, edge))

    def get(self, image: int, tag: str, edges: tuple[int, ...] = EDGES) -> Future[View]:
        """Return what becomes of a photograph; it is decoded before those that nobody waits for.

        Args:
            tag: of the pool; a photograph of another pool is another one.
        """
        job = self._job(image, tag, edges)
        with self._lock:
            if job.begun is None and not (job.asked or job.done.done()):
                job.asked = True
                self._queue.put((SOMEBODY_WAITS, next(self._numbers), job))
        return job.done

    def close(self) -> None:
        """End the processes."""
        self._closed.set()
        for thread in list(self._busy_since):
            thread.join(5)

    def __enter__(self) -> Photos:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _job(self, image: int, tag: str, edges: tuple[int, ...]) -> _Job:
        with self._lock:
            if (job := self._jobs.get((image, edges))) is not None:
                return job
            job = _Job(image, edges)
            until, failed = self._failed.get(image, (0.0, View("gone")))
            if until > time.monotonic() or self._closed.is_set():
                job.done.set_result(failed)
                return job
            self._jobs[image, edges] = job
            job.done.add_done_callback(lambda done: self._keep(job, tag, done.result()))
            self._queue.put((NOBODY_WAITS, next(self._numbers), job))
            self._grow()
            return job

    def _keep(self, job: _Job, tag: str, found: View) -> None:
        """Keep what was decoded: on the disk, or how it failed for a while."""
        for edge, data in found.files.items():
            self._cache.write(_name(tag, job.image, edge), data)
        with self._lock:
            self._jobs.pop((job.image, job.edges), None)
            if found.state == "here":
                self._failed.pop(job.image, None)
            else:
                if len(self._failed) > KEPT_KEYS:
                    self._failed.clear()
                self._failed[job.image] = time.monotonic() + RETRY[found.state], found

    def _covering(self, image: int) -> _Opened | None:
        """Return the pool and its originals, opened again where images were added since."""
        with self._lock:
            if self._opened is not None and image >= len(self._opened.pool):
                self._opened = _opened_or_none(self._folder) or self._opened
            return self._opened

    def _task(self, job: _Job) -> PhotoTask | None:
        key = self.keys([job.image]).get(job.image)
        opened = self._opened
        if key is None or opened is None:
            return None
        picture = opened.pool.read(np.array([job.image]))[0]
        return PhotoTask(job.image, key, opened.originals.only(job.image), picture, opened.how, job.edges)

    # Threads, each with a process ------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Start one more thread where the others have enough to do, or are kept up."""
        with self._lock:
            now = time.monotonic()
            waiting = sum(not since for since in self._busy_since.values())
            slow = sum(bool(since) and now - since > SLOW for since in self._busy_since.values())
            threads = len(self._busy_since)
            if self._closed.is_set() or waiting >= self._queue.qsize() or threads >= min(MOST, self._wanted + slow):
                return
            thread = threading.Thread(target=self._work, name="photographs", daemon=True)
            self._busy_since[thread] = 0.0
            thread.start()

    def _work(self) -> None:
        me, process = threading.current_thread(), None
        idle = time.monotonic()
        try:
            while not self._closed.is_set() and time.monotonic() - idle < IDLE:
                with suppress(Empty):
                    job = self._queue.get(timeout=TICK)[2]
                    with self._lock:
                        if job.begun is not None:  # it was in the queue twice
                            continue
                        job.begun = self._busy_since[me] = time.monotonic()
                    process = self._do(job, process)
                    self._busy_since[me], idle = 0.0, time.monotonic()
        finally:
            with self._lock:
                self._busy_since.pop(me, None)
            if process is not None:
                process.kill()
            if not self._queue.empty():  # something was asked for at this very moment
                self._grow()

    def _do(self, job: _Job, process: PhotoProcess | None) -> PhotoProcess | None:
        """Have a photograph decoded, and return the process if it goes on."""
        try:
            task = self._task(job)
            if task is None:
                found = View("gone")
            else:
                process = process or PhotoProcess(task.how.limit)
                process.wait_until_ready()
                process.send(task)
                found = self._reply(process)
        except Overdue as error:
            if process is not None:
                process.kill()
            process, found = None, View("unreadable", reason=error.reason)
        except (UserError, OSError) as error:  # a damaged pool, or no more processes
            found = View("unreadable", reason=error.got if isinstance(error, UserError) else f"{error}")
        with suppress(InvalidStateError):  # whoever waited has cancelled it
            job.done.set_result(found)
        return process

    def _reply(self, process: PhotoProcess) -> View:
        begun = time.monotonic()
        while not process.poll(TICK):
            taken = time.monotonic() - begun
            if self._closed.is_set() or taken > SECONDS:
                raise Overdue(f"it could not be read and decoded in {SECONDS:.0f} seconds")
            if taken > SLOW and not self._queue.empty():
                self._grow()
        return process.receive()


def _opened_or_none(folder: ProjectFolder) -> _Opened | None:
    with suppress(UserError):  # a source of a plug-in that is not installed any more; no pool yet
        return _Opened.of(folder)
    return None


def _name(tag: str, image: int, edge: int) -> str:
    return f"{tag}-{image}-{edge}"
