"""Tiles with a crack at an edge: a network sees it where nothing is cut off, and a centre square does not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from support.tiles import EDGE, tile, write_tiles

from asal.core import Ids
from asal.models.learners.head import Head
from asal.project.project import Project
from asal.project.spec import parse
from asal.runtime.rng import stream

TILES, LABELLED = 120, 60


@pytest.fixture(scope="module", params=["pad", "crop"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp(request.param)
    spec = {
        "name": "tiles",
        "source": {"kind": "folder", "path": str(write_tiles(home / "tiles", TILES))},
        "pool": {"size": 64, "fit": request.param},
        "features": {"photos": {"kind": "efficientnet-lite0", "dimensions": 32}},
        "learner": {"kind": "head", "features": "photos"},
        "strategies": {"random": {}},
    }
    opened = Project(home / "project", parse(spec))
    opened.prepare()
    return opened


def test_the_network_tells_cracks_at_the_edge_unless_they_are_cut_off(project: Project) -> None:
    labels = project.oracle("pool").answer(np.arange(TILES))
    order: Ids = stream(0, "tiles").permutation(TILES)
    known, others = order[:LABELLED], order[LABELLED:]
    features = project.inputs("pool")
    model = Head().fit(features.read(known), labels[known], 2, stream(0, "learner"))
    right = float((model.predict(features.read(others)).argmax(1) == labels[others]).mean())
    if project.spec.pool.fit == "pad":
        assert right >= 0.9
    else:
        assert right <= 0.75  # a guess: no pixel of a crack is in the centre


def test_the_pool_holds_the_crack_unless_it_is_cut_off(project: Project) -> None:
    darkest = {name: [] for name in ("cracked", "free")}  # type: dict[str, list[int]]
    for key, image in zip(project.pool.keys(np.arange(TILES)), project.pool.read(np.arange(TILES)), strict=True):
        darkest[key.split("/")[0]].append(int(image.min()))
    distinct = max(darkest["cracked"]) < min(darkest["free"])
    assert distinct == (project.spec.pool.fit == "pad")


def test_the_crack_lies_at_the_edge() -> None:
    with_crack, without = (np.asarray(tile(7, cracked=cracked), np.int64) for cracked in (True, False))
    columns = np.flatnonzero((with_crack != without).any(axis=(0, 2)))
    assert columns.size
    assert columns.max() < EDGE + 20 or columns.min() > with_crack.shape[1] - EDGE - 20
    assert isinstance(tile(7, cracked=True), Image.Image)
