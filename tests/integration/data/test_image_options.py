"""How a pool's images are made is settled once: from a sample, from what is asked for, or as it always was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from support.image_files import png16

from asal.core import Images
from asal.data.ingest import ingest
from asal.data.pool import StoredPool
from asal.data.sources.arrays import Arrays
from asal.data.sources.folder import Folder
from asal.data.splits import Split
from asal.errors import UserError
from asal.project.project import Project
from asal.project.spec import load, parse
from asal.project.status import notes
from asal.runtime import artifacts

SPEC = """
name = "p"
[source]
kind = "folder"
path = {path}
label = "none"
[pool]
size = 16
{pool}
[learner]
kind = "linear"
[protocol]
initial = 2
batch = 2
budget = 4
[strategies.random]
[labelling]
classes = ["a", "b"]
"""


def project(root: Path, images: Path, pool: str = "") -> Project:
    root.mkdir(exist_ok=True)
    (root / "asal.toml").write_text(SPEC.format(path=json.dumps(str(images)), pool=pool))
    return Project.open(root)


def deep(high: int, low: int = 0) -> npt.NDArray[np.uint16]:
    return np.linspace(low, high, 256).reshape(16, 16).astype(np.uint16)


def put(folder: Path, name: str, pixels: npt.NDArray[Any] | Image.Image) -> None:
    folder.mkdir(exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(folder / name)


def stored(folder: Path) -> dict[str, Images]:
    pool = StoredPool.open(folder)
    ids = np.arange(len(pool))
    return dict(zip(pool.keys(ids), pool.read(ids), strict=True))


def options_of(folder: Path) -> dict[str, Any]:
    options: dict[str, Any] = artifacts.manifest(folder)["options"]
    return {name: options[name] for name in ("fit", "background", "range") if name in options}


def as_made_before(folder: Path) -> None:
    """Leave out of a manifest what manifests did not have."""
    manifest = artifacts.read_json(folder / artifacts.MANIFEST)
    for name in ("fit", "background", "range"):
        manifest["options"].pop(name, None)
    manifest.pop("ranges", None)
    artifacts.write_json(folder / artifacts.MANIFEST, manifest)


def marked(right: int = 0) -> Image.Image:
    """A wide image: red at its left edge, this gray at its right edge, black in the middle."""
    image = Image.new("RGB", (48, 16))
    image.paste((right, right, right), (36, 0, 48, 16))
    image.paste((255, 0, 0), (0, 0, 12, 16))
    return image


# A new pool


def test_the_hint_about_an_option_that_changed_helps(tmp_path: Path, asal: Any) -> None:
    images, root = tmp_path / "images", tmp_path / "project"
    put(images, "a.png", marked())
    put(images, "b.png", marked(9))
    project(root, images).ingest()
    as_made_before(root / "pool")  # what its options are in asal.toml could not be written: range was None
    text = (root / "asal.toml").read_text()
    for line in ('fit = "pad"', 'background = "auto"', "range = [0, 4095]"):
        name = line.partition(" ")[0]
        (root / "asal.toml").write_text(text.replace("size = ", f"{line}\nsize = "))
        asal("prepare", root).refused(f"{name} was", f"drop '{name} =' under [pool]")
    (root / "asal.toml").write_text(text)
    assert asal("prepare", root).code == 0


def test_the_range_is_taken_from_a_sample_told_and_used_for_what_is_added(tmp_path: Path, asal: Any) -> None:
    images, root = tmp_path / "images", tmp_path / "project"
    for number in range(6):
        put(images, f"{number}.png", deep(4095 if number == 3 else 300))
    made = project(root, images)
    said = asal("prepare", root)
    line = "16-bit images: values 0 … 4,095 are scaled to 0 … 255"
    assert said.code == 0 and line in said.out and line in asal("status", root).out
    assert artifacts.manifest(root / "pool")["ranges"] == {"16-bit": [0, 4095]}
    before = stored(root / "pool")
    assert before["3.png"].max() == 255 and before["0.png"].max() == round(300 * 255 / 4095)
    put(images, "new.png", deep(65_535))
    assert made.add().new == 1
    assert stored(root / "additions/0001")["new.png"][0, :4, 0].tolist() == [0, 16, 32, 48], "one range for all"
    assert made.add().new == 0 and f"additions/0001: {line}" in notes(root)


def test_full_16_bit_data_are_read_as_ever(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.png", deep(65_535))
    put(tmp_path / "images", "b.png", deep(900))
    pool = stored(ingest(Folder(str(tmp_path / "images"), "none"), tmp_path / "p", size=16, gray=True)["pool"])
    for name, high in (("a.png", 65_535), ("b.png", 900)):
        assert np.array_equal(pool[name][..., 0], np.rint(deep(high) / 257))


def test_validation_and_test_set_have_the_range_of_the_pool(tmp_path: Path) -> None:
    x = np.stack([deep(1000 if number else 30) for number in range(30)])
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(30) % 2, x_test=np.stack([deep(3000)] * 3), y_test=[0, 1, 0])
    folders = ingest(Arrays(str(tmp_path / "set.npz")), tmp_path / "p", Split(20, 5, "test"), gray=True)
    for name, folder in folders.items():
        assert artifacts.manifest(folder)["ranges"] == {"16-bit": [0, 1023]}, name
        assert options_of(folder) == {"background": "auto", "range": "auto"}, "arrays are cropped"
        brightest = min(255, round((3000 if name == "test" else 1000) * 255 / 1023))
        assert all(image.max() in (brightest, round(30 * 255 / 1023)) for image in stored(folder).values())


@pytest.mark.parametrize(
    ("written", "brightest"), [("[0, 4095]", 62), ("[0, 1000]", 255), ("[500, 1500]", 128), ('"image"', 255)]
)
def test_a_range_can_be_set(tmp_path: Path, written: str, brightest: int) -> None:
    put(tmp_path / "images", "a.png", deep(1000))
    (tmp_path / "images/b.png").write_bytes(png16(np.repeat(deep(1000)[..., None], 3, axis=2)))
    project(tmp_path / "p", tmp_path / "images", f"range = {written}").ingest()
    for image in stored(tmp_path / "p/pool").values():
        assert image.max() == brightest


def test_the_range_that_was_found_may_be_written_down_and_no_other(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.png", deep(1000))
    project(tmp_path / "p", tmp_path / "images").ingest()
    same = project(tmp_path / "p", tmp_path / "images", "range = [0, 1023]")
    same.ingest()
    assert same.add().new == 0
    other = project(tmp_path / "p", tmp_path / "images", "range = [0, 4095]")
    with pytest.raises(UserError, match=r"range was 'auto' and is \[0"):
        other.ingest()
    with pytest.raises(UserError, match=r"made with range = 'auto', and the spec says \[0"):
        other.add()


def test_a_kind_that_comes_later_gets_its_range_then(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.png", np.zeros((16, 16), np.uint8) + 77)
    made = project(tmp_path / "p", tmp_path / "images")
    made.ingest()
    assert "ranges" not in artifacts.manifest(tmp_path / "p/pool")
    for number, high in enumerate((4000, 100)):
        put(tmp_path / "images", f"later{number}.png", deep(high))
        made.add()
        folder = tmp_path / f"p/additions/000{number + 1}"
        assert artifacts.manifest(folder)["ranges"] == {"16-bit": [0, 4095]}
        assert stored(folder)[f"later{number}.png"].max() == round(high * 255 / 4095)


def test_a_folder_of_photographs_is_padded_and_other_sources_are_not(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.png", marked())
    project(tmp_path / "p", tmp_path / "images").ingest()
    assert options_of(tmp_path / "p/pool") == {"fit": "pad", "background": "auto", "range": "auto"}
    padded = stored(tmp_path / "p/pool")["a.png"]
    assert padded[8, 0].tolist() == [255, 0, 0] and padded[0, 0].tolist() == [128, 128, 128]
    np.save(tmp_path / "set.npy", np.asarray(marked())[None])
    cropped = stored(ingest(Arrays(str(tmp_path / "set.npy")), tmp_path / "q", size=16)["pool"])
    assert not cropped["train/0"].any()


def test_what_is_not_said_is_as_the_pool_was_made(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.png", marked())
    project(tmp_path / "p", tmp_path / "images", 'fit = "squeeze"\nbackground = "navy"').ingest()
    silent = project(tmp_path / "p", tmp_path / "images")
    silent.ingest()
    put(tmp_path / "images", "b.png", marked(99))
    put(tmp_path / "images", "c.png", Image.new("RGBA", (16, 16)))
    assert silent.add().new == 2
    added = stored(tmp_path / "p/additions/0001")
    assert added["b.png"][0, 0].tolist() == [255, 0, 0] and added["b.png"][0, 15].tolist() == [99, 99, 99], "squeezed"
    assert added["c.png"][0, 0].tolist() == [0, 0, 128]
    with pytest.raises(UserError, match="background was '#000080' and is '#ffffff'"):
        project(tmp_path / "p", tmp_path / "images", 'background = "white"').ingest()


# A pool from before


def old_pool(tmp_path: Path) -> Project:
    put(tmp_path / "images", "a.png", marked())
    project(tmp_path / "p", tmp_path / "images", 'fit = "crop"\nbackground = "white"').ingest()
    as_made_before(tmp_path / "p/pool")
    return project(tmp_path / "p", tmp_path / "images")


def test_a_pool_from_before_goes_on_as_it_was(tmp_path: Path) -> None:
    made = old_pool(tmp_path)
    made.ingest()
    put(tmp_path / "images", "wide.png", marked(99))
    put(tmp_path / "images", "clear.png", Image.new("RGBA", (16, 16)))
    put(tmp_path / "images", "deep.png", deep(4095))
    Image.fromarray(deep(900).astype(np.float32)).save(tmp_path / "images/float.tif")
    assert made.add().new == 3, "floats above 1 were left out, and still are"
    added = stored(tmp_path / "p/additions/0001")
    assert not added["wide.png"].any(), "cropped"
    assert (added["clear.png"] == 255).all(), "over white"
    assert added["deep.png"].max() == round(4095 / 257)
    assert options_of(tmp_path / "p/additions/0001") == {}


@pytest.mark.parametrize(
    ("line", "was"), [('fit = "pad"', "crop"), ('background = "auto"', "#ffffff"), ('range = "auto"', "None")]
)
def test_a_pool_from_before_is_not_made_otherwise(tmp_path: Path, line: str, was: str) -> None:
    old_pool(tmp_path)
    other = project(tmp_path / "p", tmp_path / "images", line)
    with pytest.raises(UserError, match=f"was '?{was}"):
        other.ingest()
    with pytest.raises(UserError, match=f"= '?{was}.*and the spec says"):
        other.add()


def test_a_pool_from_before_may_be_described_as_it_is(tmp_path: Path) -> None:
    old_pool(tmp_path)
    said = project(tmp_path / "p", tmp_path / "images", 'fit = "crop"\nbackground = "#fff"\npixel_limit = 1000')
    said.ingest()
    put(tmp_path / "images", "b.png", Image.new("L", (16, 16)))
    put(tmp_path / "images", "c.png", Image.new("L", (64, 64)))
    assert said.add().new == 1, "a limit holds for what is added"


def test_an_unfinished_pool_from_before_is_finished_as_it_was_begun(tmp_path: Path) -> None:
    made = old_pool(tmp_path)
    artifacts.write(tmp_path / "p/pool/images/00000.npy", b"damage")
    assert len(artifacts.repair(tmp_path / "p/pool")) == 1
    made.ingest()
    assert not stored(tmp_path / "p/pool")["a.png"].any() and options_of(tmp_path / "p/pool") == {}


def test_what_a_receipt_left_out_stays_out_when_its_shard_is_made_again(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.png", marked())
    (tmp_path / "images/b.png").write_bytes(b"no image yet")
    put(tmp_path / "images", "c.png", Image.new("RGB", (16, 16), "blue"))
    made = project(tmp_path / "p", tmp_path / "images")
    made.ingest()
    before = stored(tmp_path / "p/pool")
    put(tmp_path / "images", "b.png", marked())
    artifacts.write(tmp_path / "p/pool/images/00000.npy", b"damage")
    artifacts.repair(tmp_path / "p/pool")
    made.ingest()
    after = stored(tmp_path / "p/pool")
    assert list(after) == ["a.png", "c.png"] and all(np.array_equal(after[key], before[key]) for key in before)


# Warnings


def noise(low: int, high: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng().integers(low, high, (16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("low", "high", "warning"),
    [(0, 20, "5 of 5 images of a sample are nearly black"), (235, 256, "5 of 5 images of a sample are nearly white"),
     (100, 102, "all 5 images of a sample look the same"), (0, 256, "")],
)  # fmt: skip
def test_a_sample_that_shows_nothing_is_warned_of(tmp_path: Path, low: int, high: int, warning: str, asal: Any) -> None:
    for number in range(5):
        put(tmp_path / "images", f"{number}.png", noise(low, high))
    project(tmp_path / "p", tmp_path / "images")
    said, status = asal("prepare", tmp_path / "p"), asal("status", tmp_path / "p")
    if warning:
        assert f"warning: {warning}" in said.out and f"pool: warning: {warning}" in status.out
    else:
        assert "warning" not in said.out + status.out


def test_a_few_black_images_are_none_to_warn_of(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / "images", f"{number}.png", noise(0, 20 if number < 2 else 256))
    project(tmp_path / "p", tmp_path / "images").ingest()
    assert notes(tmp_path / "p") == []


# The spec


def test_a_spec_that_says_nothing_has_the_hash_that_it_had() -> None:
    spec = parse({"name": "least", "source": {"kind": "digits"}, "pool": {"size": 16}})
    assert spec.hash == "2bd0024999b8"  # of version 0.1.0
    assert not {"fit", "background", "range", "pixel_limit"} & spec.model_dump()["pool"].keys()
    for more in ({"fit": "pad"}, {"background": "white"}, {"range": [0, 9]}, {"pixel_limit": 5}):
        other = parse({"name": "least", "source": {"kind": "digits"}, "pool": {"size": 16, **more}})
        assert other.hash != spec.hash and other == parse(other.model_dump())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('fit = "stretch"', "fit"), ('background = "nocolour"', "is no colour"), ("range = [5, 5]", "is no range"),
        ("range = [9, 1]", "is no range"), ("range = [0, inf]", "is no range"),
        ('range = "full"', "is no range: write"),
        ("pixel_limit = 0", "pixel_limit"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "asal.toml").write_text(SPEC.format(path='"/images"', pool=line))
    with pytest.raises(UserError, match=words):
        load(tmp_path)
