"""What the page is told of images: their addresses and names, and how much of them the classifier sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Response
from PIL import Image
from sklearn.datasets import load_sample_image

from asal.data.ingest import ingest
from asal.data.sources.folder import Folder
from asal.labelling.photos import PHOTO, THUMB, Photos
from asal.project.folder import ProjectFolder
from asal.project.spec import parse, to_toml
from asal.session.state import State, SyntheticImage
from asal.session.synthetic_pool import encoded
from asal.web.pictures import Pictures, sees
from asal.web.project_info import ProjectInfo

CLASSES = ("left", "right")


def project(home: Path, source: Any = None, pool: Any = None, **tables: Any) -> ProjectInfo:
    """Return a project of four photographs."""
    images = home / "images"
    for number in range(4):
        path = images / CLASSES[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(load_sample_image("china.jpg")[:, 60 * number : 60 * number + 300]).save(path)
    options = {"size": 32, "fit": "pad", **(pool or {})}
    spec = {"name": "p", "source": {"kind": "folder", "path": str(images)}, "pool": options}
    root = home / "project"
    ingest(source or Folder(str(images)), root, **options)
    given = {**spec, "labelling": {"classes": [*CLASSES]}, "strategies": {"random": {}}, **tables}
    (root / "asal.toml").write_text(to_toml(parse(given).model_dump(mode="json", exclude_none=True)))
    return ProjectInfo.of(ProjectFolder.open(root), "random")


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    info = project(tmp_path)
    with Photos(info.folder) as photos:
        yield Pictures(info, photos)


def sent(pictures: Pictures, image: int, of: str = "", edge: int = THUMB, state: State | None = None) -> Response:
    return asyncio.run(pictures.photograph(image, state or State(), of, edge))


def test_addresses_and_names_of_images(pictures: Pictures) -> None:
    tag = pictures.project.tag(2, State())
    assert pictures.to_json([2], State()) == {
        2: {
            "src": f"/images/2.png?of={tag}",
            "photo": f"/photos/2.jpg?of={tag}&edge={PHOTO}",
            "thumb": f"/photos/2.jpg?of={tag}&edge={THUMB}",
            "key": "right/1.jpg",
        }
    }
    (row,) = pictures.beside([{"image": 0, "label": 1}], State())
    assert row["label"] == 1 and row["key"] == "left/0.jpg"


def test_a_synthetic_image_and_a_source_without_files_have_no_originals(pictures: Pictures) -> None:
    picture = encoded(np.zeros((1, *pictures.project.pool.shape), np.uint8))[0]
    state = replace(State(), synthetic={4: SyntheticImage(picture, {}, 1.0)})
    without = Pictures(pictures.project, None)
    for each, image in ((pictures, 4), (without, 0)):
        about = each.to_json([image], state)[image]
        assert about["photo"] is about["thumb"] is about["key"] is None and about["src"]
        each.ahead([image], state)
        reply = sent(each, image, state=state)
        assert reply.headers["x-original"] == "gone" and reply.body == each.picture(image, state, "").body


def test_a_browser_keeps_an_original_for_ever_and_its_replacement_briefly(pictures: Pictures, tmp_path: Path) -> None:
    tag = pictures.project.tag(0, State())
    here = sent(pictures, 0, tag)
    assert here.headers["x-original"] == "here" and "immutable" in here.headers["cache-control"]
    assert here.media_type == "image/jpeg"
    assert "cache-control" not in sent(pictures, 0, "another").headers, "the guard forbids to keep it"
    (tmp_path / "images" / "left" / "2.jpg").unlink()
    gone = sent(pictures, 1, tag)
    assert pictures.to_json([1], State())[1]["key"] == "left/2.jpg"
    assert gone.headers["x-original"] == "gone" and gone.headers["cache-control"] == "private, max-age=20"
    assert gone.body == pictures.picture(1, State(), tag).body


@pytest.mark.parametrize("fit", ["pad", "crop", "squeeze"])
def test_the_classifier_sees_the_pools_picture(tmp_path: Path, fit: str) -> None:
    assert sees(project(tmp_path, pool={"fit": fit})) == {"fit": fit, "size": 32, "reads": "pictures"}


def test_it_sees_all_of_images_that_were_not_fitted(tmp_path: Path) -> None:
    found = sees(project(tmp_path, pool={"size": None, "fit": "crop"}))
    assert found == {"fit": "squeeze", "size": 427, "reads": "pictures"}


@pytest.mark.parametrize(("options", "size"), [({}, 224), ({"size": 96}, 96)])
def test_or_what_a_network_makes_of_the_original(tmp_path: Path, options: dict[str, Any], size: int) -> None:
    features = {"photos": {"kind": "efficientnet-lite0", **options}}
    learner = {"kind": "sklearn", "factory": "sklearn.linear_model.LogisticRegression"}
    info = project(tmp_path, features=features, learner={**learner, "features": "photos"})
    assert sees(info) == {"fit": "pad", "size": size, "reads": "originals"}
