"""Files behind a URL of fsspec (`s3://…`, `ftp://…`, `https://…`, `zip://::file.zip`), listed once and fetched ahead.

Threads fetch while others decode, so that a pool comes in at the network's pace or the processor's, not at both.
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

FETCHERS = 16  # threads: a small file costs a round trip, so many are under way
AHEAD = 64  # files fetched and not yet asked for, at most
TRIES, PAUSE = 4, 0.5  # seconds before the second try; twice as long before each one after it
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)  # a file inside an archive

Fetched: TypeAlias = bytes | Lost


def is_url(path: str) -> bool:
    """Say whether a path is behind a URL."""
    return "://" in path


def listed(url: str) -> list[str]:
    """Return every file below a URL, relative to it, in no order.

    Raises:
        UserError: nothing is there, it cannot be reached, or the library for such URLs is not installed.
    """
    files, root = _reached(url)
    try:
        found = files.find(root)
    except Exception as error:  # every kind of file system has its own
        raise _unreachable(url, error) from None
    base = root.rstrip("/")
    names = [name.removeprefix(base).lstrip("/") for name in found if name.rstrip("/") != base]
    if not names:
        raise not_there("a folder of image files", without_secrets(url), "check the URL")
    return names


def fetched(url: str, names: Sequence[str]) -> Iterator[Fetched]:
    """Yield the bytes of these files, in their order, while threads fetch those that come next.

    Memory: `AHEAD` files.

    Raises:
        UserError: a file that is there cannot be had, tried again and again.
    """
    shared, own = _reached(url), threading.local()

    def fetch(name: str) -> Fetched:
        if not hasattr(own, "files"):  # one connection cannot be used by two, unless it is made so
            own.files, own.root = shared if shared[0].async_impl else _reached(url, skip_instance_cache=True)
        return _fetch(own.files, f"{own.root.rstrip('/')}/{name}" if own.root else name)

    yield from map_ahead(fetch, names, threads=FETCHERS, ahead=AHEAD, name="fetch")


def _fetch(files: Any, path: str) -> Fetched:
    try:
        data: bytes = retry(lambda: files.cat_file(path), tries=TRIES, on=_may_pass, pause=PAUSE)
        return data
    except FileNotFoundError:
        return Lost("there is no such file")
    except PermissionError as error:  # of this file alone; where nothing may be read any more, a key has run out
        if not _may_look(files, path):
            raise _unreachable(path, error) from None
        return Lost("reading it is not permitted")
    except BROKEN as error:
        return Lost(f"it is broken ({error})")
    except Exception as error:  # every kind of file system has its own
        raise _unreachable(path, error) from None


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, (FileNotFoundError, PermissionError, *BROKEN))


def _may_look(files: Any, path: str) -> bool:
    """Say whether the folder of a file may still be listed."""
    try:
        files.ls(path.rpartition("/")[0], refresh=True)
    except Exception:  # every kind of file system has its own
        return False
    return True


def _reached(url: str, **settings: Any) -> tuple[Any, str]:
    """Return a file system, and the URL's place in it."""
    from fsspec.core import url_to_fs  # here: not everybody's images are far away

    try:
        files, root = url_to_fs(url, **settings)
    except (ImportError, ValueError) as error:
        raise UserError(
            without_secrets(f"'{url}': {' '.join(str(error).split())}"),
            rule="a URL of images is one that fsspec can open",
            hint="check it, and install what it names",
        ) from None
    except Exception as error:  # an archive that is none, a host that does not answer
        raise _unreachable(url, error) from None
    return files, root


def _unreachable(place: str, error: Exception) -> UserError:
    return UserError(
        without_secrets(f"{place}: {' '.join(str(error).split()) or type(error).__name__}"),
        rule="images are fetched from where they were listed",
        hint="check the URL and the network, then run the same command: it resumes",
    )
