"""Features of originals: extracted by processes, resumed, extended, and searched by their first dimensions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.photographs import draw, small

from asal.errors import UserError
from asal.features import extract_shard
from asal.features.pca import Pca
from asal.project import extraction
from asal.project.extraction import replaced_in
from asal.project.project import Project
from asal.project.spec import parse, to_toml
from asal.project.status import summary
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.engine.local import Local
from asal.runtime.remote_files import CACHE

SIZES = {"train": 30, "test": 6}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extraction, "LEAST", 8)
    monkeypatch.setattr(extraction, "SLOW_BATCH", 5)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    for cached in (extract_shard._pool, extract_shard._images_and_extractor, extract_shard._compute):
        cached.cache_clear()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for split, number in SIZES.items():
        draw(folder / split, [f"{'cat' if image % 2 else 'dog'}/{split}{image:02d}.png" for image in range(number)])
    return folder


@pytest.fixture
def images(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "images"))


def spec_of(path: Path | str, source: dict[str, Any] | None = None, **table: Any) -> Any:
    photos = {"kind": "efficientnet-lite0", **small(), "dimensions": 12, "index_dimensions": 4} | table
    reads = {"kind": "sklearn", "features": "photos", "factory": "sklearn.linear_model:LogisticRegression"}
    return parse(
        {
            "name": "photographs",
            "source": source or {"kind": "folder", "path": str(path)},
            "pool": {"size": 16, "fit": "pad", "split": {"test": "test"} if source is None else {}},
            "features": {"photos": photos},
            "learner": reads,
            "protocol": {"initial": 4, "batch": 2, "budget": 10},
            "strategies": {"coreset": {}, "seals": {}},  # which needs an index
        }
    )


def prepared(root: Path, spec: Any, **options: Any) -> Project:
    root.mkdir(exist_ok=True)
    (root / "asal.toml").write_text(to_toml(spec.model_dump(mode="json")))
    project = Project(root, spec, **options)
    project.prepare()
    return project


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("features/**/*.npy"))}


class Reports(list[tuple[str, int, int, str]]):
    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.append((stage, done, total, note))

    def of(self, stage: str) -> list[tuple[int, int, str]]:
        """Return what was reported of "features" of the pool, or of their "pca"."""
        end = "compute the features 'photos'" + (": pca" if stage == "pca" else "")
        return [report[1:] for report in self if report[0].endswith(end) and report[2]]


def test_features_are_those_of_the_originals(images: Path, tmp_path: Path) -> None:
    reports = Reports()
    project = prepared(tmp_path / "project", spec_of(images), progress=reports)
    space, table = project.space("photos"), project.spec.features["photos"]
    pool = project.images_for(table)
    assert pool.shape == (64, 64, 3) and len(pool) == 30
    ids = np.arange(30)
    np.testing.assert_allclose(space.stored.read(ids), space.stored_extractor(pool.read(ids)), atol=1e-4)
    of_pictures = space.stored_extractor(project.pool.read(ids))
    assert np.abs(of_pictures - space.stored.read(ids)).mean() > 0.01, "the pool's pictures have other features"
    held_out = project.held_out_vectors("photos", "test")
    assert len(held_out) == 6 and held_out.dim == 12
    truth = [tuple(found) for found in reports.of("features")]
    assert [done for done, _, _ in truth] == sorted(done for done, _, _ in truth) and truth[-1][:2] == (30, 30)
    assert any("images/s" in note for _, _, note in truth)
    assert len(reports.of("pca")) >= 2 and not list((tmp_path / "project").rglob(".scratch"))


def test_the_index_sees_the_first_dimensions_and_a_classifier_all(images: Path, tmp_path: Path) -> None:
    project = prepared(tmp_path / "project", spec_of(images))
    space, ids = project.space("photos"), np.arange(30)
    assert (space.stored.dim, space.vectors.dim, space.extractor.dim) == (12, 4, 4)
    first = space.stored.read(ids)[:, :4]
    assert np.array_equal(space.vectors.read(ids), first)
    assert np.array_equal(np.concatenate([x for _, x in space.vectors.shards()]), first)
    distances = np.linalg.norm(first[:, None] - first[None], axis=2)
    assert project.index("photos").search(first, 2).ids[:, 1].tolist() == np.argsort(distances, axis=1)[:, 1].tolist()
    assert project.inputs().read(ids).shape == (30, 12) and project.inputs("test").read(np.arange(6)).shape == (6, 12)
    fewer = Pca.load(space.folder)
    assert (np.diff(fewer.explained) <= 0).all(), "ordered, so that the first are the best"
    session = project.session("coreset")
    session.tell([(image, "cat") for image in session.ask(4).ids.tolist()])
    assert len(session.ask(2).ids) == 2


def test_who_computes_them_makes_no_difference(images: Path, tmp_path: Path) -> None:
    one = prepared(tmp_path / "one", spec_of(images))
    prepared(tmp_path / "two", spec_of(images), engine=Local(2))
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(one.space("photos").stored) == 30


def test_more_features_than_are_kept_are_computed_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = prepared(tmp_path / "kept", spec_of(images)).space("photos")
    monkeypatch.setattr(extraction, "RAW_VALUES", 1)
    reports = Reports()
    again = prepared(tmp_path / "again", spec_of(images), progress=reports).space("photos")
    np.testing.assert_allclose(again.stored.read(np.arange(30)), kept.stored.read(np.arange(30)), atol=1e-4)
    assert reports.of("pca")[-1][:2] == (30, 30) and reports.of("features")[-1][:2] == (30, 30)


class Cutting(InProcess):
    """Does so many tasks, and no more."""

    def map_unordered(self, tasks: Any, progress: Any = None) -> Iterator[Any]:
        for done, result in enumerate(super().map_unordered(tasks, progress), 1):
            yield result
            if done == 2:
                raise KeyboardInterrupt


@pytest.mark.parametrize("dimensions", [0, 12])
def test_what_stood_in_is_counted_also_where_extraction_was_cut(
    dimensions: int, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(images, dimensions=dimensions, index_dimensions=0)
    project = Project(tmp_path / "project", spec, engine=Cutting())
    project.root.mkdir()
    project.ingest()
    keys = project.pool.keys(np.arange(30))
    (images / keys[1]).unlink()
    (images / keys[29]).write_bytes(b"broken")
    with pytest.raises(KeyboardInterrupt):
        project.prepare()
    reports = Reports()
    again = prepared(tmp_path / "project", spec, progress=reports)
    folder = again.space("photos").folder
    assert replaced_in(folder / "vectors") == {"gone": 1, "unreadable": 1}
    assert any("in place of 2 originals (1 gone, 1 unreadable)" in note for _, _, note in reports.of("features"))
    artifacts.verify(folder)
    whole = prepared(tmp_path / "whole", spec)
    assert replaced_in(whole.space("photos").folder / "vectors") == {}, "there, they were never in the pool"


def test_what_is_added_is_read_from_its_originals(images: Path, tmp_path: Path) -> None:
    project = prepared(tmp_path / "project", spec_of(images))
    draw(images / "train", [f"cat/new{image}.png" for image in range(3)], (60, 90))
    assert project.add().new == 3
    project.prepare()
    space = project.space("photos")
    assert len(space.stored) == len(space.vectors) == 33 and space.vectors.dim == 4
    originals = project.parts.originals(project.spec.features["photos"], first=30)
    assert originals is not None
    from asal.data.pool import StoredPool

    added = originals.of(StoredPool.open(project.folder.additions[0]), 64)
    found = space.stored.read(np.arange(30, 33))
    np.testing.assert_allclose(found, space.stored_extractor(added.read(np.arange(3))), atol=1e-4)
    assert project.index("photos").search(found[:, :4], 1).ids[:, 0].tolist() == [30, 31, 32]


def test_fewer_images_than_dimensions_lower_them_with_a_word(images: Path, tmp_path: Path) -> None:
    reports = Reports()
    spec = spec_of(images, dimensions=256, index_dimensions=64, storage="float16")
    project = prepared(tmp_path / "project", spec, progress=reports)
    space = project.space("photos")
    assert space.stored.dim == space.vectors.dim == 29 and project.held_out_vectors("photos", "test").dim == 29
    words = "29 dimensions in place of 256: there are 30 images"
    assert ("photos: pca", 0, 0, words) in reports, "a report without numbers, which is printed as it is"
    assert len(project.index("photos").search(space.vectors.read(np.arange(2)), 3).ids) == 2


@pytest.mark.parametrize("kind", ["digits", "augmented"])
def test_sources_without_originals_give_the_pools_pictures(kind: str, images: Path, tmp_path: Path) -> None:
    source = {"kind": "digits"}
    if kind == "augmented":
        source = {"kind": "augmented", "base": {"kind": "folder", "path": str(images)}, "images": 70}  # type: ignore[dict-item]
    reports = Reports()
    spec = spec_of("", source)
    spec = parse(spec.model_dump() | {"pool": {"size": 16, "split": {"train": 30} if kind == "digits" else {}}})
    project = prepared(tmp_path / "project", spec, progress=reports)
    space = project.space("photos")
    ids = np.arange(len(project.pool))
    np.testing.assert_allclose(space.stored.read(ids), space.stored_extractor(project.pool.read(ids)), atol=1e-4)
    notes = [note.partition(" · ")[0] for _, _, note in reports.of("features") if "keeps no originals" in note]
    assert notes == ["of the pool's pictures, 16 × 16 pixels: the source keeps no originals"]


def test_machines_that_do_not_see_the_originals_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"originals lie at .*may not see.*leave --storage out"):
        prepared(tmp_path / "project", spec_of(images), storage=f"file://{tmp_path}/storage")


def test_originals_at_a_url_are_read_by_other_machines(images: Path, tmp_path: Path) -> None:
    here = prepared(tmp_path / "here", spec_of(f"file://{images}"))
    there = prepared(tmp_path / "there", spec_of(f"file://{images}"), storage=f"file://{tmp_path}/storage")
    assert files(here.root) == files(there.root)
    assert list((tmp_path / "cache").rglob("keys.parquet"))


def test_features_of_pictures_are_not_taken_for_those_of_originals(images: Path, tmp_path: Path) -> None:
    project = prepared(tmp_path / "project", spec_of(images))
    facts = project.parts.features("photos").facts
    assert facts["reads"] == "originals"
    assert "reads" not in prepared(tmp_path / "other", spec_of("", {"kind": "digits"})).parts.features("photos").facts


def test_a_defect_at_the_edge_is_seen_by_the_network(tmp_path: Path) -> None:
    """Two wide photographs, the same but for a scratch that the centre square does not have."""
    tile = np.full((100, 300, 3), 170, np.uint8) + np.random.default_rng(0).integers(0, 12, (100, 300, 3), np.uint8)
    for number in range(12):
        wide = np.roll(tile, number * 7, axis=1)
        if number % 2:
            wide[20:80, 4:12] = 20
        (tmp_path / "tiles").mkdir(exist_ok=True)
        Image.fromarray(wide).save(tmp_path / f"tiles/{number:02d}.png")
    found = {}
    for fit in ("pad", "crop"):
        spec = spec_of(tmp_path / "tiles", dimensions=0, index_dimensions=0, size=128)
        spec = parse(spec.model_dump() | {"pool": {"size": 16, "fit": fit}})
        features = prepared(tmp_path / fit, spec).space("photos").stored.read(np.arange(12)).astype(float)
        between = np.linalg.norm(features[::2].mean(0) - features[1::2].mean(0))
        found[fit] = between / np.linalg.norm(features - features.mean(0), axis=1).mean()
    assert found["pad"] > 2 * found["crop"], found


def test_a_folder_of_originals_that_is_not_there_is_refused(images: Path, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", spec_of(images))
    project.root.mkdir()
    project.ingest()
    images.rename(tmp_path / "on a disk that is not connected")
    with pytest.raises(UserError, match="the originals are not at") as refusal:
        project.prepare()
    assert "asal move-images" in str(refusal.value.hint)
    images.mkdir()
    folder = prepared(project.root, project.spec).space("photos").folder
    assert replaced_in(folder / "vectors") == {"gone": 30}
    details = {name: detail for name, _, detail in summary(project.root)}
    assert "in place of 30 originals (30 gone)" in details[f"features/{folder.name}"]
