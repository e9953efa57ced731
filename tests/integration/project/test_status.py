"""What a folder holds, told so that one knows what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asal.project.status import abandoned, damage, folders, summary


def states(root: Path) -> dict[str, str]:
    """Return the state of each folder by its name, without the hash."""
    return {name.partition("-")[0]: state for name, state, _ in summary(root)}


def test_a_whole_project_is_told_folder_by_folder(tiny: Path, asal: Any) -> None:
    assert set(states(tiny)) == {
        "pool",
        "test",
        "parts/wgan",
        "parts/autoencoder",
        "features/autoencoder",
        "indexes/auto",
    }
    assert set(states(tiny).values()) == {"complete"} and damage(tiny) == []
    details = {name.partition("-")[0]: detail for name, _, detail in summary(tiny)}
    assert "400 images of 8 × 8 × 1" in details["pool"] and "unreadable" not in details["pool"]
    assert "Fréchet distance" in details["parts/wgan"] and "files" in details["indexes/auto"]
    said = asal("status", tiny)
    assert said.code == 0 and said.out.count("complete") == 6


def test_what_was_cut_short_is_told(tiny: Path, asal: Any) -> None:
    (part,) = tiny.glob("parts/autoencoder-*")
    part.rename(part.with_name(f"{part.name}.partial"))
    (part.with_name(f"{part.name}.partial") / "part.json").unlink()
    assert states(tiny)["parts/autoencoder"] == "unfinished"
    told = " ".join(asal("status", tiny).out.split())
    assert "unfinished" in told and "asal prepare" in told
    assert asal("doctor", tiny).code == 0, "a cut is no damage"


def half_made(folder: Path) -> Path:
    """Make a finished folder a half-made one, as a kill leaves it."""
    partial = folder.rename(folder.with_name(f"{folder.name}.partial"))
    (partial / "part.json").unlink()
    return partial


def test_a_half_made_folder_of_a_spec_that_has_changed_is_abandoned(
    tiny: Path, write_spec: Callable[..., Path], asal: Any
) -> None:
    (generator,), (features,) = tiny.glob("parts/wgan-gp-*"), tiny.glob("features/*")
    left, under_way = half_made(generator), half_made(features)
    assert abandoned(tiny) == set() and "abandoned" not in asal("status", tiny).out
    write_spec(tiny, generator={"steps": 19})
    assert abandoned(tiny) == {left}
    rows = {name: (state, detail) for name, state, detail in summary(tiny)}
    state, detail = rows[str(left.relative_to(tiny))]
    size = sum(path.stat().st_size for path in left.rglob("*") if path.is_file()) / 1e6
    assert state == "abandoned" and f"{size:,.1f} MB" in detail and detail.endswith(f"rm -r {left}")
    assert rows[str(under_way.relative_to(tiny))][0] == "unfinished"
    assert "abandoned" in asal("status", tiny).out
    (tiny / "asal.toml").write_text("name = ")
    assert abandoned(tiny) == set(), "a spec that cannot be read says nothing of its folders"


@pytest.mark.parametrize("place", ["pool/images/00000.npy", "parts/wgan-gp-*/weights.safetensors", "test/labels.npy"])
def test_damage_is_told(place: str, tiny: Path, asal: Any) -> None:
    (path,) = tiny.glob(place)
    folder = next(folder for folder in folders(tiny) if path.is_relative_to(folder))
    path.write_bytes(path.read_bytes()[:-1])
    assert states(tiny)[str(folder.relative_to(tiny)).partition("-")[0]] == "damaged"
    said = asal("status", tiny)
    assert said.code == 0 and said.out.count("complete") == 5
    assert sum(" damaged  " in line for line in said.out.splitlines()) == 1
    doctor = asal("doctor", tiny)
    assert doctor.code == 1 and str(path) in doctor.err and f"asal doctor {folder} --repair" in doctor.err
    assert "1 fault" in doctor.out
    assert len(damage(tiny)) == 1


def test_a_changed_byte_is_found_by_the_doctor(tiny: Path, asal: Any) -> None:
    for path in (*tiny.glob("parts/*/weights.safetensors"), tiny / "pool" / "keys.parquet"):
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
    doctor = asal("doctor", tiny)
    assert doctor.code == 1 and len(doctor.lines) == 6 and doctor.err.count("sha256") == 3


def test_unreadable_images_are_counted(write_spec: Callable[..., Path], tmp_path: Path, asal: Any) -> None:
    import numpy as np
    from PIL import Image

    (tmp_path / "images").mkdir()
    for number in range(20):
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "images" / "7.png").write_bytes(b"")
    folder = write_spec(
        tmp_path, source={"kind": "folder", "path": str(tmp_path / "images")},
        pool={"split": {"train": None, "test": 0}}, generator=None, features=None, strategies={"asal": None},
    )  # fmt: skip
    said = asal("prepare", folder)
    assert said.code == 0, said.err
    assert "19 images of 8 × 8 × 1, 1 unreadable" in " ".join(said.out.split())
    ((_, _, detail),) = summary(tmp_path)
    assert str(tmp_path / "pool" / "unreadable.csv") in detail


def test_a_folder_of_nothing_is_said_to_be_one(asal: Any, tmp_path: Path) -> None:
    said = asal("status", tmp_path)
    assert said.code == 0 and "nothing in" in " ".join(said.out.split())
    for command in ("status", "doctor"):
        asal(command, tmp_path / "nowhere").refused("a project is a folder", "nowhere", "check the path")


def test_the_doctor_tells_what_is_installed_and_which_device(asal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASAL_DEVICE", "cpu")
    said = asal("doctor")
    assert said.code == 0
    told = dict(line.split(maxsplit=1) for line in said.out.splitlines() if len(line.split()) > 1)
    assert {"python", "asal", "torch", "numpy", "datasets", "processor", "cores", "gpu", "commit"} <= set(told)
    assert told["device"] == "cpu" and int(told["cores"]) <= (os.cpu_count() or 1)
