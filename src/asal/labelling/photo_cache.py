"""Photographs as people see them, kept on the disk: files that may be deleted at any time.

    PROJECT/labelling/photos/TAG-812-2048    image 812 of the pool that TAG stands for, at most 2,048 pixels

What cannot be written is kept in memory only: a project on a read-only disk works, more slowly.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from asal.runtime import artifacts

MOST = 2**30  # bytes on the disk
SPARED = 2**30  # bytes that stay free there
IN_MEMORY = 2**26  # bytes
ABANDONED = 600.0  # seconds after which an unfinished file is nobody's any more


class PhotoCache:
    """Keeps encoded photographs, the least recently written ones least long. Safe to share between threads.

    Several servers may share a folder: each sees the files of the others.
    """

    def __init__(self, folder: Path | None, most: int = MOST) -> None:
        """Look at nothing yet.

        Args:
            folder: it is made when it is needed; None keeps everything in memory, and not for long.
            most: bytes in the folder.
        """
        self._folder, self._most, self._lock = folder or Path(os.devnull), most, threading.Lock()
        self._memory: OrderedDict[str, bytes] = OrderedDict()  # least recently used first
        self._in_memory = 0
        self._writable = folder is not None
        self._sizes: OrderedDict[str, int] | None = None  # of the files, oldest first; None: not looked at yet

    def read(self, name: str) -> bytes | None:
        """Return what is kept under a name; None where nothing is."""
        with self._lock:
            if (data := self._memory.get(name)) is not None:
                self._memory.move_to_end(name)
                return data
        try:
            data = (self._folder / name).read_bytes()
        except OSError:
            return None
        if not data:  # a power cut may leave a file without its bytes
            return None
        self._remember(name, data)
        return data

    def has(self, name: str) -> bool:
        """Say whether something is kept under a name."""
        with self._lock:
            if name in self._memory:
                return True
        return (self._folder / name).exists()

    def write(self, name: str, data: bytes) -> None:
        """Keep something under a name; where the disk refuses, in memory only."""
        self._remember(name, data)
        with self._lock:
            if not self._writable:
                return
            try:
                self._write(name, data)
            except OSError:  # a full or read-only disk
                self._writable = False

    def _remember(self, name: str, data: bytes) -> None:
        with self._lock:
            self._in_memory += len(data) - len(self._memory.pop(name, b""))
            self._memory[name] = data
            while self._in_memory > IN_MEMORY and len(self._memory) > 1:
                self._in_memory -= len(self._memory.popitem(last=False)[1])

    def _write(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        sizes = self._listed()
        if shutil.disk_usage(self._folder).free < SPARED + len(data):
            return
        scratch = artifacts.unfinished(self._folder / name)
        try:
            scratch.write_bytes(data)  # not synced: after a power cut it is made again
            scratch.replace(self._folder / name)
        finally:
            scratch.unlink(missing_ok=True)
        sizes.pop(name, None)
        sizes[name] = len(data)
        total = sum(sizes.values())
        while total > self._most and len(sizes) > 1:
            oldest, size = sizes.popitem(last=False)
            (self._folder / oldest).unlink(missing_ok=True)
            total -= size

    def _listed(self) -> OrderedDict[str, int]:
        """Return the files, oldest first, after a look at the folder; unfinished files of long ago are deleted."""
        if self._sizes is None:
            found = []
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if not entry.name.startswith("."):
                            found.append((status.st_mtime, entry.name, status.st_size))
                        elif entry.name.endswith(artifacts.UNFINISHED) and status.st_mtime < time.time() - ABANDONED:
                            (self._folder / entry.name).unlink(missing_ok=True)
            self._sizes = OrderedDict((name, size) for _, name, size in sorted(found))
        return self._sizes
