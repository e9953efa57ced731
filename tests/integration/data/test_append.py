"""A pool that grows: ids for ever, what was trained stays, and the new images are found."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asal.data.append import Added
from asal.data.concat_pool import ADDITIONS, ConcatPool
from asal.data.sources.folder import Folder
from asal.errors import UserError
from asal.experiments.run import RunTask, run_one
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime.progress import no_progress

SETTINGS: dict[str, Any] = {
    "pool": {"size": 8, "keep": None, "split": {"train": None, "test": 10}},
    "generator": {"steps": 10},
    "strategies": {"random": {}, "asal": {"search": "generator", "steps": 3}},
}


def draw(folder: Path, names: range, classes: tuple[str, ...] = ("dark", "light"), seed: int = 0) -> None:
    """Write pictures, one class after the other, each with noise of its own."""
    rng = np.random.default_rng([seed, names.start])
    for number in names:
        name = classes[number % len(classes)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(90, size=(8, 8)) + 80 * (len(name) % 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:05d}.png")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, write_spec: Callable[..., Path]) -> tuple[Path, Path]:
    """Return a folder of 80 images, and a project prepared from 70 of them. To be copied, not written."""
    home = tmp_path_factory.mktemp("growing")
    draw(home / "images", range(80))
    project = home / "project"
    project.mkdir()
    source = {"kind": "folder", "path": str(home / "images")}
    write_spec(project, source=source, reference=None, **SETTINGS)
    Project.open(project).prepare()
    return home / "images", project


@pytest.fixture
def at(original: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Return images and project of one's own."""
    images, project = (Path(shutil.copytree(place, tmp_path / place.name)) for place in original)
    text = (project / "asal.toml").read_text()
    (project / "asal.toml").write_text(text.replace(str(original[0]), str(images)))
    for manifest in project.glob("*/part.json"):
        manifest.write_text(manifest.read_text().replace(str(original[0]), str(images)))
    return images, project


def everything(project: Project) -> dict[int, tuple[str, int, bytes]]:
    """Return each id's key, label and pixels."""
    ids = np.arange(len(project.pool))
    labels, images = project.oracle("pool").answer(ids), project.pool.read(ids)
    return {i: (key, int(labels[i]), images[i].tobytes()) for i, key in enumerate(project.pool.keys(ids))}


@pytest.mark.parametrize("file", ["images/00000.npy", "labels.npy"])
def test_preparing_refuses_a_damaged_addition(file: str, at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    draw(images, range(80, 90))
    assert asal("add", root).code == asal("prepare", root).code == 0
    path = root / ADDITIONS / "0001" / file
    path.write_bytes(path.read_bytes()[:-1])
    asal("prepare", root).refused(str(path), "is damaged", "--repair", "asal add")


def test_new_images_are_taken_in_behind_the_old_ones(at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    before = everything(Project.open(root))
    parts = sorted(path.name for path in (root / "parts").iterdir())
    draw(images, range(80, 110))
    (images / "dark" / "broken.png").write_bytes(b"\x89PNG")
    said = asal("add", root)
    assert said.code == 0 and "30 new images; 80 known. Next: asal prepare" in said.out
    project = Project.open(root)
    assert isinstance(project.pool, ConcatPool) and len(project.pool) == len(before) + 30
    after = everything(project)
    assert {i: after[i] for i in before} == before, "an old id changed its image"
    assert {key for key, _, _ in list(after.values())[-30:]} == {
        f"{('dark', 'light')[n % 2]}/{n:05d}.png" for n in range(80, 110)
    }
    assert all(label == ("dark", "light").index(key.split("/")[0]) for key, label, _ in after.values())
    with pytest.raises(UserError, match="asal prepare"):
        project.index("autoencoder")
    assert asal("prepare", root).code == 0
    assert sorted(path.name for path in (root / "parts").iterdir()) == parts, "something was trained again"
    assert len(list((root / "indexes").iterdir())) == len(project.spec.features), "an old index is left"
    assert "additions/0001" in (text := asal("status", root).out) and "30 images" in text
    assert asal("doctor", root).code == 0
    said = asal("add", root)
    assert said.code == 0 and "0 new images; 111 known. Nothing has changed." in said.out, "the broken one is no news"


@pytest.mark.parametrize("kind", ["auto", "exact", "kdtree", "ivf", "gpu"])
def test_the_index_finds_what_was_added_twice(kind: str, at: tuple[Path, Path]) -> None:
    images, root = at
    text = (root / "asal.toml").read_text()
    (root / "asal.toml").write_text(text + f'\n[index]\nkind = "{kind}"\n')
    Project.open(root).prepare()
    for some in (range(80, 120), range(120, 300)):
        draw(images, some)
        assert Project.open(root).add().new == len(some)
        Project.open(root).prepare()
    project = Project.open(root)
    space, index, n = project.space("autoencoder"), project.index("autoencoder"), len(project.pool)
    assert len(space.vectors) == n == 290
    stored = space.vectors.read(np.arange(n))
    assert np.allclose(stored, space.extractor(project.pool.read(np.arange(n))), atol=1e-5)
    assert np.array_equal(np.concatenate([ids for ids, _ in space.vectors.shards()]), np.arange(n))
    found = index.search(stored, 1)
    assert (found.ids[:, 0] == np.arange(n)).mean() > 0.98 and found.distances.max() < 1e-3
    closed = np.arange(0, n, 2)
    assert (index.search(stored[::2], 1, without=closed).ids[:, 0] % 2 == 1).all()


def test_one_project_sees_what_it_added(at: tuple[Path, Path]) -> None:
    images, root = at
    project = Project.open(root)
    before = project.index("autoencoder").search(np.zeros((1, project.space("autoencoder").vectors.dim)), 999).ids
    draw(images, range(80, 100))
    project.add()
    project.prepare()
    after = project.index("autoencoder").search(np.zeros((1, project.space("autoencoder").vectors.dim)), 999).ids
    assert before.shape[1] == 70 and after.shape[1] == len(project.pool) == 90


def test_a_pool_that_has_grown_fourfold_has_its_index_built_anew(at: tuple[Path, Path]) -> None:
    images, root = at
    (root / "asal.toml").write_text((root / "asal.toml").read_text() + '\n[index]\nkind = "ivf"\nlists = 0\n')
    Project.open(root).prepare()
    for some in (range(80, 200), range(200, 700), range(700, 720)):
        draw(images, some)
        Project.open(root).add()
    Project.open(root).prepare()
    folders = list((root / "indexes").glob("ivf-*"))
    assert len(folders) == len(Project.open(root).spec.features), "those over fewer parts are gone"
    lists = Project.open(root).index("autoencoder")._index.nlist  # type: ignore[attr-defined]
    assert lists == 690 // 256, "built over the 690 images that are four times 70 and more, and grown by 20"
    assert len(Project.open(root).pool) == 710


def test_other_classes_are_counted_and_do_not_come_back(at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    file = root / "asal.toml"
    file.write_text(file.read_text().replace("[pool]\n", '[pool]\nkeep = ["dark", "light"]\n'))
    shutil.rmtree(root / "pool")
    shutil.rmtree(root / "test")
    assert asal("prepare", root).code == 0
    draw(images, range(80, 86), ("amber",))
    assert asal("prepare", root).code == 0
    assert "0 new images; 80 known, 6 of other classes. Nothing has changed." in asal("add", root).out
    assert asal("prepare", root).code == 0


def test_a_session_goes_on_and_may_ask_for_the_new(at: tuple[Path, Path]) -> None:
    images, root = at
    session = Project.open(root).session("asal")
    truth = Project.open(root).oracle("pool")
    for _ in range(2):
        batch = session.ask(8)
        session.tell(zip(batch.ids, truth.answer(batch.ids), strict=True))
    waiting = session.ask(5)
    draw(images, range(80, 400))
    Project.open(root).add()
    Project.open(root).prepare()
    project = Project.open(root)
    session = project.session("asal")
    assert np.array_equal(session.ask(5).ids, waiting.ids), "the open batch changed"
    session.tell(zip(waiting.ids, project.oracle("pool").answer(waiting.ids), strict=True))
    assert (session.ask(60).ids >= 70).any(), "none of the new images is ever asked for"
    session.record.close()
    shutil.rmtree(root / ADDITIONS)
    with pytest.raises(UserError, match="restore the project's additions"):
        Project.open(root).session("asal")


def test_made_up_images_stand_in_the_way(at: tuple[Path, Path], write_spec: Callable[..., Path]) -> None:
    images, root = at
    session = Project.open(root).session("gaal")
    truth = Project.open(root).oracle("pool")
    batch = session.ask(8)
    session.tell(zip(batch.ids, truth.answer(batch.ids), strict=True))
    assert (session.ask(3).ids >= 70).all()
    draw(images, range(80, 90))
    Project.open(root).add()
    with pytest.raises(UserError, match="start a new record"):
        Project.open(root).session("gaal")


def test_runs_of_the_smaller_pool_are_not_mixed_with_later_ones(
    at: tuple[Path, Path], tmp_path: Path, start: Any
) -> None:
    images, root = at
    words = ("run", root, "--out", tmp_path / "out", "--strategies", "random", "--seeds", 1)
    assert start(*words).wait().code == 0
    draw(images, range(80, 90))
    Project.open(root).add()
    start(*words).wait().refused("a run folder belongs to one spec", "images", "choose another folder")
    assert start(*words[:3], tmp_path / "new", *words[4:]).wait().code == 0
    with pytest.raises(UserError, match="a run folder is of one pool"):  # which began while the pool was smaller
        run_one(RunTask(root, load(root), "random", 0, tmp_path / "out"), no_progress)


def test_classes_go_by_their_names(at: tuple[Path, Path]) -> None:
    images, root = at
    draw(images, range(80, 90), ("amber", "dark", "light"))  # whose folder comes first, and shifts the numbers
    with pytest.raises(UserError, match="is called 'amber'"):
        Project.open(root).add()
    assert not (root / ADDITIONS).exists()
    shutil.rmtree(images / "amber")
    Project.open(root).add()
    assert all(
        ("dark", "light")[label] == key.split("/")[0] for key, label, _ in everything(Project.open(root)).values()
    )


def test_another_folder_is_added(at: tuple[Path, Path], tmp_path: Path) -> None:
    _, root = at
    draw(tmp_path / "more", range(500, 520))
    project = Project.open(root)
    more = Folder(str(tmp_path / "more"))
    assert project.add(more) == Added(20, 0, 0) and project.add(more) == Added(0, 20, 0)
    assert len(project.pool) == 90


def test_prepare_tells_of_add_where_the_source_has_more(at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    draw(images, range(80, 84))
    said = asal("prepare", root)
    assert said.code == 0 and "4 new files (dark/00080.png, …): `asal add` takes them in." in said.out
    assert asal("add", root).code == 0
    said = asal("prepare", root)
    assert said.code == 0 and "new file" not in said.out


def test_ids_are_for_ever_however_it_grows(at: tuple[Path, Path]) -> None:
    images, root = at
    rng, known, last = random.Random(3), everything(Project.open(root)), 80
    for _ in range(5):
        count = rng.randint(1, 30)
        draw(images, range(last, last + count), seed=1)
        last += count
        Project.open(root).add()
        now = everything(Project.open(root))
        assert {i: now[i] for i in known} == known and len({key for key, _, _ in now.values()}) == len(now)
        known = now
    assert len(known) == last - 10


def moments(seconds: float, count: int) -> Iterator[float]:
    rng = random.Random(4)
    for part in range(count):
        yield seconds * (part + rng.random()) / count


def test_killed_at_any_moment_it_ends_in_the_same_bytes(at: tuple[Path, Path], start: Any, tmp_path: Path) -> None:
    images, root = at
    draw(images, range(80, 600))
    sizes = "asal.data.pool.SHARD_IMAGES = asal.project.extraction.SHARD = 64"
    often = f"import asal.data.pool, asal.project.extraction\n{sizes}\n"
    kept = {folder: Path(shutil.copytree(root, tmp_path / folder)) for folder in ("whole", "cut")}
    begun = time.monotonic()
    for word in ("add", "prepare"):
        assert start(word, kept["whole"], *(["--workers", 1] if word == "add" else []), first=often).wait().code == 0
    seconds = (time.monotonic() - begun) / 2

    def files(folder: Path) -> dict[str, bytes]:
        return {
            str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
        }

    for word in ("add", "prepare"):
        words = (word, kept["cut"], *(["--workers", 1] if word == "add" else []))
        for moment in moments(seconds, 4):
            running = start(*words, first=often)
            time.sleep(moment)
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
        assert start(*words, first=often).wait().code == 0
    assert files(kept["cut"]) == files(kept["whole"])
    assert len(load(kept["cut"]).features) and len(Project.open(kept["cut"]).pool) == 590


def harm(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


def test_a_mended_addition_is_made_anew_of_the_very_images_that_it_held(at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    for some in (range(80, 90), range(90, 95)):
        draw(images, some)
        Project.open(root).add()
    before = everything(Project.open(root))
    harm(root / ADDITIONS / "0001" / "images" / "00000.npy")
    draw(images, range(60_000, 60_004))  # which come first in no order, and are none of its images
    with pytest.raises(UserError, match="then `asal add`"):
        Project.open(root).pool.read(np.array([75]))
    assert asal("doctor", root, "--repair").code == 0
    assert "asal add" in asal("status", root).out
    with pytest.raises(UserError, match="0001 is not complete"):
        Project.open(root).pool  # noqa: B018
    assert "4 new images" in asal("add", root).out
    now = everything(Project.open(root))
    assert {i: now[i] for i in before} == before and len(now) == len(before) + 4


def test_what_cannot_be_made_as_it_was_is_refused(at: tuple[Path, Path], asal: Any) -> None:
    images, root = at
    draw(images, range(80, 90))
    Project.open(root).add()
    harm(root / ADDITIONS / "0001" / "images" / "00000.npy")
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(images / "dark" / "00080.png")
    assert asal("doctor", root, "--repair").code == 0
    asal("add", root).refused("a repaired file has the bytes that it had", "00000.npy", "restore images/00000.npy")


def test_a_gap_among_additions_is_told(at: tuple[Path, Path]) -> None:
    images, root = at
    for some in (range(80, 90), range(90, 95)):
        draw(images, some)
        Project.open(root).add()
    shutil.rmtree(root / ADDITIONS / "0001")
    with pytest.raises(UserError, match="0001 is not complete"):
        Project.open(root).pool  # noqa: B018
    with pytest.raises(UserError, match="0001 is not complete"):
        Project.open(root).add()
