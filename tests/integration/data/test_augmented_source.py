"""A project whose pool is augmented from a small source: prepared, asked and run as any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asal.data.augmented_pool import AugmentedPool, open_pool
from asal.data.ingest import ingest
from asal.data.pool import StoredPool
from asal.data.sources import sources
from asal.data.sources.augmented import Augmented as Source
from asal.data.sources.digits import Digits
from asal.data.splits import Split
from asal.errors import UserError
from asal.project.project import Project
from asal.project.spec import load
from asal.session.oracles.stored import Stored

IMAGES = 3_000
LARGE: dict[str, Any] = {
    "source": {"kind": "augmented", "images": IMAGES, "seed": 5, "mirror": True, "base": {"kind": "digits"}},
}


@pytest.fixture(scope="module")
def large(write_spec: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A prepared project of 3,000 images made of 400 digits, with a generator and features."""
    folder = write_spec(tmp_path_factory.mktemp("large"), **LARGE)
    assert "[source.base]" in (folder / "asal.toml").read_text()
    project = Project(folder, load(folder))
    project.prepare()
    return project


def test_what_is_taken_in_is_the_base_alone(large: Project, tmp_path: Path) -> None:
    alone = ingest(Digits(), tmp_path, Split(400, 0, 200), gray=True)
    for part, folder in alone.items():
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in ("part.json", "pool.json"):
                assert (large.root / part / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert len(large.test) == 200 and len(StoredPool.open(large.root / "pool")) == 400


def test_a_pool_folder_says_how_large_it_is(large: Project) -> None:
    pool = open_pool(large.root / "pool")
    assert isinstance(pool, AugmentedPool) and (len(pool), pool.seed, pool.mirror) == (IMAGES, 5, True)
    assert pool.fingerprint == large.pool.fingerprint != StoredPool.open(large.root / "pool").fingerprint
    assert isinstance(open_pool(large.root / "test"), StoredPool)


def test_labels_and_keys_are_the_originals(large: Project) -> None:
    ids = np.arange(IMAGES)
    stored = np.load(large.root / "pool" / "labels.npy")
    assert np.array_equal(large.oracle("pool").answer(ids), stored[ids % 400])
    with pytest.raises(UserError, match="image id 3000 is outside 0 … 2999"):
        large.oracle("pool").answer(np.array([IMAGES]))
    assert len(Stored.open(large.root / "test").answer(np.arange(200))) == 200
    base, pool = StoredPool.open(large.root / "pool"), large.pool
    keys = pool.keys(ids)
    assert len(set(keys)) == IMAGES and keys[:400] == base.keys(np.arange(400))
    (down, right), mirrored = pool.shifts(np.array([2007]))[0], pool.mirrored(np.array([2007]))[0]  # type: ignore[union-attr]
    assert keys[2007] == f"{keys[7]}#5 ({down:+d} {right:+d}{' mirrored' if mirrored else ''})"


def test_features_are_of_every_image(large: Project) -> None:
    space = large.space("autoencoder")
    ids = np.array([3, 403, 2_999])
    assert len(space.vectors) == IMAGES
    np.testing.assert_allclose(space.vectors.read(ids), space.extractor(large.pool.read(ids)), rtol=1e-4, atol=1e-4)


def test_it_runs_and_is_told_of(large: Project, asal: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = asal("run", large.root, "--out", out, "--strategies", "random,asal", "--seeds", 1)
    assert said.code == 0, said.err
    for name in ("random", "asal"):
        rows = [json.loads(line) for line in (out / name / "seed-0" / "rows.jsonl").read_text().splitlines()]
        assert [row["labels"] for row in rows] == [20, 30, 40]
    assert "3,000 images of 8 × 8 × 1, augmented from 400" in " ".join(asal("status", large.root).out.split())
    assert "augmented" in asal("list", "sources").out


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"images": 100, "base": {}}, "with its `kind`"),
        ({"images": 100, "base": {"kind": "augmented", "images": 9, "base": {"kind": "digits"}}}, "one other source"),
        ({"images": 100, "base": {"kind": "digit"}}, "did you mean"),
        ({"images": 100, "base": {"kind": "digits", "size": 3}}, "'size'"),
        ({"images": 0, "base": {"kind": "digits"}}, "one image or more"),
        ({"base": {"kind": "digits"}}, "images"),
    ],
)
def test_options_that_do_not_fit_are_reported(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        sources["augmented"].bind(options)


def test_it_is_no_smaller_than_its_base(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="399 images is smaller than its base's 400"):
        ingest(Source(399, {"kind": "digits"}), tmp_path / "project", Split(400), gray=True)
    assert not (tmp_path / "project").exists()


def test_other_sizes_are_other_pools(tmp_path: Path) -> None:
    ingest(Source(500, {"kind": "digits"}), tmp_path, Split(400), gray=True)
    with pytest.raises(UserError, match=r"source\.images was 500 and is 600"):
        ingest(Source(600, {"kind": "digits"}), tmp_path, Split(400), gray=True)
