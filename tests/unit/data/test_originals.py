"""The originals of a pool's images: found by their keys, wherever they lie by now."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from asal.core import Ids
from asal.data import moves
from asal.data.ingest import ingest
from asal.data.originals import GONE, Addition, KeepsOriginals, Originals, keyed, originals_of
from asal.data.pool import StoredPool
from asal.data.sources import Lost, sources
from asal.data.sources.folder import Folder
from asal.project.project import Project


@dataclass
class Names:
    """A pool that is nothing but keys."""

    of: Mapping[int, str]
    asked: list[int] = field(default_factory=list)

    def keys(self, ids: Ids) -> list[str]:
        self.asked += ids.tolist()
        return [self.of[image] for image in ids.tolist()]


NAMES = Names({number: f"{'cat' if number % 2 else 'dog'}/{number}.png" for number in range(6)})
ALL = np.arange(6)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return filled(tmp_path / "images", NAMES.of.values())


def filled(folder: Path, names: object) -> Path:
    for name in names:  # type: ignore[attr-defined]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tone = sum(os.fsencode(str(folder / name))) % 251
        Image.new("L", (8, 8), tone).save(folder / name)
    return folder


def raw(found: Originals, ids: Ids = ALL, pool: Names = NAMES) -> list[object]:
    return list(found.raw(pool, ids))


def test_a_folders_files_are_found_in_any_order_and_the_lost_ones_are_told(images: Path) -> None:
    found = Originals(Folder(str(images)))
    assert isinstance(found.source, KeepsOriginals)
    assert raw(found, np.array([5, 0, 5])) == [images / NAMES.of[image] for image in (5, 0, 5)]
    (images / NAMES.of[3]).unlink()
    assert raw(found)[3] == Lost(GONE) and raw(found)[4] == images / NAMES.of[4]
    assert raw(found, np.empty(0, np.int64)) == []


def test_files_behind_a_url_are_fetched(images: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(images), "/originals", recursive=True)
    found = Originals(Folder("memory://originals"))
    assert raw(found) == [(images / name).read_bytes() for name in NAMES.of.values()]
    memory.rm("/originals/dog/2.png")
    assert raw(found)[2] == Lost(GONE) and raw(found, np.array([2])) == [Lost(GONE)]
    memory.rm("/originals", recursive=True)


def test_names_that_are_no_utf8_are_found(images: Path) -> None:
    odd = os.fsencode(images) + b"/cat/\xff\xe9.png"
    os.rename(images / "cat" / "1.png", odd)
    source = Folder(str(images))
    key = next(key for key in list(source.keys()) if "xff" in key)
    (found,) = Originals(source).raw(Names({0: key}), np.array([0]))
    assert os.fsencode(str(found)) == odd


@pytest.mark.parametrize("key", ["../secret.png", "cat/../../secret.png", "/etc/hostname", "cat", ""])
def test_no_key_leads_out_of_the_folder(images: Path, key: str) -> None:
    (images.parent / "secret.png").write_bytes(b"secret")
    assert raw(Originals(Folder(str(images))), np.array([0]), Names({0: key})) == [Lost(GONE)]


def test_a_moved_file_is_found_under_its_newest_name(images: Path) -> None:
    (images / NAMES.of[1]).rename(images / "cat/new.png")
    found = Originals(Folder(str(images)), names={1: ("cat/new.png", "cat/old.png")})
    assert raw(found)[1] == images / "cat/new.png"
    places = list(found.places(1, NAMES.of[1]))
    assert places == [Lost(GONE), images / "cat/new.png", Lost(GONE)]


def test_another_file_under_its_name_does_not_hide_where_it_is_now(images: Path) -> None:
    (images / "cat/1.png").rename(images / "cat/moved.png")
    filled(images, ["cat/1.png"])
    places = list(Originals(Folder(str(images)), names={1: ("cat/moved.png",)}).places(1, "cat/1.png"))
    assert places == [images / "cat/1.png", images / "cat/moved.png"]


def test_what_was_added_from_elsewhere_is_looked_up_there_first(images: Path, tmp_path: Path) -> None:
    more = filled(tmp_path / "more", ["dog/0.png", "cat/9.png"])
    names = Names({**NAMES.of, 6: "dog/0.png", 7: "cat/9.png"})
    found = Originals(Folder(str(images)), (Addition(6, 8, Folder(str(more))),))
    expected = [images / "dog/0.png", more / "dog/0.png", images / "cat/5.png", more / "cat/9.png"]
    assert raw(found, np.array([0, 6, 5, 7]), names) == expected
    (images / "cat/5.png").rename(more / "cat/5.png")
    assert raw(found, np.array([5]), names) == [more / "cat/5.png"], "and what was moved there last"


def test_a_project_knows_its_originals_with_additions_and_other_names(images: Path, tmp_path: Path) -> None:
    root, source = tmp_path / "project", Folder(str(images))
    ingest(source, root, gray=True)
    more = filled(tmp_path / "more", ["cat/7.png", "cat/8.png"])
    (root / "asal.toml").write_text(f'name = "p"\n[source]\nkind = "folder"\npath = "{images}"\n[pool]\ngray = true\n')
    assert Project.open(root).add(Folder(str(more))).new == 2
    moves.write_aliases(root, [moves.Alias("cat/renamed.png", "pool", 1, "cat")])
    moves.write_aliases(
        root,
        [*moves.read_aliases(root), moves.Alias("cat/again.png", "pool", 1, ""), moves.Alias("x", "test", 1, "")],
    )
    found = originals_of(source, root)
    assert found is not None
    assert [(each.first, each.end) for each in found.additions] == [(6, 8)]
    assert found.names == {1: ("cat/again.png", "cat/renamed.png")}
    held_out = originals_of(source, root, "test")
    assert held_out is not None and held_out.names == {1: ("x",)} and not held_out.additions
    pool = keyed(StoredPool.open(root / "pool"))
    assert pool is not None and [*found.raw(pool, np.array([0]))] == [images / pool.keys(np.array([0]))[0]]


def test_another_process_gets_the_options_and_opens_the_sources_again(images: Path, tmp_path: Path) -> None:
    source = Folder(str(images))
    assert list(source.keys())
    more = Folder(str(filled(tmp_path / "more", ["cat/9.png"])))
    found = Originals(source, (Addition(6, 7, more),), {1: ("a",), 2: ("b",)})
    sent = pickle.loads(pickle.dumps(found.only(2)))
    assert sent.source == source and "_files" not in vars(sent.source) and sent.names == {2: ("b",)}
    assert sent.additions == found.additions
    assert raw(sent) == raw(found)
    opened = sent.with_sources(lambda each: source if each == source else each)
    assert opened.source is source and opened.additions == found.additions


def test_sources_that_keep_no_files_have_no_originals(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 8), np.uint8))
    arrays = sources["arrays"].bind({"path": str(tmp_path / "images.npy")})
    assert originals_of(arrays, tmp_path) is None and keyed(object()) is None
