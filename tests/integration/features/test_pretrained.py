"""Pretrained networks: the very numbers of their libraries, from a copy that stands on its own."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import ROOT
from support import tiny_backbones as backbones
from support.tiny_backbones import (
    FAMILIES,
    MEAN,
    STD,
    WITH_TEXT,
    apart,
    copied,
    family,
    features_of,
    opened,
    options,
    photographs,
)

from asal.errors import DamageError, UserError
from asal.features import ExtractorInputs, features, hub_files
from asal.features.backbones import Preprocessing
from asal.features.hub_files import CONFIG, PREPROCESSOR, WEIGHTS
from asal.features.pretrained import FACTS, Pretrained, preprocess
from asal.project.project import Project
from asal.project.spec import parse
from asal.project.validate import check
from asal.runtime import artifacts
from asal.testing.extractor import CHECKS, images
from asal.testing.training import train, workshop

GUIDE = ROOT / "docs/how-to/pretrained-features.md"
DRAWS_NOTHING = (
    "same seed, same files"  # wants another seed to give other files; see tests/integration/features/test_features.py
)


# The shipped checks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [name for name in CHECKS if name != DRAWS_NOTHING])
@pytest.mark.parametrize("name", [*FAMILIES, *WITH_TEXT])
def test_every_family_passes_the_checks(name: str, check: str) -> None:
    CHECKS[check](lambda: Pretrained(**options(name)))


def test_every_seed_gives_the_same_files() -> None:
    found = []
    for seed in (0, 0, 1):
        with workshop() as folder:
            found.append(train(Pretrained(**options()), folder, seed=seed))
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {WEIGHTS, CONFIG, PREPROCESSOR, FACTS}


# Numbers -------------------------------------------------------------------------------------------------------------


def as_transformers_does(name: str, pictures: Any, size: int) -> Any:
    """Return the tokens (n, t, d) that the library's own network makes of what its own processor makes of pictures."""
    _, net, processor = family(name)
    rgb = [Image.fromarray(picture.squeeze()).convert("RGB") for picture in pictures]
    whole = {"size": {"height": size, "width": size}, "do_center_crop": False}  # squeezed, not cropped
    batch = processor(images=rgb, return_tensors="pt", **whole)["pixel_values"]
    return net(batch, **({"interpolate_pos_encoding": True} if name == "vit" else {})).last_hidden_state


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, 24])
@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_the_librarys_own(name: str, size: int | None, channels: int) -> None:
    first_patch = 4 if name in ("dinov2_with_registers", "dinov3_vit") else 1  # after the class token, three registers
    exact = photographs(5, size or 16, channels)
    tokens = as_transformers_does(name, exact, size or 16)
    for output, expected in (("token", tokens[:, 0]), ("mean", tokens[:, first_patch:].mean(1))):
        found = features_of(Pretrained(**options(name), size=size, output=output), exact)
        assert apart(found, expected) < 1e-5, f"{output}: no pixel is resized here"
    with workshop() as folder:
        extractor = opened(Pretrained(**options(name), size=size), folder)
    assert apart(extractor(exact), tokens[:, 0]) < 1e-5, "auto: no pixel is resized here"
    for pixels in (8, 28, 32, 64):  # rounded to whole numbers by Pillow, and not by asal
        pictures = photographs(5, pixels, channels)
        tokens = as_transformers_does(name, pictures, size or 16)
        assert apart(extractor(pictures), tokens[:, 0]) < 0.005


@pytest.mark.parametrize("size", [None, 24])
@pytest.mark.parametrize("name", WITH_TEXT)
def test_features_of_networks_with_texts_are_the_librarys_own(name: str, size: int | None) -> None:
    _, net, processor = backbones.with_text(name)
    side = size or 16
    pictures = photographs(5, side)
    squeezed = {"size": {"height": side, "width": side}, "do_center_crop": False}
    batch = processor(images=[Image.fromarray(it) for it in pictures], return_tensors="pt", **squeezed)["pixel_values"]
    found = net.vision_model(batch, interpolate_pos_encoding=True)
    expected = {"auto": found.pooler_output, "mean": found.last_hidden_state[:, 1 if name == "clip" else 0 :].mean(1)}
    if name == "clip":
        expected["token"] = found.last_hidden_state[:, 0]
    for output, features_of_library in expected.items():
        part = Pretrained(**options(name), size=size, output=output)
        assert apart(features_of(part, pictures), features_of_library) < 1e-5, output
    if name == "siglip":
        with pytest.raises(UserError, match="siglip has no class token"):
            features_of(Pretrained(**options(name), output="token"), pictures)
    if name == "clip" and size is None:  # with which the library compares images and texts
        embeds = net.visual_projection(torch.from_numpy(features_of(Pretrained(**options(name)), pictures)))
        of_library = net.get_image_features(batch)
        assert apart(embeds.numpy(), getattr(of_library, "pooler_output", of_library)) < 1e-5


def test_the_part_for_images_alone_gives_the_same(tmp_path: Path) -> None:
    import transformers

    for name, kind in (("clip", "CLIP"), ("siglip", "Siglip")):
        folder, _, processor = backbones.with_text(name)
        alone = getattr(transformers, f"{kind}VisionModel").from_pretrained(folder)
        alone.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
        part = Pretrained(f"tests/{name}", str(tmp_path / name))
        assert apart(features_of(part, images(4)), features_of(Pretrained(**options(name)), images(4))) < 1e-6


def test_weights_without_what_pools_are_refused(tmp_path: Path) -> None:
    shutil.copytree(backbones.with_text("siglip")[0], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / WEIGHTS)
    cut = {key: value for key, value in weights.items() if "vision_model.head" not in key}
    save_file(cut, tmp_path / WEIGHTS, {"format": "pt"})
    with pytest.raises(UserError, match=r"the weights lack .*head"):
        features_of(Pretrained("tests/siglip", str(tmp_path)), images(2))


def test_the_outputs_are_different_ones() -> None:
    token, mean = (features_of(Pretrained(**options(), output=output), images(4)) for output in ("token", "mean"))
    assert apart(token, mean) > 0.1


def test_gray_is_three_equal_colours() -> None:
    gray = photographs(4, 12, 1)
    part = Pretrained(**options())
    colours = features_of(part, np.repeat(gray, 3, axis=3))
    assert apart(features_of(part, gray), colours) < 1e-5, "resized with other kernels, which differ in the last bits"


def test_networks_see_normalised_squares_without_overshoot() -> None:
    preprocessing = Preprocessing(16, MEAN, STD, "bicubic")
    flat = preprocess(np.full((2, 5, 7, 3), 51, np.uint8), preprocessing)
    assert flat.shape == (2, 3, 16, 16)
    for channel in range(3):
        assert flat[:, channel].numpy() == pytest.approx((0.2 - MEAN[channel]) / STD[channel], abs=1e-5)
    edge = np.zeros((1, 8, 8, 1), np.uint8)
    edge[:, :, 4:] = 255
    values = preprocess(edge, Preprocessing(32, (0.0,) * 3, (1.0,) * 3, "bicubic"))
    assert values.min() == 0 and values.max() == 1
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1), np.uint8)
    shrunk = preprocess(noise, Preprocessing(8, (0.0,) * 3, (1.0,) * 3, "bilinear"))
    assert shrunk.std() < 0.05, "every pixel counts: of two by two alone, a deviation of 0.14 would be left"


def test_preprocessing_is_read_as_older_checkpoints_write_it(tmp_path: Path) -> None:
    folder = copied("vit", tmp_path / "old")
    facts = {"do_normalize": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / PREPROCESSOR).write_text(json.dumps(facts | {"resample": 2, "size": 20}))
    with workshop() as place:
        preprocessing = opened(Pretrained("tests/old", str(folder)), place).facts.preprocessing
    assert (preprocessing.size, preprocessing.mean[0], preprocessing.std[0], preprocessing.interpolation) == (
        20,
        0.5,
        0.25,
        "bilinear",
    )


def test_weights_of_half_precision_are_computed_with_in_full(tmp_path: Path) -> None:
    folder = copied("dinov2", tmp_path / "half")
    halved = {key: tensor.half() for key, tensor in load_file(folder / WEIGHTS).items()}
    save_file(halved, folder / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"dtype": "float16"}))
    net = copy.deepcopy(family("dinov2")[1])
    for weight in net.parameters():
        weight.copy_(weight.half())
    pictures = photographs(3, 16)
    found = features_of(Pretrained("tests/half", str(folder)), pictures)
    assert (
        apart(found, net(preprocess(pictures, Preprocessing(16, MEAN, STD, "bicubic"))).last_hidden_state[:, 0]) < 1e-5
    )


def test_dinov2_small_at_its_full_size(tmp_path: Path) -> None:
    processor = type(family("dinov2")[2])(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224})
    processor.save_pretrained(tmp_path)
    import transformers

    config = transformers.Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14)
    net = backbones.seeded(lambda: transformers.Dinov2Model(config))
    net.save_pretrained(tmp_path)
    part = Pretrained("facebook/dinov2-small", str(tmp_path))
    with workshop() as folder:
        extractor = opened(part, folder)
        assert (folder / WEIGHTS).stat().st_size == pytest.approx(88e6, rel=0.01)
        assert extractor.facts.preprocessing.size == 224 and extractor.dim == 384
        assert extractor(photographs(2, 32)).shape == (2, 384)


# What is kept --------------------------------------------------------------------------------------------------------


def test_the_copy_stands_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = copied("dinov2", tmp_path / "source")
    (source / "pytorch_model.bin").write_bytes(b"a pickle")
    part = Pretrained("tests/own", str(source), size=20, output="mean")
    with workshop() as folder:
        before = opened(part, folder)(images(3))
        shutil.rmtree(source)
        monkeypatch.setattr(socket, "socket", None)  # nor from a network
        assert np.array_equal(part.load(folder, (8, 8, 1), ExtractorInputs())(images(3)), before)
        assert not (folder / "pytorch_model.bin").exists()
        facts = artifacts.read_json(folder / FACTS)
        assert facts["sha256"] == artifacts.sha256(folder / WEIGHTS)
    assert facts["name"] == "tests/own" and facts["revision"] == "" and facts["output"] == "mean" and facts["dim"] == 32
    assert facts["library"] == "transformers" and facts["version"][0].isdigit()
    assert facts["sight"] == {"size": 20, "mean": list(MEAN), "std": list(STD), "interpolation": "bicubic"}


def test_a_copy_that_is_cut_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_files, "CHUNK", 10_000)
    part = Pretrained(**options())

    class Cut(Exception):  # noqa: N818
        pass

    def cutting(stage: str, done: int, total: int, note: str = "") -> None:
        told.append((stage, total))
        if len(told) == 3:
            raise Cut

    with workshop() as whole, workshop() as folder:
        expected = train(part, whole)
        told: list[tuple[str, int]] = []
        with pytest.raises(Cut):
            train(part, folder, progress=cutting)
        assert told[0][0] == "pretrained: MB copied"
        assert not (folder / WEIGHTS).exists() and not (folder / FACTS).exists()
        assert train(part, folder) == expected


# Refusals ------------------------------------------------------------------------------------------------------------


def of_another_kind(folder: Path) -> None:
    (folder / CONFIG).write_text('{"model_type": "swin"}')


def without_a_config(folder: Path) -> None:
    (folder / CONFIG).unlink()


def of_no_library(folder: Path) -> None:
    (folder / CONFIG).write_text('{"hidden_size": 32}')


def without_preprocessing(folder: Path) -> None:
    (folder / PREPROCESSOR).unlink()


def resized_by_lanczos(folder: Path) -> None:
    facts = json.loads((folder / PREPROCESSOR).read_text())
    (folder / PREPROCESSOR).write_text(json.dumps(facts | {"resample": 1}))


def of_another_range(folder: Path) -> None:
    facts = json.loads((folder / PREPROCESSOR).read_text())
    (folder / PREPROCESSOR).write_text(json.dumps(facts | {"rescale_factor": 1 / 127.5}))


def cut_short(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, 50_000)


def pickled(folder: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, folder / WEIGHTS)


def of_another_width(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"hidden_size": 48}))


def without_a_layer(folder: Path) -> None:
    rest = {key: t for key, t in load_file(folder / WEIGHTS).items() if not key.startswith("encoder.layer.1.mlp")}
    save_file(rest, folder / WEIGHTS, metadata={"format": "pt"})


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


HARMS: dict[Callable[[Path], None], str] = {
    of_another_kind: r"no network of transformers is called 'swin'; .* are clip, .*dinov2, ",
    without_a_config: r"there is no config\.json",
    of_no_library: "neither 'architecture', as timm writes it, nor 'model_type'",
    without_preprocessing: r"there is no preprocessor_config\.json",
    resized_by_lanczos: "'bilinear' or 'bicubic', not '1'",
    of_another_range: "not in the range 0 … 1",
    cut_short: r"model\.safetensors is not a complete safetensors file: .*fetch it again",
    pickled: r"not a complete safetensors file: .*have to be converted",
    of_another_width: "check `name`, `weights`",
    without_a_layer: r"the weights lack encoder\.layer\.1\.mlp\.fc1\.bias, .* …",
    without_weights: r"there is no file .*model\.safetensors; .*check the path",
}


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_wrong_checkpoint_is_refused_and_leaves_nothing(harm: Callable[[Path], None], tmp_path: Path) -> None:
    harm(copied("dinov2", tmp_path / "wrong"))
    with workshop() as folder:
        with pytest.raises(UserError, match=HARMS[harm]):
            train(Pretrained("tests/wrong", str(tmp_path / "wrong")), folder)
        assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": "no/where"}, "there is no file no/where; .*check the path, or leave `weights` out"),
        ({"size": 3}, "check `name`, `weights`, `size`"),
        ({"name": "torchvision/resnet18"}, "no network of torchvision is called 'torchvision/resnet18'"),
        ({"name": "torchvision/alexnet", "weights": ""}, "pickles, which asal never reads.*convert them once"),
        (
            {"sha256": "0" * 64},
            f"have the sha256 {'[0-9a-f]' * 64}; the spec asks for {'0' * 64}; check the file, `revision` and `sha256`",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_options_are_refused(changes: dict[str, Any], said: str) -> None:
    with workshop() as folder:
        with pytest.raises(UserError, match=said):
            train(Pretrained(**(options() | changes)), folder)
        assert not (folder / WEIGHTS).exists()


def test_weights_of_another_name_are_refused(tmp_path: Path) -> None:
    folder = copied("dinov2", tmp_path / "renamed")
    (folder / WEIGHTS).rename(folder / "best.safetensors")
    with (
        workshop() as place,
        pytest.raises(UserError, match=r"called best\.safetensors: .*hub's layout.*rename the file"),
    ):
        train(Pretrained("tests/renamed", str(folder / "best.safetensors")), place)


def test_weights_with_the_right_sum_are_taken() -> None:
    weights = family("dinov2")[0] / WEIGHTS
    found = features_of(Pretrained(**options(), sha256=sha256(weights.read_bytes()).hexdigest()), images(2))
    assert found.shape == (2, 32)


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "'name' is missing"),
     ({"name": "dinov2"}, "name = 'dinov2'"), ({"name": "a/b", "sha256": "12"}, "sha256 = '12'"),
     ({"name": "a/b", "size": 0}, "size = 0"), ({"name": "a/b", "output": "cls"}, "output = 'cls'")],
)  # fmt: skip
def test_a_spec_is_refused_before_anything_is_fetched(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        features["pretrained"].options(given)


def test_a_library_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Pretrained(**options())
    with workshop() as folder:
        train(part, folder)
        monkeypatch.setitem(sys.modules, "transformers", None)
        for attempt in (lambda: train(part, folder), lambda: part.load(folder, (8, 8, 1), ExtractorInputs())):
            with pytest.raises(UserError, match=r"transformers is not installed; .*pip install 'asal\[pretrained\]'"):
                attempt()


def test_a_torchvision_of_another_torch_is_said() -> None:
    if not (backbones.BESIDE / "torchvision").is_dir():
        pytest.skip("there is no torchvision beside this torch")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(backbones.BESIDE)])}
    fine = subprocess.run(
        [sys.executable, "-c", "import torchvision"], env=environment, capture_output=True, check=False
    )
    if fine.returncode == 0:
        pytest.skip("the torchvision beside this torch was built for it")
    code = f"from asal.features.pretrained import *; Pretrained(**{options()}).train(None, Path('.'), 0, None, print)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "torchvision does not import: operator torchvision::nms does not exist" in done.stderr
    assert "as built for your torch" in done.stderr
    assert "or uninstall it" in done.stderr


@pytest.mark.parametrize("harm", ["no facts", "no weights", "cut weights", "half the facts", "another library"])
def test_a_damaged_copy_is_named(harm: str) -> None:
    part = Pretrained(**options())
    with workshop() as folder:
        train(part, folder)
        facts = artifacts.read_json(folder / FACTS)
        if harm == "no facts":
            (folder / FACTS).unlink()
        elif harm == "no weights":
            (folder / WEIGHTS).unlink()
        elif harm == "cut weights":
            os.truncate(folder / WEIGHTS, 50_000)
        elif harm == "half the facts":
            artifacts.write_json(folder / FACTS, {"name": "tests/dinov2"})
        else:
            artifacts.write_json(folder / FACTS, facts | {"library": "keras"})
        with pytest.raises(DamageError, match=r"delete .* and run the same command again"):
            part.load(folder, (8, 8, 1), ExtractorInputs())


# The hub -------------------------------------------------------------------------------------------------------------

COMMIT = "5" * 40


@contextmanager
def hub(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as the Hugging Face hub serves a repository; yield its address, and what it is asked for."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    listing = [
        {"type": "file", "path": file, "size": len(data), "oid": sha256(data).hexdigest()[:40]}
        for file, data in files.items()
    ]
    answers = {
        f"/api/models/{name}/revision/main": json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode(),
        f"/api/models/{name}/tree/{COMMIT}": json.dumps(listing).encode(),
    } | {f"/{name}/resolve/{COMMIT}/{file}": data for file, data in files.items()}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            data = answers.get(path, b"")
            self.send_response(200 if path in answers else 404)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{sha256(data).hexdigest()}"')
            self.end_headers()
            if with_body:
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_weights_are_fetched_from_the_hub_once(start: Any, write_spec: Callable[..., Path], tmp_path: Path) -> None:
    served = copied("dinov2", tmp_path / "served")
    (served / "pytorch_model.bin").write_bytes(b"a pickle")
    spec = write_spec(
        tmp_path / "dino.toml", generator=None, strategies=None, pool={"split": {"train": 40, "test": 0}},
        features={"autoencoder": None, "dino": {"kind": "pretrained", "name": "tests/dinov2", "dimensions": 4}},
    )  # fmt: skip
    home = tmp_path / "home"
    with hub(served, "tests/dinov2") as (address, asked):
        told = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        first = f"import os; os.environ.update({told})"  # read when the hub's client is imported
        said = start("prepare", spec, "--project", tmp_path / "one", first=first).wait()
        assert said.code == 0, said.err
    assert any(path.endswith(WEIGHTS) for path in asked) and not any(path.endswith(".bin") for path in asked)
    assert "pretrained: MB fetched" in said.out + said.err
    # The server is gone now, and its cache is not.
    assert start("prepare", spec, "--project", tmp_path / "two", first=first).wait().code == 0
    for project in ("one", "two"):
        (part,) = (tmp_path / project).glob("parts/pretrained-*")
        facts = artifacts.read_json(part / FACTS)
        assert facts["revision"] == COMMIT and facts["sha256"] == artifacts.sha256(served / WEIGHTS)
    shutil.rmtree(home)
    start("prepare", spec, "--project", tmp_path / "three", first=first).wait().refused(
        "in its cache, or in a local copy", "'tests/dinov2' at 'main' could not be fetched", "set `weights`"
    )


# A project -----------------------------------------------------------------------------------------------------------


def test_a_project_matches_in_the_space_of_a_network(
    start: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    dino = {"kind": "pretrained", "dimensions": 8, **options()}
    made = Project.open(write_spec(tmp_path, features={"dino": dino}, strategies={"asal": {"features": "dino"}}))
    made.prepare()
    (part,) = tmp_path.glob("parts/pretrained-*")
    assert artifacts.manifest(part)["options"]["name"] == "tests/dinov2"
    space, ids = made.space("dino"), np.array([399, 0, 7])
    assert space.vectors.dim == 8
    assert np.allclose(space.vectors.read(ids), space.extractor(made.pool.read(ids)), atol=1e-4)
    said = start("run", tmp_path, "--out", tmp_path / "out", "--strategies", "asal", "--seeds", 1).wait()
    assert said.code == 0, said.err
    rows = (tmp_path / "out/asal/seed-0/rows.jsonl").read_text().splitlines()
    assert [json.loads(row)["labels"] for row in rows] == [20, 30, 40]


def test_what_the_guide_shows_is_accepted() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        around = {"name": "guide", "source": {"kind": "digits"}, "generator": {"kind": "wgan-gp"}}
        spec = parse(around | tomllib.loads(block))
        check(spec)
        assert any(table.kind in ("efficientnet-lite0", "pretrained") for table in spec.features.values())
