"""`asal add` knows images by their content: moved, renamed, copied, repaired and changed files."""

from __future__ import annotations

import csv
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from asal.data import moves
from asal.data.duplicates import HASHES, copies_of, hashes_of, report
from asal.data.moves import aliases
from asal.project.project import Project
from asal.runtime import artifacts
from asal.session.class_changes import ClassChange
from asal.session.events import Event, Record
from asal.session.state import State, fold


def picture(path: Path, seed: int, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(path)


def project(home: Path, label: str = "folder", more: str = "", size: int = 8) -> Path:
    """Return a project over HOME/images, which has not been prepared."""
    root = home / "project"
    root.mkdir()
    text = f'name = "p"\n[source]\nkind = "folder"\npath = "{home / "images"}"\nlabel = "{label}"\n'
    text += f'[pool]\nsize = {size}\n{more}[learner]\nkind = "linear"\n[strategies.random]\n'
    (root / "asal.toml").write_text(text + "[protocol]\ninitial = 2\nbatch = 2\nbudget = 8\n")
    return root


@pytest.fixture
def cats(tmp_path: Path) -> tuple[Path, Path]:
    """Return six cats, six dogs, and their project, taken in."""
    for number in range(6):
        picture(tmp_path / "images" / "cat" / f"{number}.png", number)
        picture(tmp_path / "images" / "dog" / f"{number}.png", 100 + number)
    root = project(tmp_path)
    Project.open(root).ingest()
    return tmp_path / "images", root


def keys(root: Path) -> list[str]:
    pool = Project.open(root).pool
    return list(pool.keys(np.arange(len(pool))))


def label_of(root: Path, key: str) -> str:
    opened = Project.open(root)
    oracle = opened.oracle("pool")
    return oracle.classes[int(oracle.answer(np.array([keys(root).index(key)]))[0])]


def test_a_moved_file_is_told_and_offers_a_correction(cats: tuple[Path, Path], asal: Callable[..., Any]) -> None:
    images, root = cats
    before = keys(root)
    shutil.move(images / "cat" / "3.png", images / "dog" / "was_cat_3.png")
    said = asal("add", root)
    assert said.code == 0 and "0 new images; 12 known. Nothing has changed." in said.out
    assert "1 file was moved or renamed: cat/3.png → dog/was_cat_3.png, class cat → dog" in said.out
    assert "asal add --take-corrections" in said.out
    assert keys(root) == before and label_of(root, "cat/3.png") == "cat", "nothing changes silently"
    assert aliases(root) == {"dog/was_cat_3.png": before.index("cat/3.png")}
    with (root / "additions" / "moved.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"key": "cat/3.png", "label": "dog", "was": "cat", "now_at": "dog/was_cat_3.png"}
        ]
    assert "moved or renamed" not in (again := asal("add", root).out) and "1 label differs" in again
    said = asal("add", root, "--take-corrections")
    assert "1 stored label corrected" in said.out and label_of(root, "cat/3.png") == "dog"
    assert "label differs" not in asal("add", root).out
    shutil.move(images / "dog" / "was_cat_3.png", images / "cat" / "3.png")
    asal("add", root, "--take-corrections")
    assert label_of(root, "cat/3.png") == "cat", "moved back"
    assert asal("doctor", root).code == 0


def test_a_correction_is_an_event_where_somebody_has_answered(cats: tuple[Path, Path]) -> None:
    images, root = cats
    number = {key: image for image, key in enumerate(keys(root))}
    session = Project.open(root).session("random")
    batch = session.ask(12)
    session.tell({int(image): 0 if keys(root)[image].startswith("cat") else 1 for image in batch.ids}, by="Ada")
    session.record.close()
    shutil.move(images / "cat" / "3.png", images / "dog" / "3b.png")
    (images / "cat" / "4.png").rename(images / "cat" / "four.png")
    opened = Project.open(root)
    added = opened.add()
    assert [found[:2] for found in added.found.moved] == [("cat/4.png", "cat/four.png"), ("cat/3.png", "dog/3b.png")]
    taken = opened.take_corrections(added)
    assert (taken.stored, taken.answers) == (1, 1)
    with Record.open(root / "labels.db") as record:
        events = record.read()
    last: Event = events[-1]
    assert (last.kind, last.image, last.label, dict(last.body)) == (
        "corrected", number["cat/3.png"], 1, {"file": "dog/3b.png"},
    )  # fmt: skip
    state = fold(State(), events)
    assert state.answers[number["cat/3.png"]] == 1 and state.answers[number["cat/4.png"]] == 0
    assert opened.take_corrections(opened.add()).answers == 0


def test_a_correction_follows_classes_that_were_renamed_and_added(cats: tuple[Path, Path]) -> None:
    images, root = cats
    number = {key: image for image, key in enumerate(keys(root))}
    session = Project.open(root).session("random")
    batch = session.ask(12)
    session.change_classes(ClassChange("add", ("fox",)))
    session.tell({int(image): "fox" if keys(root)[image] == "cat/3.png" else "cat" for image in batch.ids})
    session.change_classes(ClassChange("rename", ("cat",), "animal"))
    session.change_classes(ClassChange("rename", ("dog",), "cat"))
    session.record.close()
    shutil.move(images / "cat" / "3.png", images / "dog" / "3b.png")
    shutil.move(images / "dog" / "4.png", images / "cat" / "4b.png")
    opened = Project.open(root)
    assert opened.take_corrections(opened.add()).answers == 1  # what is in the folder `cat` was `animal` already
    with Record.open(root / "labels.db") as record:
        state = fold(State(), record.read())
    assert state.answers[number["cat/3.png"]] == 1 and state.answers[number["dog/4.png"]] == 0


def test_a_copy_in_a_second_class_contradicts_and_is_not_taken(
    cats: tuple[Path, Path], asal: Callable[..., Any]
) -> None:
    images, root = cats
    shutil.copy(images / "cat" / "1.png", images / "dog" / "copy.png")
    Image.open(images / "cat" / "2.png").save(images / "cat" / "again.bmp")  # the same pixels in another format
    said = asal("add", root).out
    assert "0 new images; 14 known" in said and "2 files are copies of images that the project has" in said
    assert "cat/1.png = dog/copy.png, class cat → dog" in said and "cat/2.png = cat/again.bmp" in said
    assert "1 image of the project has files in several classes" in said and "label differs" not in said
    assert len(keys(root)) == 12 and label_of(root, "cat/1.png") == "cat"
    (images / "cat" / "1.png").unlink()  # now the folders agree
    assert "1 label differs" in asal("add", root).out


def test_new_and_moved_files_come_together(cats: tuple[Path, Path]) -> None:
    images, root = cats
    shutil.move(images / "cat" / "0.png", images / "dog" / "a.png")
    for number in range(3):
        picture(images / "dog" / f"b{number}.png", 500 + number)
    (images / "dog" / "c.png").write_bytes(b"\x89PNG")
    added = Project.open(root).add()
    assert (added.new, added.known, added.unreadable) == (3, 12, 1)
    assert keys(root)[12:] == ["dog/b0.png", "dog/b1.png", "dog/b2.png"]
    addition = root / "additions" / "0001"
    harmed = addition / "images" / "00000.npy"
    right = harmed.read_bytes()
    harmed.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    from asal.project import status

    assert status.repair(root) == [harmed]
    Project.open(root).add()
    assert harmed.read_bytes() == right, "it is made again without the moved file"


def test_an_image_of_the_test_set_does_not_enter_the_pool(tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / "images" / ("cat", "dog")[number % 2] / f"{number}.png", number)
    root = project(tmp_path, more="[pool.split]\ntest = 6\n")
    Project.open(root).ingest()
    held = Project.open(root).test.keys(np.arange(6))
    (tmp_path / "images" / held[0]).rename(tmp_path / "images" / "cat" / "renamed.png")
    added = Project.open(root).add()
    assert added.new == 0 and added.found.moved[0][:2] == (held[0], "cat/renamed.png")
    assert aliases(root) == {} and [alias.part for alias in moves.read_aliases(root)] == ["test"]


def test_repaired_files_are_taken_in_behind_the_others(cats: tuple[Path, Path], asal: Callable[..., Any]) -> None:
    images, root = cats
    (images / "cat" / "half.png").write_bytes((images / "cat" / "1.png").read_bytes()[:150])
    (images / "dog" / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    (images / "dog" / "empty.png").write_bytes(b"")
    said = asal("add", root)
    assert said.code == 0 and "0 new images; 12 known" in said.out and "3 files cannot be read" in said.out
    assert len(keys(root)) == 12 and not (root / "additions" / "0001").exists()
    picture(images / "dog" / "lfs.png", 77)
    shutil.copy(images / "cat" / "1.png", images / "cat" / "half.png")  # repaired: and it is a copy
    said = asal("add", root).out
    assert "1 new image; 14 known" in said and "1 file that could not be read before was taken in: dog/lfs.png" in said
    assert "1 file cannot be read" in said and keys(root)[12:] == ["dog/lfs.png"]
    assert moves.unreadable_now(root) is not None and list(moves.unreadable_now(root) or ()) == ["dog/empty.png"]
    assert aliases(root) == {"cat/half.png": keys(root).index("cat/1.png")}


def test_status_counts_what_cannot_be_read_now(tmp_path: Path, asal: Callable[..., Any]) -> None:
    for number in range(4):
        picture(tmp_path / "images" / f"{number}.png", number)
    (tmp_path / "images" / "a.png").write_bytes(b"")
    (tmp_path / "images" / "b.png").write_bytes(b"")
    root = project(tmp_path, label="none")
    Project.open(root).ingest()
    assert "2 unreadable" in asal("status", root).out
    picture(tmp_path / "images" / "a.png", 9)
    assert "1 new image" in asal("add", root).out
    assert "1 unreadable" in (text := asal("status", root).out) and "2 unreadable" not in text


def test_other_content_under_the_same_name_is_told_and_not_taken(cats: tuple[Path, Path]) -> None:
    images, root = cats
    before = Project.open(root).pool.read(np.arange(12))
    picture(images / "cat" / "2.png", 999)
    os.utime(images / "dog" / "4.png", (time.time() + 9, time.time() + 9))  # touched: the same image
    added = Project.open(root).add()
    assert added.new == 0 and added.found.changed == ("cat/2.png",)
    assert "cat/2.png" in " ".join(added.lines) and "pool keeps" in " ".join(added.lines)
    assert np.array_equal(Project.open(root).pool.read(np.arange(12)), before)


def test_a_pool_of_an_earlier_version_goes_on_without_hashes(cats: tuple[Path, Path]) -> None:
    images, root = cats
    as_before(root / "pool")
    assert hashes_of(root / "pool") is None and report(root).unknown
    shutil.move(images / "cat" / "3.png", images / "dog" / "was_cat_3.png")
    picture(images / "dog" / "new.png", 55)
    added = Project.open(root).add()
    assert added.new == 2, "what an image was is not known there"
    receipt = root / "pool" / "receipts" / "00000.json"
    right = receipt.read_bytes()
    receipt.write_bytes(right[:-1])
    from asal.project import status

    shutil.move(images / "dog" / "was_cat_3.png", images / "cat" / "3.png")
    (images / "dog" / "new.png").unlink()
    assert status.repair(root) == [receipt]
    Project.open(root).ingest()
    assert receipt.read_bytes() == right and not (root / "pool" / HASHES).exists()


def as_before(folder: Path) -> None:
    """Make a pool folder what an earlier version wrote."""
    receipt = folder / "receipts" / "00000.json"
    facts = artifacts.read_json(receipt)
    artifacts.write_json(receipt, {"keys": facts["keys"], "skipped": facts["skipped"]})
    for name in ("hashes.npy", "copies.npy", "duplicates.csv"):
        (folder / name).unlink()
    manifest = {key: value for key, value in artifacts.manifest(folder).items() if key not in ("files", "format")}
    artifacts.seal(folder, manifest)


EDITS = ("move", "rename", "copy", "replace", "break", "repair", "new", "delete")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_happens_to_the_files_no_image_is_there_twice_and_none_is_lost(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, rng, count = tmp_path_factory.mktemp("edits"), random.Random(seed), 0
    images = home / "images"

    def fresh(path: Path) -> None:
        nonlocal count
        count += 1
        picture(path, 10_000 + count)

    for number in range(8):
        fresh(images / ("cat", "dog")[number % 2] / f"{number}.png")
    root = project(home)
    Project.open(root).ingest()
    for _ in range(3):
        before = contents(root)
        for edit in rng.choices(EDITS, k=4):
            apply(edit, images, rng, fresh)
        added = Project.open(root).add()
        now = contents(root)
        assert now[: len(before)] == before, "an id changed its image"
        copies = len(copies_of(root))  # within one addition they are kept, and listed
        assert len({pixels for _, pixels in now}) == len(now) - copies, "an image is in the pool twice"
        there = {pixels for _, pixels in now}
        for file in sorted(images.rglob("*.png")):
            pixels = read(file)
            key = file.relative_to(images).as_posix()
            assert pixels is None or pixels in there or key in added.found.changed, f"{key} is lost"
        named = aliases(root)
        for key, image in named.items():
            file = images / key
            if file.exists() and key not in added.found.changed and (pixels := read(file)) is not None:
                assert now[image][1] == pixels, f"{key} names another image"


def contents(root: Path) -> list[tuple[str, bytes]]:
    pool = Project.open(root).pool
    ids = np.arange(len(pool))
    return list(zip(pool.keys(ids), [image.tobytes() for image in pool.read(ids)], strict=True))


def read(file: Path) -> bytes | None:
    try:
        with Image.open(file) as image:
            return image.convert("RGB").tobytes()
    except OSError:
        return None


def apply(edit: str, images: Path, rng: random.Random, fresh: Callable[[Path], None]) -> None:
    files = sorted(images.rglob("*.png"))
    some, name = rng.choice(files), f"{rng.randrange(10**9)}.png"
    other = images / ("dog" if some.parent.name == "cat" else "cat") / name
    if edit == "move":
        some.rename(other)
    elif edit == "rename":
        some.rename(some.with_name(name))
    elif edit == "copy":
        shutil.copy(some, rng.choice([other, some.with_name(name)]))
    elif edit == "replace":
        fresh(some)
    elif edit == "break":
        some.with_name(f"broken-{name}").write_bytes(b"\x89PNG")
    elif edit == "repair":
        for broken in images.rglob("broken-*"):
            fresh(broken)
    elif edit == "new":
        fresh(other)
    elif len(files) > 4:
        some.unlink()
