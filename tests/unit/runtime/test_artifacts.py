"""Folders that are whole or not there: under failures, kills, full disks and other processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.errors import BusyError, DamageError, UserError
from asal.runtime import artifacts
from asal.runtime.artifacts import (
    MANIFEST,
    SCRATCH,
    building,
    exclusive,
    explain_disk_errors,
    fingerprint,
    is_complete,
    manifest,
    repair,
    verify,
)

FACTS = {"kind": "toy", "options": {"steps": 3}, "seed": 0}
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def fill(folder: Path, facts: dict[str, Any] | None = None, text: str = "weights") -> Path:
    with building(folder, facts or FACTS) as partial:
        (partial / "deep").mkdir(exist_ok=True)
        (partial / "a.txt").write_text(text)
        (partial / "deep" / "b.bin").write_bytes(bytes(range(256)))
    return folder


class Cut(BaseException):
    """Stands for a process that ends in the midst of its work."""


def begin(folder: Path, files: dict[str, str], facts: dict[str, Any] | None = None, *, sealed: bool = False) -> None:
    """Write some files of a folder, and be cut before it is whole."""
    with suppress(Cut), building(folder, facts or FACTS) as partial:
        for name, text in files.items():
            (partial / name).write_text(text)
        if sealed:
            artifacts.seal(partial, facts or FACTS)
        raise Cut


def partial_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


JSON = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.floats(allow_nan=False), max_size=3)
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, min_size=2, max_size=5), st.randoms())
def test_a_fingerprint_minds_no_order(facts: dict[str, Any], random: Any) -> None:
    items = list(facts.items())
    random.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(facts)
    name = items[0][0]
    assert fingerprint({**facts, name: [facts[name], "other"]}) != fingerprint(facts)


def test_a_fingerprint_is_the_same_for_ever() -> None:
    """Folders are named by it: a change here makes every prepared folder anew."""
    assert fingerprint({"a": 1, "b": [2.5, None, "é"], "c": {"d": Path("x")}}) == "7664b2c7e964"


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    with building(folder, FACTS) as partial:
        assert partial.is_dir()
        assert not folder.exists()
        (partial / "a.txt").write_text("x")
        (partial / SCRATCH / "checkpoint").write_text("work")
    assert is_complete(folder)
    assert names(folder) == ["a.txt", MANIFEST]
    assert not partial_of(folder).exists()
    said = manifest(folder)
    assert {key: said[key] for key in FACTS} == FACTS
    assert said["files"] == {
        "a.txt": {"sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "bytes": 1}
    }
    verify(folder)


def test_a_failure_leaves_the_work_for_the_next_attempt(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    begin(folder, {"half.txt": "half", f"{SCRATCH}/checkpoint": "step 20"})
    assert not folder.exists()
    with building(folder, dict(reversed(FACTS.items()))) as partial:
        assert (partial / "half.txt").read_text() == "half"
        assert (partial / SCRATCH / "checkpoint").read_text() == "step 20"
    assert names(folder) == ["half.txt", MANIFEST]


def test_work_on_other_facts_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    begin(folder, {"half.txt": "half"}, {**FACTS, "seed": 1})
    fill(folder)
    assert names(folder) == ["a.txt", "deep/b.bin", MANIFEST]


def test_work_that_does_not_say_what_on_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    begin(folder, {"stray.txt": "of what?"})
    (partial_of(folder) / SCRATCH / "facts.json").unlink()
    fill(folder)
    assert "stray.txt" not in names(folder)


@pytest.mark.parametrize("name", ["part", "part.partial"])
def test_a_folder_that_somebody_else_made_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="only folders that it made"):
        fill(tmp_path / "part")
    assert names(tmp_path) == [f"{name}/thesis.tex"]


@contextmanager
def cut_before(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the process before its change number so much of what folders hold, counted from 0."""
    left = iter(range(number))

    def ending(change: Any) -> Any:
        def changed(*words: Any, **more: Any) -> Any:
            if next(left, None) is None:
                raise Cut
            return change(*words, **more)

        return changed

    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "unlink", "remove", "rmdir"):
            patch.setattr(os, name, ending(getattr(os, name)))
        yield


def test_a_kill_before_any_change_leaves_what_the_next_attempt_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing there, or a whole folder of before and a half-made one of something else."""
    cuts = 0
    for old in (False, True):
        for number in range(1000):
            folder, ended = tmp_path / f"{old}-{number}" / "part", False
            if old:
                fill(folder, {**FACTS, "seed": 1}, "old")
                begin(folder, {"stray.txt": "of something else"}, {**FACTS, "seed": 2})
            try:
                with cut_before(number, monkeypatch):
                    fill(folder)
            except Cut:
                ended = True
            assert names(fill(folder)) == ["a.txt", "deep/b.bin", MANIFEST], f"cut before change {number}"
            verify(folder)
            assert [path.name for path in folder.parent.iterdir()] == ["part"]
            if not ended:
                break
            cuts += 1
    assert cuts > 20


def test_a_kill_after_the_manifest_still_finds_the_scratch(tmp_path: Path) -> None:
    """Sealing hashes gigabytes: whoever is killed meanwhile must not have lost the checkpoint."""
    folder = tmp_path / "part"
    begin(folder, {"a.txt": "x", f"{SCRATCH}/checkpoint": "step 900"}, sealed=True)
    assert not is_complete(folder)
    with building(folder, FACTS) as partial:
        assert (partial / SCRATCH / "checkpoint").read_text() == "step 900"
        (partial / "b.txt").write_text("y")
    assert set(manifest(folder)["files"]) == {"a.txt", "b.txt"}


def test_a_whole_folder_stays_until_its_successor_is_whole(tmp_path: Path) -> None:
    folder = fill(tmp_path / "part")
    with pytest.raises(ZeroDivisionError), building(folder, FACTS):
        raise ZeroDivisionError
    verify(folder)
    assert (fill(folder, text="newer") / "a.txt").read_text() == "newer"
    verify(folder)


def test_what_a_killed_write_left_behind_is_no_part_of_the_folder(tmp_path: Path) -> None:
    with building(tmp_path / "part", FACTS) as partial:
        (partial / "a.txt").write_text("x")
        (partial / ".a.txt.4711").write_text("ha")
    assert set(manifest(tmp_path / "part")["files"]) == {"a.txt"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "it is missing"),
        (cut, "it has 255 bytes and was written with 256"),
        (flip, "sha256 is not the one"),
    ],
)
def test_a_damaged_file_is_found_and_the_remedy_is_its_folders(harm: Any, said: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "part")
    harm(folder / "deep" / "b.bin")
    with pytest.raises(DamageError, match=said) as caught:
        verify(folder)
    assert str(folder / "deep" / "b.bin") in caught.value.got
    assert caught.value.hint.startswith(f"run `asal doctor {folder} --repair`")


@pytest.mark.parametrize("harm", [Path.unlink, cut, flip])
def test_a_mended_folder_is_filled_again_by_what_is_missing(harm: Any, tmp_path: Path) -> None:
    folder = fill(tmp_path / "part")
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}
    assert repair(folder) == [] and is_complete(folder)
    harm(folder / "deep" / "b.bin")
    assert repair(folder) == [folder / "deep" / "b.bin"] and not folder.exists()
    facts = {key: value for key, value in json.loads(before[folder / MANIFEST][0]).items() if key != "files"}
    del facts["format"]
    with building(folder, facts) as partial:
        assert (partial / "a.txt").exists() and not (partial / "deep" / "b.bin").exists()
        (partial / "deep" / "b.bin").write_bytes(before[folder / "deep" / "b.bin"][0])
    verify(folder)
    assert {path: path.read_bytes() for path in before} == {path: content for path, (content, _) in before.items()}
    assert (folder / "a.txt").stat().st_ino == before[folder / "a.txt"][1], "what was right is not made again"


def test_a_large_folder_is_checked_by_its_sizes(tmp_path: Path) -> None:
    folder = fill(tmp_path / "part")
    flip(folder / "deep" / "b.bin")
    verify(folder, contents_up_to=100)
    cut(folder / "deep" / "b.bin")
    with pytest.raises(DamageError):
        verify(folder, contents_up_to=100)


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "part")
    said = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**said, "format": 99}))
    with pytest.raises(UserError, match=r"has format 99; .* reads folders of format 1"):
        verify(folder)


@pytest.mark.parametrize("text", ["{", "[1]", "", "\udc80"])
def test_a_manifest_that_is_no_json_is_damage(text: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "part")
    (folder / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamageError, match=r"part\.json") as caught:
        verify(folder)
    assert str(folder) in caught.value.hint


def test_readers_see_the_old_bytes_or_the_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    texts = [bytes([letter]) * 30_000 for letter in b"ab"]
    artifacts.write(path, texts[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(40):
        artifacts.write(path, texts[i % 2])
    done.set()
    reader.join()
    assert seen <= set(texts)
    assert names(tmp_path) == ["rows.json"]


def test_facts_are_written_readably(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "x.json", {"größe": 3, "where": Path("/a")})
    assert (tmp_path / "x.json").read_text() == '{\n "größe": 3,\n "where": "/a"\n}\n'
    assert artifacts.read_json(tmp_path / "x.json") == {"größe": 3, "where": "/a"}


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Let what is about to be written to this path go to a device that is always full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asal.runtime.artifacts.secrets.token_hex", lambda n: "0" * 2 * n)
        scratch = artifacts.unfinished(path)
        scratch.symlink_to(FULL)
        yield
    assert not scratch.is_symlink(), "the scratch file is cleared away"


@needs_full
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    artifacts.write(path, b"old")
    with full_disk(path), pytest.raises(OSError, match="No space left"):
        artifacts.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["rows.json"]


@needs_full
@pytest.mark.parametrize("name", ["weights.bin", f"{SCRATCH}/facts.json", MANIFEST])
def test_a_full_disk_is_said_and_nothing_is_lost(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "part"
    begin(folder, {"half.txt": "half"})

    def finish() -> None:
        with building(folder, FACTS) as partial:
            assert (partial / "half.txt").read_text() == "half"
            artifacts.write(partial / "weights.bin", b"1" * 10_000)

    with full_disk(partial_of(folder) / name), pytest.raises(UserError, match="the disk is full") as caught:
        finish()
    assert "it resumes" in caught.value.hint
    assert not folder.exists()
    finish()
    verify(folder)


@contextmanager
def read_only() -> Iterator[Path]:
    """Give a folder in which this process may not write, be it root's or not."""
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(home)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(home, 0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no users as POSIX does")
def test_a_read_only_folder_is_said() -> None:
    assert filelock  # loaded before rights are given up
    with read_only() as home:
        with pytest.raises(UserError, match="writing is not permitted") as caught:
            fill(home / "part")
        assert str(home) in caught.value.got
        with pytest.raises(UserError, match="writing is not permitted"), exclusive(home):
            pass
        with pytest.raises(UserError, match="writing is not permitted"), exclusive(home / "new"):
            pass
        assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some space"), (errno.EFBIG, "raise that limit"),
        (errno.EACCES, "change the permissions"), (errno.EROFS, "mount it for writing"),
        (errno.EEXIST, "move that file away"), (errno.ENOTDIR, "move that file away"),
    ],
)  # fmt: skip
def test_each_failure_of_the_disk_has_its_own_hint(tmp_path: Path, code: int, hint: str) -> None:
    with pytest.raises(UserError) as caught, explain_disk_errors(tmp_path):
        raise OSError(code, "failed", str(tmp_path))
    assert caught.value.hint.startswith(hint) and caught.value.hint.endswith("it resumes")


def test_other_failures_of_the_system_are_not_mistaken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explain_disk_errors(tmp_path):
        (tmp_path / "nothing").read_bytes()
    with pytest.raises(IsADirectoryError), explain_disk_errors(tmp_path):
        tmp_path.read_bytes()


HOLDER = """
import sys, time
from pathlib import Path
from asal.runtime.artifacts import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_one_process_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="another process is at work"), exclusive(folder):
            pass
        with exclusive(tmp_path / "another project"):
            pass
        holder.kill()
    with exclusive(folder):
        pass


def test_a_folder_is_let_go_after_a_failure_and_held_within_a_process(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with exclusive(tmp_path), pytest.raises(BusyError), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass
