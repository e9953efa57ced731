"""Folders and files that are complete or not there, and that say what they were made from.

A derived folder is named by the hash of what went into it. It is filled under a temporary name
that the next attempt finds again (so that work resumes), synced, and renamed when it is complete.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from asal.errors import BusyError, DamageError, UserError

FORMAT = 1  # of every derived folder; raised when an older asal could not read a newer folder
MANIFEST = "part.json"
ADDITIONS = "additions"  # in a project: the images that `asal add` took in
WAS = "was.json"  # in the scratch: the sha256 of the files that `repair` deleted
MADE_FROM = "facts.json"  # in the scratch
UNFINISHED = ".partial"  # ends the name of a file or folder that is being written
OLD = "old"  # in the scratch: the folder that this one replaces, until it is deleted
SCRATCH = ".scratch"  # inside a folder under construction: checkpoints, deleted when it is complete


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Return 12 hex digits that change when any of the facts changes; their order does not matter.

    >>> fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    True
    """
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield an open file that takes the place of `path` when the block ends well.

    A reader sees the old bytes or the new ones, never a part of them, and so does a crash. Processes that write the
    same path at once do not meet. What a killed process leaves is hidden and ends in `UNFINISHED`.
    """
    scratch = unfinished(path)
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        sync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """Return a hidden name beside `path` that no other process uses, on any machine."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}")


def move_into_place(scratch: Path, path: Path) -> None:
    """Rename a finished file, or a folder whose files are synced, so that it survives a power cut."""
    sync(scratch)
    scratch.replace(path)
    sync(path.parent)


def write(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, and so does a crash."""
    with replacing(path) as file:
        file.write(data)


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write facts as readable JSON, completely or not at all."""
    write(path, (json.dumps(facts, indent=1, ensure_ascii=False, default=str) + "\n").encode())


def preload(path: Path) -> None:
    """Ask the system to read a file into its cache in the background, where it supports that."""
    if hasattr(os, "posix_fadvise"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(handle)


def sync(path: Path) -> None:
    """Make the bytes of a file, or the list of names of a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path, *, hint: str = "") -> dict[str, Any]:
    """Read a JSON file that asal wrote.

    Raises:
        DamageError: the file is not JSON any more.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise damaged(path, f"it is not readable JSON ({error})", hint=hint) from None
    if not isinstance(facts, dict):
        raise damaged(path, "it holds no JSON object", hint=hint)
    return facts


def damaged(path: Path, what: str, *, hint: str = "") -> DamageError:
    """Return the error for a file that is not what was written; unless given, the hint says how to make it again."""
    home = next((p for p in path.parents if (p / MANIFEST).exists()), path.parent)
    if path.parent.name == SCRATCH:  # a training's checkpoint
        steps = f"delete {path} and run the same command again: that training begins again"
    elif path.name == MANIFEST or not is_complete(home):
        steps = f"delete {home} and run the same command again: only that is made again"
    else:
        steps = f"run `asal doctor {quote(str(home))} --repair`, then `asal prepare`: only that file is made again"
        if home.parent.name == ADDITIONS:
            steps = steps.replace("asal prepare", "asal add")
    return DamageError(f"{path} is damaged: {what}", hint=hint or steps)


@contextmanager
def building(folder: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Fill `folder` under a temporary name and make it appear when the block ends well.

    Where the block fails or the process dies, the unfinished folder stays for the next attempt, as long as
    it was made from the same facts. Work files belong under `SCRATCH` and are deleted when the folder is complete.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    made_from = partial / SCRATCH / MADE_FROM
    _refuse_foreign(folder, MANIFEST)
    _refuse_foreign(partial, SCRATCH)
    with explain_disk_errors(partial):
        same = made_from.exists() and read_json(made_from) == json.loads(json.dumps(facts, default=str))
        if partial.exists() and not same:
            if was_complete(partial):  # its images may have labels
                raise UserError(
                    f"the source or the options of {partial} have changed since it was made",
                    rule="files that `asal doctor --repair` deleted are made again from the same source and options",
                    hint=f"restore those, or {', '.join(read_json(partial / SCRATCH / WAS))} from a copy",
                )
            discard(partial)
        (partial / SCRATCH).mkdir(parents=True, exist_ok=True)
        if (partial / SCRATCH / OLD).exists():
            shutil.rmtree(partial / SCRATCH / OLD)
        write_json(made_from, facts)
        yield partial
        for path in partial.rglob(".*"):  # left by a process that was killed inside `replacing`
            if path.is_file() and SCRATCH not in path.relative_to(partial).parts:
                path.unlink()
        _check_repaired(partial)
        seal(partial, facts)
        if folder.exists():  # renamed, not deleted: a kill while deleting would leave a part of it, which looks foreign
            folder.replace(partial / SCRATCH / OLD)
        partial.replace(folder)
        sync(folder.parent)
        tidy(folder)  # last: after a kill before this line, the next attempt needs it


def discard(partial: Path) -> None:
    """Delete an unfinished folder in such an order that what a kill leaves is deleted the next time."""
    (partial / SCRATCH / MADE_FROM).unlink(missing_ok=True)  # so that no attempt goes on with what is left of it
    for path in partial.iterdir():
        if path.name != SCRATCH:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.rmtree(partial)


def _refuse_foreign(folder: Path, mark: str) -> None:
    """Refuse a folder that asal did not make. An empty one may be left by a kill before its mark was written."""
    if folder.exists() and not (folder / mark).exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(
            f"{folder} exists, and asal did not make it",
            rule="asal replaces only folders that it made",
            hint=f"move it away, or choose another project folder; if its {mark} was deleted, restore that from a copy",
        )


def was_complete(partial: Path) -> bool:
    """Say whether an unfinished folder was complete before `repair` deleted files of it."""
    return (partial / SCRATCH / WAS).exists()


def _check_repaired(partial: Path) -> None:
    """Refuse a file that was made again with other bytes: other folders were made from the old ones."""
    for name, digest in (read_json(partial / SCRATCH / WAS) if was_complete(partial) else {}).items():
        path = partial / name
        if not path.exists() or sha256(path) != digest:
            raise DamageError(
                f"{path} {'has other bytes than before' if path.exists() else 'was not made again'}",
                rule="a repaired file has the bytes that it had, because other folders were made from them",
                hint=f"restore {name} from a copy; or delete {partial} and what was made from it, and prepare again",
            )


def tidy(folder: Path) -> None:
    """Delete the scratch of a finished folder, where a process was killed before it did so."""
    if (folder / SCRATCH).exists():
        shutil.rmtree(folder / SCRATCH)


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest, with the sha256 and size of every file."""
    everything = (p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    # Hidden files are the scratch.
    files = sorted(p for p in everything if not any(step.startswith(".") for step in p.relative_to(folder).parts))
    for path in files:
        sync(path)
    listing = {str(p.relative_to(folder)): {"sha256": sha256(p), "bytes": p.stat().st_size} for p in files}
    write_json(folder / MANIFEST, {"format": FORMAT, **facts, "files": listing})
    for sub in {p.parent for p in files} | {folder}:
        sync(sub)


def is_complete(folder: Path) -> bool:
    """Say whether the folder was finished."""
    return (folder / MANIFEST).exists()


def manifest(folder: Path) -> dict[str, Any]:
    """Return what a finished folder was made from."""
    facts = read_json(folder / MANIFEST)
    if facts.get("format") != FORMAT:
        raise UserError(
            f"{folder} has format {facts.get('format')}",
            rule=f"this version of asal reads folders of format {FORMAT}",
            hint="use the version that wrote it, or delete the folder and prepare again",
        )
    return facts


def verify(folder: Path, *, contents_up_to: int = 2**31, newer: bool = False) -> None:
    """Check a finished folder against its manifest: the size of every file, and its sha256 where that is cheap.

    Args:
        contents_up_to: bytes; a folder larger than this is checked by its files' sizes alone.
        newer: also the sha256 of files that were written after the manifest, whatever the folder's size.

    Raises:
        DamageError: names the first file that is missing or changed, and how to repair it.
    """
    for path, what in faults(folder, contents_up_to, newer=newer):
        raise damaged(path, what)


def faults(folder: Path, contents_up_to: int = 2**63, *, newer: bool = False) -> Iterator[tuple[Path, str]]:
    """Yield each file of a finished folder that differs from its manifest, and what is wrong with it."""
    files = manifest(folder)["files"]
    hashing = sum(entry["bytes"] for entry in files.values()) <= contents_up_to
    sealed = (folder / MANIFEST).stat().st_mtime_ns if newer else 0
    for name, entry in files.items():
        path = folder / name
        if not path.exists():
            yield path, "it is missing"
        elif path.stat().st_size != entry["bytes"]:
            yield path, f"it has {path.stat().st_size} bytes and was written with {entry['bytes']}"
        elif (hashing or (newer and path.stat().st_mtime_ns > sealed)) and sha256(path) != entry["sha256"]:
            yield path, "its sha256 is not the one it was written with"


def repair(folder: Path) -> list[Path]:
    """Turn a damaged folder into an unfinished one without its damaged files, and return those; leave a good one alone.

    `building` then fills it from the same facts, and refuses files that do not have the bytes that they had.
    """
    wrong = [path for path, _ in faults(folder)]
    if not wrong:
        return []
    facts, partial = manifest(folder), folder.with_name(f"{folder.name}.partial")
    with explain_disk_errors(folder):
        if partial.exists():
            _refuse_foreign(partial, SCRATCH)
            discard(partial)
        (folder / SCRATCH).mkdir(exist_ok=True)
        write_json(folder / SCRATCH / MADE_FROM, {k: v for k, v in facts.items() if k not in ("format", "files")})
        names = [path.relative_to(folder).as_posix() for path in wrong]
        write_json(folder / SCRATCH / WAS, {name: facts["files"][name]["sha256"] for name in names})
        for path in wrong:
            path.unlink(missing_ok=True)
        folder.replace(partial)  # after a kill before this line, it is still a damaged folder
        sync(folder.parent)
        (partial / MANIFEST).unlink()
    return wrong


SPACE = "free some space or choose another folder"
NO_FOLDER = "there is a file in the folder's place", "move that file away or choose another folder"
DISK_ERRORS = {
    errno.ENOSPC: ("the disk is full", SPACE),
    errno.EDQUOT: ("the disk quota is used up", SPACE),
    errno.EFBIG: ("a file may not grow so large", "raise that limit or choose a folder on another file system"),
    errno.EROFS: ("the file system is read-only", "mount it for writing or choose another folder"),
    errno.EACCES: ("writing is not permitted", "change the permissions of that folder or choose another one"),
    errno.EEXIST: NO_FOLDER,
    errno.ENOTDIR: NO_FOLDER,
}


@contextmanager
def explain_disk_errors(place: Path) -> Iterator[None]:
    """Turn a full disk or a read-only folder into an error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        what, hint = DISK_ERRORS[error.errno]
        got, again = f"{error.filename or place}: {what}", "then run the same command: it resumes"
        raise UserError(got, hint=f"{hint}, {again}") from None


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Be the only process that works in a folder. The lock ends with the process, however that ends.

    Raises:
        BusyError: another process works there.
    """
    import filelock

    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise BusyError(f"another process is at work in {folder}", hint="wait for it to end, or stop it") from None
    try:
        yield
    finally:
        lock.release()
