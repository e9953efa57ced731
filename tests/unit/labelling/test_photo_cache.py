"""Photographs on the disk: kept within a limit, and missed by nobody when they are deleted."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from asal.labelling import photo_cache
from asal.labelling.photo_cache import PhotoCache


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep one file in memory, so that the disk is what is tested."""
    monkeypatch.setattr(photo_cache, "IN_MEMORY", 1)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_another_process_finds_what_was_written(tmp_path: Path) -> None:
    cache = PhotoCache(tmp_path / "photos")
    assert cache.read("a-1-256") is None and not cache.has("a-1-256")
    cache.write("a-1-256", b"one")
    cache.write("a-2-256", b"two")
    for each in (cache, PhotoCache(tmp_path / "photos")):
        assert each.has("a-1-256") and each.read("a-1-256") == b"one" and each.read("a-2-256") == b"two"
    assert names(tmp_path / "photos") == ["a-1-256", "a-2-256"]


def test_the_oldest_go_first_also_those_of_an_earlier_server(tmp_path: Path) -> None:
    before = PhotoCache(tmp_path, most=100)
    for number in range(3):
        before.write(f"{number}", bytes(30))
        os.utime(tmp_path / f"{number}", (number, number))
    now = PhotoCache(tmp_path, most=100)
    now.write("3", bytes(30))
    assert names(tmp_path) == ["1", "2", "3"]
    now.write("4", bytes(99))
    assert names(tmp_path) == ["4"]
    now.write("5", bytes(999))
    assert names(tmp_path) == ["5"], "one is always kept"


def test_it_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    cache = PhotoCache(folder, most=100)
    cache.write("1", bytes(60))
    cache.write("2", b"x")
    shutil.rmtree(folder)
    assert cache.read("1") is None and cache.read("2") == b"x"
    cache.write("3", bytes(60))
    assert names(folder) == ["3"]
    (folder / "3").write_bytes(b"")
    cache.write("4", b"y")
    assert cache.read("3") is None, "an empty file, as a power cut leaves, is none"


def test_where_nothing_can_be_written_memory_is_enough(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file" / "photos", None):
        cache = PhotoCache(folder)
        cache.write("1", b"one")
        assert cache.read("1") == b"one"
        cache.write("2", b"two")
        assert cache.read("1") is None and cache.read("2") == b"two"
    assert names(tmp_path) == ["file"]


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    cache = PhotoCache(tmp_path)
    monkeypatch.setattr(photo_cache.shutil, "disk_usage", lambda _: Usage(photo_cache.SPARED))
    cache.write("1", b"one")
    assert names(tmp_path) == [] and cache.read("1") == b"one"
    monkeypatch.setattr(photo_cache.shutil, "disk_usage", lambda _: Usage(photo_cache.SPARED + 3))
    cache.write("1", b"one")
    assert names(tmp_path) == ["1"]


def test_what_a_killed_process_left_is_deleted_once_it_is_old(tmp_path: Path) -> None:
    (tmp_path / ".1.7-abc.partial").write_bytes(b"half")
    (tmp_path / ".2.8-def.partial").write_bytes(b"half")
    os.utime(tmp_path / ".1.7-abc.partial", (time.time() - 9_999,) * 2)
    PhotoCache(tmp_path).write("3", b"three")
    assert names(tmp_path) == [".2.8-def.partial", "3"]


def test_many_threads_and_servers_share_it(tmp_path: Path) -> None:
    caches, failures = [PhotoCache(tmp_path, most=2_000) for _ in range(2)], list[Any]()

    def work(number: int) -> None:
        for turn in range(60):
            name = f"{turn % 7}"
            caches[number % 2].write(name, name.encode() * 300)
            data = caches[(number + 1) % 2].read(name)
            if data not in (None, name.encode() * 300):
                failures.append((name, data))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and all(not name.startswith(".") for name in names(tmp_path))
