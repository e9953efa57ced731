"""What is prepared once: complete or not there, never twice, and never at the cost of what was there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.kills import bytes_of

from asal.errors import UserError
from asal.features import features
from asal.features.store import write_vectors
from asal.index.exact import Exact
from asal.models.generators import generators
from asal.project.project import Project
from asal.project.spec import load, parse
from asal.runtime import artifacts
from asal.session.oracles.stored import Stored


def stamps(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


def kinds(root: Path) -> set[str]:
    """Return what is there, without the hashes."""
    derived = {
        path.name.rpartition("-")[0] for kind in ("parts", "features", "indexes") for path in root.glob(f"{kind}/*")
    }
    return derived | {name for name in ("pool", "validation", "test") if (root / name).exists()}


# Stages --------------------------------------------------------------------------------------------------------------


def test_everything_in_the_spec_is_there_and_says_what_it_was_made_from(prepared: Path) -> None:
    assert kinds(prepared) == {"pool", "test", "wgan-gp", "autoencoder", "auto"}
    (generator,) = prepared.glob("parts/wgan-gp-*")
    assert {path.name for path in generator.iterdir()} == {
        "part.json", "weights.safetensors", "losses.csv", "quality.json", "samples.png",
    }  # fmt: skip
    quality = artifacts.read_json(generator / "quality.json")
    assert quality["frechet"] > quality["frechet_real"] > 0
    facts = artifacts.manifest(generator)
    assert facts["options"]["steps"] == 20 and facts["pool"] == Project(prepared, load(prepared)).pool.fingerprint
    assert not list(prepared.rglob(".scratch")) and not list(prepared.rglob("*.partial"))


def test_the_features_are_those_of_the_images(prepared: Path) -> None:
    project = Project(prepared, load(prepared))
    space, ids = project.space("autoencoder"), np.array([399, 0, 7])
    assert np.allclose(space.vectors.read(ids), space.extractor(project.pool.read(ids)), atol=1e-5)
    assert project.index("autoencoder").search(space.vectors.read(ids), 1).ids[:, 0].tolist() == ids.tolist()


def test_what_is_prepared_is_not_made_again(asal: Any, tiny: Path) -> None:
    before = stamps(tiny)
    said = asal("prepare", tiny)
    assert said.code == 0 and said.out.count("complete") == 6
    after = stamps(tiny)
    assert after.pop(tiny / "sample.png"), "the picture that the command ends with"
    assert after == before


def test_only_what_the_strategies_need_is_made(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    project = Project(write_spec(tmp_path), load(tmp_path))
    project.prepare(["random", "uncertainty"])
    assert kinds(tmp_path) == {"pool", "test"}


def test_other_options_are_another_part_beside_the_first(write_spec: Callable[..., Path], tiny: Path) -> None:
    before = stamps(tiny)
    write_spec(tiny, features={"autoencoder": {"dimensions": 4}})
    Project(tiny, load(tiny)).prepare()
    assert len(list(tiny.glob("features/*"))) == len(list(tiny.glob("indexes/*"))) == 2
    assert len(list(tiny.glob("parts/*"))) == 2, "training was done again for a matter of PCA"
    assert before.items() - stamps(tiny).items() <= {(tiny / "asal.toml", before[tiny / "asal.toml"])}


@pytest.mark.parametrize("index", ["exact", "kdtree"])
def test_every_space_and_index_is_prepared_and_used(
    index: str, write_spec: Callable[..., Path], tiny: Path, tmp_path: Path
) -> None:
    spaces = {"pixels": {}, "discriminator": {"fit_on": 0}}
    near = {space: {"kind": "seals", "features": space} for space in spaces}
    write_spec(tiny, index={"kind": index}, features=spaces, strategies=near)
    project = Project.open(tiny)
    project.prepare()
    assert {"pixels", "discriminator", "autoencoder", index} <= kinds(tiny)
    for name in ("pixels", "discriminator"):
        vectors = project.space(name).vectors
        near = project.index(name).search(vectors.read(np.arange(5)), 3)
        assert near.ids[:, 0].tolist() == list(range(5)) and not near.distances[:, 0].any()
    fits = {path.name.partition("-")[0]: artifacts.manifest(path)["fit_on"] for path in tiny.glob("features/*")}
    assert fits["discriminator"] is None and fits["pixels"] == 20_000


def test_the_seed_of_a_spec_is_the_seed_of_all_that_is_trained(
    write_spec: Callable[..., Path], tiny: Path, prepared: Path
) -> None:
    write_spec(tiny, seed=1)
    Project(tiny, load(tiny)).prepare()
    (before,) = prepared.glob("parts/wgan-gp-*")
    (after,) = set(tiny.glob("parts/wgan-gp-*")) - {tiny / "parts" / before.name}
    assert (after / "weights.safetensors").read_bytes() != (before / "weights.safetensors").read_bytes()
    assert bytes_of(tiny / "pool") == bytes_of(prepared / "pool")


def test_the_same_spec_gives_the_same_bytes(
    start: Any, write_spec: Callable[..., Path], prepared: Path, tmp_path: Path
) -> None:
    assert start("prepare", write_spec(tmp_path)).wait().code == 0
    assert bytes_of(tmp_path) == bytes_of(prepared)


def test_losses_that_are_not_finite_are_said(start: Any, write_spec: Callable[..., Path], tiny: Path) -> None:
    before = bytes_of(tiny / "pool")
    said = start("prepare", write_spec(tiny, generator={"learning_rate": 1e30})).wait()
    said.refused("the losses must stay finite", "at step", "lower `learning_rate`")
    assert bytes_of(tiny / "pool") == before


# One at a time -------------------------------------------------------------------------------------------------------


def test_two_processes_do_not_prepare_one_project(start: Any, tiny: Path) -> None:
    with artifacts.exclusive(tiny):
        start("prepare", tiny).wait().refused("another process is at work", str(tiny), "wait for it to end")
    assert start("prepare", tiny).wait().code == 0


# Disks ---------------------------------------------------------------------------------------------------------------


@contextmanager
def disk(place: Path, kilobytes: int) -> Iterator[Callable[[str], None]]:
    """Mount a small disk, and yield what mounts it again with other options."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    place.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", place], check=True) and None
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def need(root: Path) -> int:
    """Return the kilobytes that a folder takes."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(-(-path.stat().st_size // page) * page for path in root.rglob("*") if path.is_file()) // 1024


@pytest.mark.parametrize("share", [0.02, 0.5, 0.7, 0.9, 0.97])
def test_a_full_disk_is_said_and_the_same_command_goes_on(
    share: float, start: Any, write_spec: Callable[..., Path], prepared: Path, tmp_path: Path
) -> None:
    with disk(tmp_path / "disk", int(share * need(prepared))) as again:
        project = tmp_path / "disk" / "project"
        words = ("prepare", write_spec(tmp_path / "tiny.toml"), "--project", project)
        start(*words).wait().refused("the disk is full", "it resumes")
        again("size=16m")
        assert start(*words).wait().code == 0
        expected = bytes_of(prepared)
        assert bytes_of(project) == {name: expected[name] for name in expected if name != "asal.toml"}


def rows(out: Path) -> list[str]:
    """Return the rows of the one run there, but their seconds, which come last."""
    return [row.partition(', "seconds"')[0] for row in (out / "asal/seed-0/rows.jsonl").read_text().splitlines()]


def test_a_disk_that_fills_up_under_a_run_is_said_and_it_goes_on(start: Any, prepared: Path, tmp_path: Path) -> None:
    run, uncut = ("run", prepared, "--strategies", "asal", "--seeds", 1), tmp_path / "uncut"
    assert start(*run, "--out", uncut).wait().code == 0
    for kilobytes in (4, 24, 64, 92):  # SQLite's own files, then a row, then the pictures
        with disk(tmp_path / "disk", kilobytes) as again:
            words = (*run, "--out", tmp_path / "disk" / "out")
            start(*words).wait().refused("the disk is full")
            again("size=16m")
            assert start(*words).wait().code == 0
            assert rows(tmp_path / "disk" / "out") == rows(uncut) and len(rows(uncut)) == 3
            assert (tmp_path / "disk" / "out/asal/seed-0/pairs.npz").exists()


def test_an_index_that_outgrows_the_disk_is_an_error_and_no_signal(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path / "vectors", lambda ids: np.ones((len(ids), 2), np.float32), 50_000)
    with disk(tmp_path / "disk", 100), pytest.raises(UserError, match="the disk is full"):  # noqa: SIM117
        with artifacts.building(tmp_path / "disk" / "index", {}) as folder:
            Exact().build(vectors, folder)


def test_a_file_that_may_not_grow_is_said(
    start: Any, write_spec: Callable[..., Path], prepared: Path, tmp_path: Path
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**13, -1))"
    start("prepare", write_spec(tmp_path), first=limit).wait().refused("a file may not grow so large", "it resumes")
    assert start("prepare", tmp_path).wait().code == 0
    assert bytes_of(tmp_path) == bytes_of(prepared)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Forbid writing into a folder; root heeds only a disk that is mounted so."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    with disk(folder.with_name("disk"), 16_384) as again:
        moved = folder.with_name("disk") / folder.name
        shutil.copytree(folder, moved)
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(moved)
        again("ro")
        yield


def test_a_folder_that_may_not_be_written_is_said(
    start: Any, asal: Any, prepared: Path, tiny: Path, tmp_path: Path
) -> None:
    with read_only(tiny):
        start("prepare", tiny).wait().refused("read-only", str(tiny.resolve()))
        run = ("run", prepared, "--out", tiny / "out", "--strategies", "random", "--seeds", 1)
        start(*run).wait().refused("read-only", str(tiny))
        asal("init", tiny / "new", "--images", prepared).refused("read-only", str(tiny))
        assert asal("status", tiny).code == asal("doctor", tiny).code == 0


# What is learnt from the images alone ---------------------------------------------------------------------------------

LEARNT = {"parts", "features", "indexes"}
WITHOUT_LABELS = [kind for kind in features if not features[kind].needs & {"model"} and kind != "pretrained"]


def derived(project: Path) -> dict[str, bytes]:
    """Return every file that was made from the pool, by its path; manifests tell the time of nothing."""
    files = (path for home in LEARNT for path in (project / home).rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


@pytest.mark.parametrize("generator", list(generators))
def test_no_label_and_no_test_image_bears_on_what_is_learnt(
    generator: str, spec: Callable[..., Any], tmp_path: Path
) -> None:
    """Other labels, and other images to test and validate on: the very same generator, encoders, features, indexes.

    `asal.testing.training` spies on what a part looks for in its pool; this closes every other way.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(60, 8, 8, 1)).astype(np.uint8)
    found = []
    for world in range(2):
        others = np.random.default_rng(world)
        arrays = {"x": images, "y": others.permutation(np.arange(60) % 2)}
        arrays |= {"x_test": others.integers(256, size=(20, 8, 8, 1)).astype(np.uint8), "y_test": np.arange(20) % 2}
        np.savez(tmp_path / f"{world}.npz", **arrays)
        table = {"kind": generator, "steps": 3, "width": 2, "latent_dim": 4, "batch": 4, "precision": "float32"}
        spaces = {kind: {"dimensions": 0 if kind == "latent" else 3} for kind in WITHOUT_LABELS}
        spaces["autoencoder"] |= {"steps": 3, "width": 2, "code": 4, "batch": 4}
        spaces["latent"] |= {"steps": 3}
        changes = {
            "source": {"kind": "arrays", "path": str(tmp_path / f"{world}.npz")}, "features": spaces,
            "pool": {"split": {"train": 60, "test": "test"}}, "protocol": {"initial": 4, "batch": 4, "budget": 12},
        }  # fmt: skip
        project = tmp_path / f"project-{world}"
        project.mkdir()
        Project(project, parse({**spec(**changes), "generator": table})).prepare()
        found.append(derived(project))
    labels = [Stored.open(tmp_path / f"project-{world}" / "pool").answer(np.arange(60)).tolist() for world in range(2)]
    assert labels[0] != labels[1]
    assert found[0].keys() == found[1].keys() and len(found[0]) > 10
    differing = [name for name in found[0] if found[0][name] != found[1][name]]
    assert not differing


def test_features_may_take_half_the_disk(tiny: Path, write_spec: Callable[..., Path]) -> None:
    before = Project.open(tiny)
    true = before.space("autoencoder").vectors.read(np.arange(len(before.pool)))
    write_spec(tiny, features={"autoencoder": {"storage": "float16"}})
    project = Project.open(tiny)
    project.prepare(["asal"])
    space = project.space("autoencoder")
    assert space.folder != before.space("autoencoder").folder
    stored = space.vectors.read(np.arange(len(project.pool)))
    assert not np.array_equal(stored, true) and np.allclose(stored, true, rtol=1e-2, atol=1e-3)
    assert (project.index("autoencoder").search(true, 1).ids[:, 0] == np.arange(len(true))).mean() > 0.99
