"""Files that came, went or moved after images were taken in: nothing is refused that harms nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asal.data.ingest import Split, ingest
from asal.data.pool import StoredPool
from asal.data.sources.folder import Folder
from asal.errors import UserError
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import artifacts
from asal.session.oracles.stored import Stored

TEXT = """# mine
name = "p"

[source]   # where they lie
kind = "folder"
path = {path}   # the first disk

[pool]
size = 16
[learner]
kind = "linear"
[protocol]
initial = 4
batch = 4
budget = 12
[strategies.random]
"""


def draw(folder: Path, numbers: range, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for number in numbers:
        for name in ("cat", "dog"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def at(tmp_path: Path, asal: Any) -> tuple[Path, Path]:
    """Return a folder of 24 images and a project of them, side by side."""
    images, root = draw(tmp_path / "home" / "images", range(12)), tmp_path / "home" / "p"
    root.mkdir()
    (root / "asal.toml").write_text(TEXT.format(path=json.dumps(str(images))))
    assert asal("prepare", root).code == 0
    return images, root


def held(root: Path) -> dict[str, tuple[str, bytes]]:
    pool, labels = StoredPool.open(root / "pool"), Stored.open(root / "pool")
    ids = np.arange(len(pool))
    classes = [labels.classes[label] for label in labels.answer(ids)]
    images = pool.read(ids)
    return {key: (classes[i], images[i].tobytes()) for i, key in enumerate(pool.keys(ids))}


def test_files_that_went_stay_in_the_pool_and_are_told(at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    before = held(root)
    (images / "cat" / "3.png").unlink()
    (images / "dog" / "4.png").rename(images / "dog" / "four.png")
    said = asal("prepare", root)
    assert said.code == 0 and "2 files of the project are no longer in the source (cat/3.png, …)" in said.out
    assert "1 new file (dog/four.png): `asal add` takes it in." in said.out
    assert asal("prepare", root, "--dry-run").code == 0 and held(root) == before
    assert "dog/4.png → dog/four.png" in asal("add", root).out
    draw(images, range(30, 31))
    said = asal("prepare", root)
    assert "1 file of the project is no longer in the source (cat/3.png): its image stays" in said.out
    assert "2 new files (cat/30.png, …): `asal add` takes them in." in said.out


def test_what_a_system_leaves_and_what_was_unreadable_changes_nothing(at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    (images / "cat" / "Thumbs.db").write_bytes(b"x")
    (images / "dog" / "@eaDir").mkdir()
    (images / "dog" / "@eaDir" / "0.png").write_bytes(b"x")
    said = asal("prepare", root)
    assert said.code == 0 and "new file" not in said.out and "no longer" not in said.out


def test_a_pool_that_listed_a_systems_file_as_unreadable_stands(tmp_path: Path) -> None:
    images = draw(tmp_path / "images", range(4))
    (images / "cat" / "bad.png").write_bytes(b"x")
    ingest(Folder(str(images)), tmp_path / "p", size=16)
    (images / "cat" / "bad.png").unlink()
    ingest(Folder(str(images)), tmp_path / "p", size=16)


@pytest.mark.parametrize("how", ["edited", "moved", "relative", "project and images"])
def test_images_and_projects_may_be_moved(how: str, at: tuple[Path, Path], asal: Any, tmp_path: Path) -> None:
    images, root = at
    before = held(root)
    file = root / "asal.toml"
    if how == "project and images":
        file.write_text(file.read_text().replace(json.dumps(str(images)), '"../images"'))
        assert asal("prepare", root).code == 0
        shutil.move(tmp_path / "home", tmp_path / "other")
        root = tmp_path / "other" / "p"
        said = asal("prepare", root)
        assert said.code == 0 and "lie at" not in said.out
    else:
        place = tmp_path / "disk 2" / "photos"
        place.parent.mkdir()
        shutil.move(images, place)
        if how == "moved":
            assert asal("move-images", root, place).code == 0
            assert file.read_text() == TEXT.format(path=json.dumps(str(place))), "the rest of the file is as it was"
        elif how == "edited":
            file.write_text(TEXT.format(path=json.dumps(str(place))))
        else:
            file.write_text(TEXT.format(path='"../../disk 2/photos"'))
        said = asal("prepare", root)
        assert said.code == 0 and (how == "moved") == ("The images lie at" not in said.out)
    said = asal("prepare", root)
    assert said.code == 0 and "The images lie at" not in said.out, "it is told once"
    assert "0 new images; 24 known" in asal("add", root).out and held(root) == before


def test_another_folder_is_not_the_images(at: tuple[Path, Path], asal: Any, tmp_path: Path) -> None:
    _, root = at
    text = (root / "asal.toml").read_text()
    names = draw(tmp_path / "same names", range(12), seed=5)
    files = draw(tmp_path / "others", range(50, 60))
    asal("move-images", root, files).refused("of 24 files of the project, 0 are there")
    asal("move-images", root, names).refused("of 12 files that were compared, 0 show")
    asal("move-images", root, tmp_path / "nothing").refused("nothing at")
    assert (root / "asal.toml").read_text() == text
    (root / "asal.toml").write_text(TEXT.format(path=json.dumps(str(names))))
    asal("prepare", root).refused("asal move-images")
    asal("add", root).refused("asal move-images")
    (root / "asal.toml").write_text(text)
    assert asal("prepare", root).code == 0 and not (root / "additions").exists()


def test_a_source_of_another_kind_is_moved(tmp_path: Path, asal: Any) -> None:
    x = np.random.default_rng(0).integers(0, 255, (12, 8, 8), np.uint8)
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(12) % 2)
    root = tmp_path / "p"
    root.mkdir()
    spec = TEXT.replace('"folder"', '"arrays"')
    (root / "asal.toml").write_text(spec.format(path=json.dumps(str(tmp_path / "set.npz"))))
    assert asal("prepare", root).code == 0
    (tmp_path / "far").mkdir()
    (tmp_path / "set.npz").rename(tmp_path / "far" / "renamed.npz")
    np.savez(tmp_path / "other.npz", x=x[::-1], y=np.arange(12) % 2)
    asal("move-images", root, tmp_path / "other.npz").refused("is another file or folder")
    assert asal("move-images", root, tmp_path / "far" / "renamed.npz").code == 0
    assert load(root).source.options["path"] == "../far/renamed.npz"
    said = asal("prepare", root)
    assert said.code == 0 and "lie at" not in said.out


def test_a_relative_path_of_old_is_still_of_the_working_directory(
    tmp_path: Path, asal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "images", range(6))
    (tmp_path / "deep" / "p").mkdir(parents=True)
    (tmp_path / "deep" / "p" / "asal.toml").write_text(TEXT.format(path='"images"'))
    assert asal("prepare", "deep/p").code == 0
    assert "lie at" not in asal("prepare", "deep/p").out


def test_originals_are_found_after_a_move(at: tuple[Path, Path], asal: Any, tmp_path: Path) -> None:
    images, root = at
    session = Project.open(root).session("random")
    batch = session.ask(4)
    session.tell(dict.fromkeys(batch.ids.tolist(), 0))
    session.record.close()
    shutil.move(images, tmp_path / "home" / "elsewhere")
    assert asal("move-images", root, tmp_path / "home" / "elsewhere").code == 0
    assert asal("export", root, tmp_path / "out", "--as", "folders", "--originals").code == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4


def test_parts_of_two_lists_are_refused_and_each_remedy_helps(tmp_path: Path) -> None:
    images, root = draw(tmp_path / "images", range(20)), tmp_path / "p"
    split = Split(test=10)
    ingest(Folder(str(images)), root, split, size=16)
    shutil.rmtree(root / "test")
    (images / "cat" / "3.png").rename(tmp_path / "away.png")
    draw(images, range(90, 91))
    with pytest.raises(UserError, match="the source has changed since"):
        ingest(Folder(str(images)), root, split, size=16)
    (tmp_path / "away.png").rename(images / "cat" / "3.png")
    for name in ("cat", "dog"):
        (images / name / "90.png").unlink()
    ingest(Folder(str(images)), root, split, size=16)
    keys = [set(StoredPool.open(root / name).keys(np.arange(n))) for name, n in (("pool", 30), ("test", 10))]
    assert not keys[0] & keys[1] and len(keys[0] | keys[1]) == 40
    draw(images, range(90, 91))
    shutil.rmtree(root / "test")
    shutil.rmtree(root / "pool")
    ingest(Folder(str(images)), root, split, size=16)


def test_a_repaired_pool_is_made_again_though_files_came_and_the_images_moved(
    at: tuple[Path, Path], asal: Any, tmp_path: Path
) -> None:
    images, root = at
    before = held(root)
    shard = root / "pool" / "images" / "00000.npy"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert asal("doctor", root, "--repair").code == 0
    draw(images, range(100, 102))
    (images / "cat" / "00.png").write_bytes((images / "cat" / "0.png").read_bytes())  # which comes before all others
    shutil.move(images, tmp_path / "moved")
    (root / "asal.toml").write_text(TEXT.format(path=json.dumps(str(tmp_path / "moved"))))
    assert asal("prepare", root).code == 0
    assert held(root) == before


def test_old_pools_of_a_tree_that_is_read_otherwise_now_stand(
    tmp_path: Path, asal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, root = tmp_path / "images", tmp_path / "p"
    for name in ("bus", "car", "train"):
        shutil.copytree(draw(tmp_path / "two", range(3)) / "cat", images / name)
    ingest(Folder(str(images), layout="classes"), root, size=16)
    manifest = artifacts.manifest(root / "pool")
    del manifest["options"]["source"]["layout"]  # as it was written before there was such an option
    (root / "pool" / "part.json").write_text(json.dumps(manifest))
    (root / "asal.toml").write_text(TEXT.format(path=json.dumps(str(images))))
    assert asal("prepare", root).code == 0
    asal("add", root).refused("not clear whether 'train' is a split or a class", "layout")
    text = (root / "asal.toml").read_text().replace('kind = "folder"', 'kind = "folder"\nlayout = "classes"')
    (root / "asal.toml").write_text(text)
    assert "0 new images; 9 known" in asal("add", root).out and asal("prepare", root).code == 0


def test_init_says_what_it_found_and_writes_the_splits(tmp_path: Path, asal: Any) -> None:
    for part in ("Train", "Val", "Test"):
        draw(tmp_path / "images" / part, range(3))
    said = asal("init", "--no-estimate", tmp_path / "p", "--images", tmp_path / "images", "--size", 16)
    assert "found 18 images, 2 classes, 3 splits:" in said.out and "train: 6 images: cat 3, dog 3" in said.out
    spec = load(tmp_path / "p")
    assert (spec.pool.split.validation, spec.pool.split.test) == ("val", "test")
    assert spec.source.options == {"path": "../images"}


def test_init_asks_where_two_readings_are_possible(tmp_path: Path, asal: Any) -> None:
    for name in ("bus", "car", "train"):
        shutil.copytree(draw(tmp_path / "two", range(3)) / "cat", tmp_path / "images" / name)
    said = asal("init", "--no-estimate", tmp_path / "p", "--images", tmp_path / "images", "--size", 16)
    assert said.code == 0 and "not clear whether 'train'" in said.out and "choose `layout`" in said.out
    asal("prepare", tmp_path / "p").refused("not clear whether 'train'", 'layout = "classes"')
    assert not (tmp_path / "p" / "pool").exists()
    file = tmp_path / "p" / "asal.toml"
    file.write_text(file.read_text().replace('# layout = "classes"', 'layout = "classes"'))
    assert load(tmp_path / "p").source.options["layout"] == "classes"
    ingest_only: Callable[[], None] = Project.open(tmp_path / "p").ingest
    ingest_only()
    assert Stored.open(tmp_path / "p" / "pool").classes == ("bus", "car", "train")
    said = asal(
        "init", "--no-estimate", tmp_path / "q", "--images", tmp_path / "images", "--size", 16, "--layout", "classes"
    )
    assert load(tmp_path / "q").source.options["layout"] == "classes" and "3 classes" in said.out
    asal("init", tmp_path / "r", "--images", tmp_path / "images", "--layout", "clases").refused("layout")


def test_held_out_images_without_labels_of_the_pool_are_no_test_set(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "train", range(3))
    draw(tmp_path / "two", range(3))
    shutil.copytree(tmp_path / "two" / "cat", tmp_path / "images" / "test" / "unknown")
    with pytest.raises(UserError, match="its classes are 'unknown'"):
        ingest(Folder(str(tmp_path / "images")), tmp_path / "p", Split(test="test"), size=16)


def test_a_run_folder_goes_on_after_the_images_were_moved(at: tuple[Path, Path], asal: Any, tmp_path: Path) -> None:
    images, root = at
    file, out = root / "asal.toml", tmp_path / "runs"
    file.write_text(file.read_text().replace("size = 16\n", "size = 16\n[pool.split]\ntest = 6\n"))
    shutil.rmtree(root / "pool")
    assert asal("prepare", root).code == 0
    assert asal("run", root, "--out", out, "--strategies", "random", "--seeds", 1).code == 0
    rows = (out / "random" / "seed-0" / "rows.jsonl").read_bytes()
    shutil.move(images, tmp_path / "disk")
    assert asal("move-images", root, tmp_path / "disk").code == 0
    assert asal("run", root, "--out", out, "--strategies", "random", "--seeds", 2).code == 0
    assert (out / "random" / "seed-0" / "rows.jsonl").read_bytes() == rows
    assert (out / "random" / "seed-1" / "rows.jsonl").exists()


def test_a_pool_whose_classes_are_splits_says_so(tmp_path: Path, asal: Any) -> None:
    images, root = tmp_path / "images", tmp_path / "p"
    draw(images / "train", range(4))
    draw(images / "validation", range(3), seed=1)
    ingest(Folder(str(images), layout="classes"), root, size=16)
    manifest = artifacts.manifest(root / "pool")
    del manifest["options"]["source"]["layout"]
    (root / "pool" / "part.json").write_text(json.dumps(manifest))
    text = TEXT.format(path=json.dumps(str(images)))
    (root / "asal.toml").write_text(text)
    said = "The classes of this project are 'train' and 'validation', which are splits of the source"
    assert said in asal("prepare", root).out
    draw(images / "train", range(20, 21), seed=2)
    refused = asal("add", root)
    refused.refused("no class of this project is called", "asal init")
    assert "--new-classes" not in refused.err
    (root / "asal.toml").write_text(text.replace('kind = "folder"', 'kind = "folder"\nlayout = "classes"'))
    assert said not in asal("prepare", root).out, "who asked for it knows"
