"""What a new project is like depends on the images: photographs, small images, few of them, many."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asal.data.sources.folder import Folder
from asal.data.survey import survey
from asal.project import scaffold
from asal.project.preparer import Preparer
from asal.project.project import Project
from asal.project.scaffold import Wish, start
from asal.project.spec import Spec, load, parse
from asal.project.validate import check

SHAPES = [(300, 200), (200, 600), (900, 300), (120, 120)]


def draw(folder: Path, number: int, shape: tuple[int, int], *, mode: str = "RGB", first: int = 0) -> Path:
    """Write pictures of noise of one shape (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    pixels = rng.integers(255, size=(*shape[::-1], 3), dtype=np.uint8)
    for name in range(first, first + number):
        Image.fromarray(pixels).convert(mode).save(folder / f"{name}.{'png' if max(shape) < 100 else 'jpg'}")
    return folder


def photographs(folder: Path, each: int = 10, classes: int = 2) -> Path:
    for name in range(classes):
        for place, shape in enumerate(SHAPES):
            draw(folder / f"class {name}", each, shape, first=place * each)
    return folder


def made(folder: Path, images: Path | str, wish: Wish | None = None) -> tuple[Spec, scaffold.Started]:
    started = start(folder / "p", images, wish)
    return load(folder / "p"), started


def test_photographs_get_a_backbone_and_a_head_and_no_generator(tmp_path: Path) -> None:
    spec, started = made(tmp_path, photographs(tmp_path / "images"))
    assert spec.generator is None and spec.learner.kind == "head" and started.kind == "photographs"
    assert spec.features["photos"].kind == "efficientnet-lite0"
    assert [*spec.strategies] == ["spread", "subset", "random"] and spec.strategies["spread"].first is not None
    steps = [step.name for step in Preparer(Project(tmp_path / "p", spec)).plan()]
    assert not any("index" in step or "generator" in step for step in steps), "spread uses neither"
    assert (spec.pool.size, spec.pool.fit, spec.pool.gray) == (64, "pad", False)
    assert "shapes: 120 × 120 to 900 × 300 pixels, 3 : 1 to 1 : 3; colour; JPEG" in "\n".join(started.found)
    text = started.file.read_text()
    assert len(text.splitlines()) <= 36 and all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("kind", ["photographs", "small-images"])
@pytest.mark.parametrize("size", [28, 64])
def test_what_is_written_passes_every_check(tmp_path: Path, kind: str, size: int) -> None:
    classed, plain = photographs(tmp_path / "classed"), draw(tmp_path / "plain", 30, (200, 100))
    for name, images, more in (("c", classed, ["random"]), ("n", plain, [])):
        spec = load(start(tmp_path / name, images, Wish(kind, size)).file)
        assert [*check(spec).tables] == ["spread", "subset", *more]
        assert check(spec).strategies["subset"].table.options["score"] == "margin"
        text = (tmp_path / name / "asal.toml").read_text()
        assert len(text.splitlines()) <= 36 and "\n\n\n" not in text
        named = tomllib.loads(text.replace("# classes", "classes"))
        assert parse(named).labelling.classes == (() if name == "c" else ("cat", "dog"))
        searching = parse(tomllib.loads(text.replace("# [strategies.asal]", "[strategies.asal]")))
        assert "generator" not in check(searching, ["asal"]).strategies["asal"].needs


def test_a_turned_photograph_has_the_shape_that_people_see(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # by a quarter
    Image.new("RGB", (300, 100)).save(folder / "1.jpg", exif=exif)
    (header,) = survey(Folder(str(folder))).images
    assert (header.width, header.height) == (100, 300)


@pytest.mark.parametrize(
    ("shape", "mode", "kind", "size", "gray"),
    [
        ((28, 28), "L", "small-images", 28, True),
        ((32, 32), "RGB", "small-images", 32, False),
        ((60, 50), "L", "small-images", 32, True),
        ((6, 5), "L", "small-images", 8, True),
        ((64, 64), "RGB", "photographs", 64, False),
        ((300, 300), "L", "photographs", 64, False),
    ],
)
def test_small_and_gray_images_are_recognised(
    tmp_path: Path, shape: tuple[int, int], mode: str, kind: str, size: int, gray: bool
) -> None:
    for name in ("a", "b"):
        draw(tmp_path / "images" / name, 12, shape, mode=mode)
    spec, started = made(tmp_path, tmp_path / "images")
    assert (started.kind, spec.pool.size, spec.pool.gray) == (kind, size, gray)
    assert spec.generator is None and spec.learner.kind == ("head" if kind == "photographs" else "cnn")


def test_gray_pixels_in_three_channels_are_gray(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(12):
        gray = Image.fromarray(rng.integers(255, size=(28, 28), dtype=np.uint8)).convert("RGB")
        gray.save(tmp_path / "images" / f"{number}.png")
    assert made(tmp_path, tmp_path / "images")[0].pool.gray


def test_one_may_choose_otherwise(tmp_path: Path, asal: Any) -> None:
    images = photographs(tmp_path / "images", 5)
    said = asal(
        "init", "--no-estimate", tmp_path / "p", "--images", images, "--for", "small-images", "--size", 32, "--gray"
    )
    assert said.code == 0 and "taken for" not in said.out
    spec = load(tmp_path / "p")
    assert spec.learner.kind == "cnn" and spec.pool.size == 32 and spec.pool.gray
    draw(tmp_path / "small", 10, (28, 28), mode="L")
    said = asal(
        "init", "--no-estimate", tmp_path / "q", "--images", tmp_path / "small", "--for", "photographs", "--colour"
    )
    spec = load(tmp_path / "q")
    assert spec.learner.kind == "head" and not spec.pool.gray and spec.pool.size == 64


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = photographs(tmp_path / "images", 3)
    monkeypatch.setattr(scaffold, "BACKBONE", "no_such_module")
    spec, started = made(tmp_path, images)
    assert spec.learner.kind == "head" and "pip install 'asal[photos]'" in "\n".join(started.found)


def test_numbers_fit_a_small_folder(tmp_path: Path) -> None:
    spec, started = made(tmp_path, photographs(tmp_path / "images", 8))  # 64 images, two classes
    held = spec.pool.split.test
    assert held == 12 and spec.pool.split.stratified
    asked = spec.protocol
    assert asked.initial + asked.batch < asked.budget <= (64 - held) // 2
    assert 2 * asked.batch < spec.strategies["spread"].options["size"] < 64 - held
    assert "2 classes have few test images" in "\n".join(started.found)


def test_a_folder_without_classes_asks_for_their_names(tmp_path: Path) -> None:
    images = draw(tmp_path / "images", 30, (200, 100))
    spec, started = made(tmp_path, images)
    assert not spec.pool.split.test and not spec.pool.split.stratified and "random" not in spec.strategies
    assert '# classes = ["cat", "dog"]' in started.file.read_text()
    assert spec.source.options == {"path": "../images"}


@pytest.mark.parametrize(("loose", "each", "classes"), [(100, 3, 2), (0, 1, 30), (0, 2, 3)])
def test_no_more_is_held_out_than_the_classes_can_spare(tmp_path: Path, loose: int, each: int, classes: int) -> None:
    images = tmp_path / "images"
    for name in range(classes):
        draw(images / f"class {name}", each, (90, 70))
    if loose:
        draw(images, loose, (90, 70))
    spec, _ = made(tmp_path, images)
    held = spec.pool.split.test
    assert isinstance(held, int) and held <= classes * (each - 1)
    opened = Project.open(tmp_path / "p")
    opened.ingest()
    labels = opened.oracle("pool").answer(np.arange(len(opened.pool)))
    assert set(labels) - {-1} == set(range(classes)), "a class has left the pool"


def test_the_only_folder_is_no_class(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "2024", 30, (200, 100))
    spec, started = made(tmp_path, tmp_path / "images")
    assert spec.source.options["label"] == "none" and "'2024' is the only folder" in "\n".join(started.found)


def test_many_files_are_looked_at_in_every_folder_and_not_one_by_one(tmp_path: Path) -> None:
    for name in range(30):
        folder = tmp_path / "images" / f"class {name}"
        folder.mkdir(parents=True)
        picture = draw(tmp_path / "one", 1, (150, 100 + name)) / "0.jpg"
        for number in range(100):
            (folder / f"{number}.jpg").hardlink_to(picture)
        picture.unlink()
    found = survey(Folder(str(tmp_path / "images")))
    assert len(found.images) == 300 and {image.height for image in found.images} == set(range(100, 130))
    assert {image.height for image in found.images[:60]} == set(range(100, 130)), "a cut sample is not spread"
    assert len(survey(Folder(str(tmp_path / "images")), seconds=0).images) == 20


def test_a_url_is_looked_at_without_fetching_files_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    images = photographs(tmp_path / "images", 3)
    large = np.random.default_rng(0).integers(255, size=(900, 1200, 3), dtype=np.uint8)
    Image.fromarray(large).save(images / "class 0" / "large.jpg", quality=95)
    Image.fromarray(large[:300]).save(images / "class 0" / "large.tif")
    ends: list[object] = []
    plain = LocalFileSystem.cat_file

    def counting(self: Any, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        ends.append(end)
        data: bytes = plain(self, path, start=start, end=end, **options)
        return data

    monkeypatch.setattr(LocalFileSystem, "cat_file", counting)
    spec, started = made(tmp_path, f"file://{images}")
    assert spec.source.options["path"] == f"file://{images}" and started.kind == "photographs"
    assert "no images" not in "\n".join(started.found) and "1,200 × 900" in "\n".join(started.found)
    assert len(ends) == 26 and ends.count(None) == 1, "only the TIFF is fetched completely"


def test_from_a_folder_of_photographs_to_a_batch(tmp_path: Path, asal: Any) -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        home = tmp_path / "images" / ("dark", "light")[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        image = rng.integers(80, size=(90, 150, 3), dtype=np.uint8) + 150 * (number % 2)
        Image.fromarray(image.astype(np.uint8)).save(home / f"{number}.jpg")
    root = tmp_path / "p"
    assert asal("init", root, "--images", tmp_path / "images").code == 0
    said = asal("prepare", root, "--workers", 1)
    assert said.code == 0 and f"Next: asal label {root}" in said.out
    opened = Project.open(root)
    assert {part: len(opened.images(part)) for part in ("pool", "test")} == {"pool": 48, "test": 12}
    session = opened.session(next(iter(opened.spec.strategies)))
    for _ in range(2):
        batch = session.ask(5)
        session.tell({int(i): key.split("/")[0] for i, key in zip(batch.ids, opened.pool.keys(batch.ids), strict=True)})
    predicted = session.model().predict(opened.inputs("test").read(np.arange(12))).argmax(1)
    assert predicted.tolist() == opened.oracle("test").answer(np.arange(12)).tolist()
    assert asal("doctor", root).code == 0
