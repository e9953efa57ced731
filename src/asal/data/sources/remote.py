"""Files behind a URL of fsspec (`s3://…`, `ftp://…`, `https://…`, `zip://::file.zip`), listed once and fetched ahead.

Threads fetch while others decode, so that ingesting takes the longer of the two times and not their sum.
"""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from asal.data.sources import Lost, not_there
from asal.errors import UserError, without_secrets
from asal.runtime.prefetch import map_ahead
from asal.runtime.retry import retry

FETCHERS = 16  # threads: a small file costs a round trip, so many are fetched at once
AHEAD = 64  # files fetched and not yet used, at most
BEGINNING = 2**18  # bytes
COMPLETE = frozenset({"tif", "tiff", "webp", "avif", "heic", "heif"})  # a part of such a file cannot be opened
TRIES, PAUSE = 4, 0.5  # seconds before the second try; twice as long before each one after it
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)  # errors of one file inside an archive

Fetched: TypeAlias = bytes | Lost


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def listed(url: str) -> list[str]:
    """Return every file below a URL, relative to it, in any order.

    Raises:
        UserError: there are no files, it cannot be reached, or the library for such URLs is not installed.
    """
    files, root = _open(url)
    try:
        paths = files.find(root)
    except Exception as error:  # each kind of file system raises its own
        raise _unreachable(url, error) from None
    base = root.rstrip("/")
    names = [name.removeprefix(base).lstrip("/") for name in paths if name.rstrip("/") != base]
    if not names:
        raise not_there("files", without_secrets(url), "check the URL")
    return names


def fetched(url: str, names: Sequence[str]) -> Iterator[Fetched]:
    """Yield the bytes of these files, in their order, while threads fetch the next ones.

    Memory: `AHEAD` files.

    Raises:
        UserError: a file that exists cannot be fetched, after several tries.
    """
    yield from _fetched(url, names)


def beginnings(url: str, names: Sequence[str]) -> Iterator[Fetched]:
    """Yield the first 256 KiB of these files, in their order: enough for the header of an image.

    A file of a format whose header cannot be read from its beginning is fetched completely.

    Raises:
        UserError: a file that exists cannot be fetched, after several tries.
    """
    yield from _fetched(url, names, BEGINNING)


def _fetched(url: str, names: Sequence[str], end: int | None = None) -> Iterator[Fetched]:
    shared, local = _open(url), threading.local()

    def part_of(name: str) -> int | None:
        return None if name.rpartition(".")[2].casefold() in COMPLETE else end

    if len(names) == 1:  # no thread, so that a process that fetches one file after the other keeps its connection
        yield _fetch(shared[0], _placed(shared[1], names[0]), part_of(names[0]))
        return

    def fetch(name: str) -> Fetched:
        if not hasattr(local, "files"):  # only an asynchronous file system can be used by several threads
            local.files, local.root = shared if shared[0].async_impl else _open(url, skip_instance_cache=True)
        return _fetch(local.files, _placed(local.root, name), part_of(name))

    yield from map_ahead(fetch, names, threads=FETCHERS, ahead=AHEAD, name="fetch")


def forget_connections() -> None:
    """Open connections again when they are next needed: one that was idle for long may have been closed."""
    from fsspec import AbstractFileSystem

    kinds = [AbstractFileSystem]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        kind.clear_instance_cache()


def _placed(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}" if root else name


def _fetch(files: Any, path: str, end: int | None = None) -> Fetched:
    part = {} if end is None else {"start": 0, "end": end}
    try:
        data: bytes = retry(lambda: files.cat_file(path, **part), tries=TRIES, on=_worth_retrying, pause=PAUSE)
        return data
    except FileNotFoundError:
        return Lost("there is no such file")
    except PermissionError as error:  # for this file alone; if the folder cannot be listed either, a key has expired
        if not _may_list(files, path):
            raise _unreachable(path, error) from None
        return Lost("reading it is not permitted")
    except BROKEN as error:
        return Lost(f"it is broken ({error})")
    except Exception as error:  # each kind of file system raises its own
        raise _unreachable(path, error) from None


def _worth_retrying(error: Exception) -> bool:
    return not isinstance(error, (FileNotFoundError, PermissionError, *BROKEN))


def _may_list(files: Any, path: str) -> bool:
    """Whether the folder of a file may still be listed."""
    try:
        files.ls(path.rpartition("/")[0], refresh=True)
    except Exception:  # each kind of file system raises its own
        return False
    return True


def _open(url: str, **settings: Any) -> tuple[Any, str]:
    """Return a file system, and the URL's place in it."""
    from fsspec.core import url_to_fs  # here, because most images are local

    try:
        files, root = url_to_fs(url, **settings)
    except (ImportError, ValueError) as error:
        raise UserError(
            without_secrets(f"'{url}' cannot be opened: {' '.join(str(error).split())}"),
            rule="a URL of images is one that fsspec can open",
            hint="check the URL, and install the package that the message names",
        ) from None
    except Exception as error:  # not an archive, or a host that does not answer
        raise _unreachable(url, error) from None
    return files, root


def _unreachable(place: str, error: Exception) -> UserError:
    return UserError(
        without_secrets(f"{place} cannot be read: {' '.join(str(error).split()) or type(error).__name__}"),
        hint="check the URL and the network, then run the same command: it resumes",
    )
