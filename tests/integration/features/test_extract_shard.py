"""Features are the same bytes whoever computes them: this process, others, or machines that share no disk with it."""

from __future__ import annotations

import pickle
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asal.errors import UserError
from asal.features import extract_shard
from asal.features.extract_shard import ExtractShardTask, push
from asal.features.store import missing_shards
from asal.project import extraction
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.engine.local import Local
from asal.runtime.remote_files import CACHE, Storage
from asal.runtime.threads import limited_threads

ROWS = 60


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extraction, "SHARD", ROWS)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    extract_shard._pool.cache_clear()
    extract_shard._compute.cache_clear()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, write_spec: Any) -> Path:
    """Return a project that has its parts, and no features yet: one kind of each way that they are opened."""
    folder = tmp_path_factory.mktemp("trained")
    spaces: Any = {"pixels": {"dimensions": 9}, "discriminator": {"dimensions": 0}}
    write_spec(folder, features=spaces)
    Project(folder, load(folder)).prepare()
    for home in ("features", "indexes"):
        shutil.rmtree(folder / home)
    return folder


@pytest.fixture(scope="module")
def expected(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the features that one process computes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "SHARD", ROWS)
        return features_of(copy(trained, tmp_path_factory.mktemp("expected") / "project"))


def copy(trained: Path, root: Path) -> Path:
    return Path(shutil.copytree(trained, root))


def features_of(root: Path, **options: Any) -> dict[str, bytes]:
    Project(root, load(root), **options).prepare()
    paths = [path for path in (root / "features").rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


class CutError(Exception):
    """What cuts a preparation short."""


class Cutting(InProcess):
    """Does so many pieces, and no more."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def map_unordered(self, works: Any, progress: Any = None) -> Iterator[Any]:
        for done, told in enumerate(super().map_unordered(works, progress)):
            yield told
            if done + 1 == self.pieces:
                raise CutError


# Engines --------------------------------------------------------------------------------------------------------------


def test_processes_compute_what_one_process_computes(
    trained: Path, expected: Any, write_spec: Any, tmp_path: Path
) -> None:
    assert len([name for name in expected if "/vectors/0" in name]) == 3 * 7
    root = write_spec(copy(trained, tmp_path / "project"))  # the autoencoder alone: starting processes takes seconds
    found = features_of(root, engine=Local(2))
    assert len(found) == 10 and found.items() <= expected.items()


def test_the_command_has_its_workers(start: Any, trained: Path, expected: Any, tmp_path: Path) -> None:
    root = copy(trained, tmp_path / "project")
    small = f"import asal.project.extraction; asal.project.extraction.SHARD = {ROWS}"
    said = start("prepare", root, "--workers", 2, first=small).wait()
    assert said.code == 0, said.err
    assert features_of(root) == expected


def test_threads_bear_on_no_bit(trained: Path, expected: Any, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert features_of(copy(trained, tmp_path / "project")) == expected
        with limited_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2, "what a library call set did not stay inside"
    finally:
        torch.set_num_threads(before)


def test_a_piece_computes_with_one_thread(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piece, seen = pieces_of(copy(trained, tmp_path / "project"), "pixels")[0], set[int]()
    found = extract_shard._compute(piece.recipe)
    monkeypatch.setattr(
        extract_shard, "_compute", lambda recipe: lambda ids: (seen.add(torch.get_num_threads()), found(ids))[1]
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        piece.run(lambda *said: None)
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


def test_a_cut_preparation_goes_on_and_nothing_whole_is_done_again(
    trained: Path, expected: Any, tmp_path: Path
) -> None:
    root = copy(trained, tmp_path / "project")
    with pytest.raises(CutError):
        features_of(root, engine=Cutting(4))
    (partial,) = root.glob("features/*.partial/vectors")
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in partial.glob("[0-9]*.npy")}
    assert len(before) == 4
    told: list[tuple[str, int, int, str]] = []
    progress = lambda *said: told.append((*said, "")[:4])  # noqa: E731
    assert features_of(root, progress=progress) == expected
    (after,) = root.glob(f"features/{partial.parent.name.removesuffix('.partial')}/vectors")
    assert (
        before.items() <= {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in after.iterdir()}.items()
    )
    name = partial.parent.name.rpartition("-")[0]
    bar = [said for said in told if said[0].endswith(f"compute the features '{name}'") and said[2]]
    assert bar[0][1] == 4 * ROWS and bar[-1][1:3] == (400, 400) and "images/s" in bar[-1][3]
    assert [said[1] for said in bar] == sorted(said[1] for said in bar)


def test_two_at_once_at_one_shard_leave_its_bytes(trained: Path, tmp_path: Path) -> None:
    piece = pieces_of(copy(trained, tmp_path / "project"), "pixels")[3]
    piece.run(lambda *said: None)
    path = piece.vectors / "00003.npy"
    one, first = path.read_bytes(), path.stat().st_ino
    twin = pickle.loads(pickle.dumps(piece))
    twin.run(lambda *said: None)
    assert path.stat().st_ino == first, "a whole shard was written again"
    path.write_bytes(one[:-1])
    twin.run(lambda *said: None)
    assert path.read_bytes() == one and [file.name for file in piece.vectors.iterdir()] == ["00003.npy"]


def test_a_piece_is_small_when_it_travels(trained: Path) -> None:
    assert len(pickle.dumps(pieces_of(trained, "discriminator")[0])) < 2000


def pieces_of(root: Path, space: str, url: str = "") -> list[ExtractShardTask]:
    """Return the pieces of a space, as `prepare` makes them."""
    project = Project(root, load(root))
    table = project.spec.features[space]
    recipe = project.parts._recipe(table, project.parts.extractor(table).folder).with_digest()
    vectors, n = root / "vectors", len(project.pool)
    remote = push(recipe, url) if url else None
    return [
        ExtractShardTask(space, recipe, vectors, shard, n, ROWS, remote) for shard in missing_shards(vectors, n, ROWS)
    ]


# Storages -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return the URL and the folder of a real FTP server, in a process of its own."""
    pytest.importorskip("pyftpdlib")
    folder = tmp_path_factory.mktemp("ftp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-w", "-i", "127.0.0.1", "-p", str(port), "-d", str(folder), "-u", "me", "-P", "secret"]
    server = subprocess.Popen([sys.executable, "-m", "pyftpdlib", *words], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield f"ftp://me:secret@127.0.0.1:{port}/asal", folder / "asal"
    server.kill()
    server.wait()


@pytest.fixture(params=["file", "ftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return a storage's URL, and the folder that is behind it."""
    if request.param == "file":
        yield f"file://{tmp_path}/storage", tmp_path / "storage"
        return
    url, folder = request.getfixturevalue("ftp")
    yield url, folder
    shutil.rmtree(folder, ignore_errors=True)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_by_way_of_a_storage_the_bytes_are_the_same(
    trained: Path, expected: Any, place: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = place
    assert features_of(copy(trained, tmp_path / "project"), storage=url) == expected
    before = contents(folder)
    assert before and not [name for name in before if Path(name).name.startswith(".")], "a half-put file is left"
    shutil.rmtree(tmp_path / "project")
    shutil.rmtree(tmp_path / "cache")
    assert features_of(copy(trained, tmp_path / "project"), storage=url) == expected
    assert contents(folder) == {**contents(folder), **{name: before[name] for name in before if "pca" not in name}}, (
        "what is there was put there again"
    )
    assert not (tmp_path / "cache" / "features").exists()


def test_a_machine_that_sees_no_project_fetches_what_its_piece_needs(
    trained: Path, expected: Any, place: tuple[str, Path], tmp_path: Path
) -> None:
    url, _ = place
    root = copy(trained, tmp_path / "project")
    pieces = pieces_of(root, "discriminator", url)
    root.rename(tmp_path / "elsewhere")
    for piece in pieces[2:4]:
        piece.run(lambda *said: None)
        assert piece.remote
        name = piece.remote.shard(piece.shard, ROWS)
        Storage(url).fetch(name, tmp_path / "found" / f"{piece.shard:05d}.npy")
    for shard in ("00002.npy", "00003.npy"):
        (there,) = (name for name in expected if "/discriminator-" in name and name.endswith(shard))
        assert (tmp_path / "found" / shard).read_bytes() == expected[there]


def test_only_the_images_of_a_shard_are_fetched(trained: Path, tmp_path: Path) -> None:
    root = copy(trained, tmp_path / "project")
    piece, pool = pieces_of(root, "pixels")[4], root / "pool"  # images 240 … 299
    images = np.load(pool / "images" / "00000.npy")
    for number in range(4):  # the same pool in files of 128
        np.save(pool / "images" / f"{number:05d}.npy", images[number * 128 : (number + 1) * 128])
    facts = artifacts.read_json(pool / "pool.json")
    artifacts.write_json(pool / "pool.json", {**facts, "shard": 128, "starts": [0, 128, 256, 384]})
    made = {key: value for key, value in artifacts.manifest(pool).items() if key not in ("format", "files")}
    artifacts.seal(pool, made)
    recipe = piece.recipe.with_digest()
    piece = replace(piece, recipe=recipe, remote=push(recipe, f"file://{tmp_path}/storage"))
    piece.run(lambda *said: None)
    found = sorted(path.name for path in (tmp_path / "cache").rglob("images/[0-9]*.npy"))
    assert found == ["00001.npy", "00002.npy"]


def test_what_was_damaged_on_its_way_is_refused(trained: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/storage"
    piece = pieces_of(copy(trained, tmp_path / "project"), "pixels", url)[0]
    (images,) = (tmp_path / "storage").rglob("images/*.npy")
    kept = images.read_bytes()
    images.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(UserError, match=r"images/00000\.npy differs from its sha256"):
        piece.run(lambda *said: None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://somewhere", "nonsense.*choose one of these"),
        ("ftp://me:secret@127.0.0.1:1/folder", "ConnectionRefusedError"),
        ("file:///proc/nowhere", "check the URL"),
    ],
)
def test_a_storage_that_takes_nothing_is_said(url: str, words: str, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"(?s)the storage (?!.*secret).* failed.*{words}"):
        features_of(copy(trained, tmp_path / "project"), storage=url)


def test_a_file_that_was_never_offered_is_not_there(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/storage")
    assert storage.entry("a/b") is None
    with pytest.raises(UserError, match="a/b is not there"):
        storage.fetch("a/b", tmp_path / "b")


# The command line -----------------------------------------------------------------------------------------------------


def test_the_command_says_who_works(asal: Any, trained: Path, expected: Any, tmp_path: Path) -> None:
    root = copy(trained, tmp_path / "project")
    said = asal("prepare", root, "--workers", 1, "--storage", f"file://{tmp_path}/storage")
    assert said.code == 0, said.err
    assert "images/s" in said.out
    paths = [path for path in (root / "features").rglob("*") if path.is_file()]
    assert {str(path.relative_to(root)): path.read_bytes() for path in paths} == expected
    asal("prepare", root, "--engine", "rays").refused("no engine is called 'rays'", "did you mean 'ray'?")


def test_a_file_that_has_gone_from_a_storage_is_offered_again(tmp_path: Path) -> None:
    storage, file = Storage(f"file://{tmp_path}/storage"), tmp_path / "file"
    file.write_bytes(b"some bytes")
    storage.offer(file, "a/name")
    assert storage.entry("a/name") is not None
    for spoil in (Path.unlink, lambda path: path.write_bytes(b"cut")):
        spoil(tmp_path / "storage" / "a" / "name")  # and what is written beside it stays
        assert storage.entry("a/name") is None
        storage.offer(file, "a/name")
        assert storage.fetch("a/name", tmp_path / "fetched").read_bytes() == b"some bytes"
        (tmp_path / "fetched").unlink()
