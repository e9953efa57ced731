"""Files that machines without a common disk share: at any URL that fsspec opens.

A file appears under its name when it is complete: it is uploaded under another name and moved. Its sha256 is beside
it, or in the manifest of its folder, and is checked by the machine that fetches the file.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.errors import UserError, without_secrets
from asal.runtime import artifacts

CACHE = "ASAL_CACHE_DIR"  # the environment variable that says where a machine keeps fetched files

Entry = Mapping[str, Any]  # {"sha256": …, "bytes": …}


def cache_folder() -> Path:
    """Return where this machine keeps fetched files: $ASAL_CACHE_DIR, or asal in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE) or Path(home) / "asal")


@dataclass(frozen=True)
class Storage:
    """A place for files, by a URL such as s3://bucket/folder, ftp://machine/folder or file:///mnt/folder."""

    url: str

    @contextmanager
    def _files(self) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the folder in it, and turn its errors into a UserError."""
        import fsspec
        from fsspec.core import url_to_fs

        hint = "check the URL and the rights there, then run the same command again: it resumes"
        try:
            files, folder = url_to_fs(self.url, use_listings_cache=False)  # other machines write there at the same time
            yield files, folder.rstrip("/")
        except ImportError as error:  # fsspec names the package
            raise self._failed(str(error), "install what it names, on every machine") from None
        except ValueError as error:
            known = ", ".join(sorted(set(fsspec.available_protocols()) & {"file", "ftp", "gs", "s3", "sftp", "abfs"}))
            raise self._failed(str(error), f"choose one of these, or another that fsspec knows: {known}") from None
        except (OSError, EOFError) as error:
            raise self._failed(f"{type(error).__name__}: {error}", hint) from None
        except Exception as error:  # every file system has errors of its own: those of ftplib are not OSErrors
            if isinstance(error, UserError):
                raise
            raise self._failed(f"{type(error).__name__}: {error}", hint) from error

    def _failed(self, what: str, hint: str) -> UserError:
        return UserError(without_secrets(f"the storage {self.url} failed: {what}"), hint=hint)

    def entry(self, name: str) -> Entry | None:
        """Return the sha256 and size of an offered file, None where it has not been offered or is gone."""
        with self._files() as (files, folder):
            try:
                entry: Entry = json.loads(files.cat_file(f"{folder}/{name}.json"))
                size = files.info(f"{folder}/{name}")["size"]
            except FileNotFoundError:
                return None
            return entry if size == entry["bytes"] else None

    def offer(self, path: Path, name: str) -> None:
        """Upload a file, and then its sha256, which says that the file is there."""
        with self._files() as (files, folder):
            self._upload(files, f"{folder}/{name}", lambda place: files.put_file(str(path), place))
        note = json.dumps({"sha256": artifacts.sha256(path), "bytes": path.stat().st_size}).encode()
        with self._files() as (files, folder):
            self._upload(files, f"{folder}/{name}.json", lambda place: files.pipe_file(place, note))

    def put(self, path: Path, name: str) -> None:
        """Upload a file, unless one of its size is there: the name stands for the content."""
        with self._files() as (files, folder):
            place = f"{folder}/{name}"
            if files.exists(place) and files.info(place)["size"] == path.stat().st_size:
                return
            self._upload(files, place, lambda scratch: files.put_file(str(path), scratch))

    def _upload(self, files: Any, place: str, write: Any) -> None:
        home, _, name = place.rpartition("/")
        files.makedirs(home, exist_ok=True)
        scratch = f"{home}/.{name}.{secrets.token_hex(4)}"
        write(scratch)
        files.mv(scratch, place)

    def push(self, folder: Path, name: str) -> None:
        """Upload a finished folder, its manifest last, without the files that are there already."""
        for file in artifacts.manifest(folder)["files"]:
            self.put(folder / file, f"{name}/{file}")
        self.put(folder / artifacts.MANIFEST, f"{name}/{artifacts.MANIFEST}")

    def fetch(self, name: str, path: Path, entry: Entry | None = None) -> Path:
        """Download a file, once for all processes of this machine, and return its path.

        Args:
            entry: its sha256 and bytes; None takes those that were uploaded beside it.

        Raises:
            UserError: it is not there, or differs from its sha256.
        """
        import filelock

        with artifacts.explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_name(f".{path.name}.lock")):
                if not path.exists():
                    self._get(name, path, entry)
        return path

    def _get(self, name: str, path: Path, entry: Entry | None) -> None:
        entry = entry or self.entry(name)
        if entry is None:
            raise self._failed(f"{name} is not there", "run the same command again: it uploads what is missing")
        scratch = path.with_name(f".{path.name}.fetched")
        with self._files() as (files, folder):
            files.get_file(f"{folder}/{name}", str(scratch))
        if scratch.stat().st_size != entry["bytes"] or artifacts.sha256(scratch) != entry["sha256"]:
            scratch.unlink()
            raise self._failed(f"{name} differs from its sha256", "delete it there and run the same command again")
        artifacts.move_into_place(scratch, path)

    def pull(self, name: str, folder: Path, wanted: Mapping[str, Entry]) -> None:
        """Download these files of a finished folder."""
        for file, entry in wanted.items():
            self.fetch(f"{name}/{file}", folder / file, entry)

    def manifest(self, name: str, folder: Path) -> dict[str, Entry]:
        """Download the manifest of a finished folder, and return its files."""
        path = folder / artifacts.MANIFEST
        if not path.exists():
            with self._files() as (files, home):
                folder.mkdir(parents=True, exist_ok=True)
                artifacts.write(path, files.cat_file(f"{home}/{name}/{artifacts.MANIFEST}"))
        if not name.endswith(artifacts.sha256(path)[:12]):  # the name ends with its hash
            path.unlink()
            raise self._failed(f"{name}/{path.name} differs from its sha256", "delete it there and run this again")
        files_in: dict[str, Entry] = artifacts.manifest(folder)["files"]
        return files_in
