"""The picture of what a classifier sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from asal.project import contact_sheet
from asal.project.project import Project
from asal.project.spec import load, to_toml

COLOURS = {"blue": (0, 0, 255), "green": (0, 160, 0), "red": (255, 0, 0)}


NETWORK = {
    "features": {"photos": {"kind": "efficientnet-lite0", "size": 96, "dimensions": 4}},
    "learner": {"kind": "head"},
}


def project(root: Path, images: Path, more: Mapping[str, Any] | None = None, **pool: Any) -> Project:
    root.mkdir()
    tables = {"name": "p", "source": {"kind": "folder", "path": str(images)}, "pool": {"size": 16, **pool}}
    tables |= more or {}
    (root / "asal.toml").write_text(to_toml(tables))
    opened = Project(root, load(root))
    opened.ingest()
    return opened


def draw(folder: Path, each: int, names: list[str], shape: tuple[int, int] = (60, 20)) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            colour = COLOURS.get(name, (number, 90, 200))
            Image.new("RGB", shape, colour).save(folder / name / f"{number}.png")
    return folder


def sheet(opened: Project) -> npt.NDArray[np.uint8]:
    place = contact_sheet.write(opened)
    assert place == opened.root / "sample.png"
    return np.asarray(Image.open(place))


def pixels(sheet: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(sheet.astype(int) - colour) < 12).all(2))


def test_each_class_has_a_row_of_what_the_classifier_sees(tmp_path: Path) -> None:
    opened = project(tmp_path / "p", draw(tmp_path / "images", 12, list(COLOURS)))
    drawn = sheet(opened)
    gray = pixels(drawn, (128, 128, 128)).sum()
    last = 0
    for colour in COLOURS.values():  # in alphabetical order, from top to bottom
        rows, columns = np.nonzero(pixels(drawn, colour))
        assert rows.min() > last, "classes are not in rows of their own"
        last = rows.max()
        # 16 pixels enlarged eight times: eight squares, of which the upper and the lower third are padding
        assert len(rows) == pytest.approx(8 * 128 * 128 * 5 / 16, rel=0.1)
        assert columns.max() - columns.min() >= 7 * 128
    assert gray == pytest.approx(24 * 128 * 128 * 11 / 16, rel=0.1)


def test_what_is_cut_off_is_not_drawn(tmp_path: Path) -> None:
    opened = project(tmp_path / "p", draw(tmp_path / "images", 3, ["blue", "red"]), fit="crop")
    assert pixels(sheet(opened), (128, 128, 128)).sum() < 1000, "padding is drawn, more than the edges of letters"


def lines(folder: Path, each: int = 6) -> Path:
    """Write pictures of a line of two pixels, which is faint at 16 pixels."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.full((96, 96, 3), 10 * number, np.uint8)
            pixels[:, 40:42] = 255
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_a_classifier_on_features_of_originals_sees_these(tmp_path: Path) -> None:
    images = lines(tmp_path / "images")
    opened = project(tmp_path / "p", images, NETWORK)
    ids = np.arange(12)
    assert contact_sheet._pictures(opened, ids)[0].shape == (12, 16, 16, 3), "there is no network yet"
    opened.prepare()
    seen, words = contact_sheet._pictures(Project.open(tmp_path / "p"), ids)
    assert seen.shape == (12, 96, 96, 3) and words == "96 × 96 pixels of the originals, padded"
    assert np.ptp(seen[0].astype(int)) > 200 and np.ptp(opened.pool.read(ids)[0].astype(int)) < 150
    assert pixels(sheet(opened), (255, 255, 255)).any()
    (images / "a" / "0.png").unlink()
    seen, words = contact_sheet._pictures(Project.open(tmp_path / "p"), ids)
    assert "the pool's picture in place of 1 original (1 gone)" in words and np.ptp(seen[0].astype(int)) < 150


def test_it_is_the_same_every_time_and_no_more_than_64(tmp_path: Path) -> None:
    names = [f"class {number:02}" for number in range(20)]
    opened = project(tmp_path / "p", draw(tmp_path / "images", 5, names))
    first = contact_sheet.write(opened).read_bytes()
    assert contact_sheet.write(Project.open(tmp_path / "p")).read_bytes() == first
    rows, note = contact_sheet._chosen(opened)
    assert sum(len(row.ids) for row in rows) == 64 and note == "; 4 classes not shown"


def test_images_without_classes_and_few_of_them(tmp_path: Path) -> None:
    folder = draw(tmp_path / "images", 3, ["blue"]) / "blue"
    opened = project(tmp_path / "p", folder)
    assert pixels(sheet(opened), COLOURS["blue"]).sum() == pytest.approx(3 * 128 * 128 * 5 / 16, rel=0.1)


def test_prepare_ends_with_it_and_every_file_is_as_it_was(tmp_path: Path, asal: Any) -> None:
    opened = project(tmp_path / "p", draw(tmp_path / "images", 30, ["blue", "red"]), split={"test": 20})
    said = asal("prepare", tmp_path / "p")
    assert said.code == 0 and f"What the classifier sees: {tmp_path / 'p' / 'sample.png'}" in said.out
    assert "2 classes have few test images" in said.out
    assert asal("doctor", tmp_path / "p").code == 0
    (opened.root / "sample.png").write_bytes(b"")
    assert asal("prepare", tmp_path / "p").code == 0
    assert (opened.root / "sample.png").read_bytes(), "a pool that was there before gets none"
