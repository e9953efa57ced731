"""Damage to one file costs that file alone: it is named, removed, and made again with the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.kills import OFTEN, bytes_of

from asal.runtime import artifacts


@pytest.fixture(scope="module")
def sharded(start: Any, write_spec: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared project whose images and vectors lie in seven shards each."""
    folder = write_spec(tmp_path_factory.mktemp("sharded"), generator=None, strategies={"asal": None})
    assert start("prepare", folder, first=OFTEN).wait().code == 0
    assert len(list(folder.glob("pool/images/*.npy"))) == len(list(folder.glob("features/*/vectors/*.npy"))) == 7
    return folder


def flip(path: Path) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def of_another_pool(path: Path) -> None:
    """Put a file of the same size and other images, or numbers, in its place."""
    array = np.load(path)
    np.save(path, array[::-1])


HARM: dict[str, Callable[[Path], object]] = {
    "changed": flip, "missing": Path.unlink, "of another pool": of_another_pool,
}  # fmt: skip
PLACES = {
    "pool/images/00002.npy": "pool/images/*.npy",
    "pool/receipts/00002.json": "pool/images/*.npy",
    "pool/keys.parquet": "pool/images/*.npy",
    "pool/labels.npy": "pool/images/*.npy",
    "pool/pool.json": "pool/images/*.npy",
    "features/*/vectors/00003.npy": "features/*/vectors/*.npy",
    "features/*/pca.safetensors": "features/*/vectors/*.npy",
}


@pytest.mark.parametrize(
    ("place", "harm"),
    [(place, harm) for place in PLACES for harm in HARM if harm != "of another pool" or place.endswith("0.npy")]
    + [(place, "of another pool") for place in PLACES if place.endswith(("2.npy", "3.npy"))],
)
def test_only_what_is_damaged_is_made_anew(
    place: str, harm: str, sharded: Path, start: Any, asal: Any, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(sharded, tmp_path / "project"))
    before = bytes_of(project)
    (path,) = project.glob(place)
    kept = {p: p.stat().st_ino for p in project.glob(PLACES[place]) if p not in (path, bad_with(path))}
    HARM[harm](path)
    start("prepare", project, first=OFTEN).wait().refused(str(path), "--repair", "only that file is made again")
    said = asal("doctor", project, "--repair")
    assert said.code == 0 and said.out.count("removed") == 1 and str(path) in said.err
    assert start("prepare", project, first=OFTEN).wait().code == 0
    assert bytes_of(project) == before
    assert {p: p.stat().st_ino for p in kept} == kept, "what was right was made again"
    assert asal("doctor", project).code == 0


def bad_with(path: Path) -> Path:
    """Return the shard of a receipt: it is taken in again with it."""
    return path.parents[1] / "images" / f"{path.stem}.npy"


def test_several_faults_are_mended_at_once(sharded: Path, start: Any, asal: Any, tmp_path: Path) -> None:
    project = Path(shutil.copytree(sharded, tmp_path / "project"))
    before = bytes_of(project)
    for place in ("pool/images/00001.npy", "pool/images/00005.npy", "test/images/00000.npy"):
        flip(project / place)
    said = asal("doctor", project, "--repair")
    assert said.code == 0 and said.out.count("removed") == 3 and "3 faults" in said.out
    assert "unfinished" in asal("status", project).out
    assert start("prepare", project, first=OFTEN).wait().code == 0
    assert bytes_of(project) == before


def test_the_doctor_takes_nothing_away_unless_told_or_where_nothing_is_wrong(
    sharded: Path, asal: Any, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(sharded, tmp_path / "project"))
    before = bytes_of(project)
    assert asal("doctor", project, "--repair").code == 0
    assert bytes_of(project) == before
    flip(project / "pool/images/00001.npy")
    assert asal("doctor", project).code == 1
    assert bytes_of(project).keys() == before.keys()


def test_a_manifest_is_no_file_among_others(sharded: Path, asal: Any, tmp_path: Path) -> None:
    project = Path(shutil.copytree(sharded, tmp_path / "project"))
    (project / "pool/part.json").write_text("{")
    said = asal("doctor", project, "--repair")
    assert said.code == 1 and f"delete {project / 'pool'} and run" in said.err
    assert (project / "pool/images/00001.npy").exists()


def unfinished(folder: Path) -> Path:
    """Make a finished folder one that is under construction, with everything in it."""
    facts = {key: value for key, value in artifacts.manifest(folder).items() if key not in ("format", "files")}
    (folder / artifacts.SCRATCH).mkdir()
    artifacts.write_json(folder / artifacts.SCRATCH / artifacts.MADE_FROM, facts)
    (folder / artifacts.MANIFEST).unlink()
    return folder.rename(folder.with_name(f"{folder.name}.partial"))


@pytest.mark.parametrize("size", [0, -7])
@pytest.mark.parametrize(
    "place",
    ["pool/images/00002.npy", "pool/receipts/00002.json", "features/*/vectors/00003.npy", "features/*/pca.safetensors"],
)
def test_a_truncated_file_of_an_unfinished_folder_is_made_again(
    place: str, size: int, sharded: Path, start: Any, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(sharded, tmp_path / "project"))
    before = bytes_of(project)
    (path,) = project.glob(place)
    folder = next(folder for folder in path.parents if (folder / artifacts.MANIFEST).exists())
    damaged = unfinished(folder) / path.relative_to(folder)
    damaged.write_bytes(damaged.read_bytes()[:size])
    assert start("prepare", project, first=OFTEN).wait().code == 0
    assert bytes_of(project) == before


def test_images_of_an_unfinished_folder_that_were_changed_are_taken_in_again(
    sharded: Path, start: Any, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(sharded, tmp_path / "project"))
    before = bytes_of(project)
    flip(unfinished(project / "pool") / "images" / "00002.npy")
    kept = (project / "pool.partial/images/00003.npy").stat().st_ino
    assert start("prepare", project, first=OFTEN).wait().code == 0
    assert bytes_of(project) == before
    assert (project / "pool/images/00003.npy").stat().st_ino == kept


def test_a_damaged_checkpoint_is_refused_and_its_hint_helps(
    start: Any, asal: Any, sharded: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(sharded, tmp_path / "project"))
    before = bytes_of(project)
    (folder,) = project.glob("parts/autoencoder-*")
    checkpoint = unfinished(folder) / artifacts.SCRATCH / "checkpoint.safetensors"
    checkpoint.write_bytes(b"half of it")
    start("prepare", project, first=OFTEN).wait().refused(f"delete {checkpoint} and run the same command again")
    checkpoint.unlink()
    assert start("prepare", project, first=OFTEN).wait().code == 0
    assert bytes_of(project) == before
