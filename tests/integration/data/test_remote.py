"""Images behind a URL, taken in from a real server: the same pool as from a folder here, whatever the network does."""

from __future__ import annotations

import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asal.data import pool
from asal.data.ingest import IngestContext, ingest
from asal.data.sources import Lost, remote
from asal.data.sources.folder import Folder
from asal.data.splits import Split
from asal.errors import UserError
from asal.runtime.engine.local import Local

FILES = 120


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of small pictures, one file of rubbish and one hidden file among them."""
    root = tmp_path_factory.mktemp("images")
    for number in range(FILES):
        path = root / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), 2 * number).save(path)
    (root / "cat" / "notes.txt").write_text("not a picture")
    (root / "dog" / ".hidden").write_text("nothing")
    return root


@dataclass
class Server:
    """A server of files, with what it was asked for and what it is to refuse."""

    url: str
    asked: list[str] = field(default_factory=list)
    failing: dict[str, tuple[int, int]] = field(default_factory=dict)  # by path: the code, and how often


@pytest.fixture
def server(images: Path) -> Iterator[Server]:
    pytest.importorskip("aiohttp", reason="fsspec reaches http through aiohttp")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(images))

        def do_GET(self) -> None:
            server.asked.append(self.path)
            code, times = server.failing.get(self.path, (0, 0))
            if times:
                server.failing[self.path] = (code, times - 1)
                self.send_error(code)
                return
            super().do_GET()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        server = Server(f"http://127.0.0.1:{serving.server_port}")
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield server
        serving.shutdown()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SHARD_IMAGES", 32)
    monkeypatch.setattr(remote, "PAUSE", 0.01)


def files_of(project: Path) -> dict[str, bytes]:
    """Return a pool's files, but the one that says where they are from."""
    found = (path for path in (project / "pool").rglob("*") if path.is_file() and path.name != "part.json")
    return {str(path.relative_to(project)): path.read_bytes() for path in found}


@pytest.fixture
def here(images: Path, tmp_path: Path, small_shards: None) -> dict[str, bytes]:
    """The pool of the same images, from a folder."""
    ingest(Folder(str(images)), tmp_path / "here", gray=True)
    return files_of(tmp_path / "here")


def test_a_server_gives_the_pool_that_a_folder_gives(server: Server, here: dict[str, bytes], tmp_path: Path) -> None:
    source = Folder(server.url)
    assert source.classes == ("cat", "dog") and source.splits == {"train": FILES + 1} and source.fingerprint is None
    ingest(source, tmp_path / "there", gray=True)
    assert files_of(tmp_path / "there") == here
    listings = [path for path in server.asked if path.endswith("/")]
    assert sorted(listings) == ["/", "/cat/", "/dog/"], "it is listed once"
    assert (
        sorted(path for path in server.asked if path.endswith(".png")).count("/cat/0.png") == 3
    )  # for the range and the shape


def test_processes_take_their_names_along(server: Server, here: dict[str, bytes], tmp_path: Path) -> None:
    ingest(Folder(server.url), tmp_path / "there", gray=True, context=IngestContext(Local(2)))
    assert files_of(tmp_path / "there") == here
    assert sum(path.endswith("/") for path in server.asked) == 3, "no process lists again"


def archive_zip(images: Path, path: Path) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for file in images.rglob("*"):
            archive.write(file, file.relative_to(images))
    return f"zip://::{path}"


def archive_tar(images: Path, path: Path) -> str:
    with tarfile.open(path, "w") as archive:
        for file in sorted(images.iterdir()):
            archive.add(file, file.name)
    return f"tar://::{path}"


PLACES: dict[str, Callable[[Path, Path], str]] = {
    "zip": archive_zip,
    "tar": archive_tar,
    "file": lambda images, path: f"file://{images}",
}


@pytest.mark.parametrize("kind", PLACES)
def test_archives_and_files_are_places_too(kind: str, images: Path, here: dict[str, bytes], tmp_path: Path) -> None:
    ingest(Folder(PLACES[kind](images, tmp_path / "archive")), tmp_path / "there", gray=True)
    assert files_of(tmp_path / "there") == here


def test_a_network_that_fails_now_and_then_is_tried_again(
    server: Server, here: dict[str, bytes], tmp_path: Path
) -> None:
    server.failing = {"/cat/4.png": (500, 2), "/dog/7.png": (503, 1)}
    ingest(Folder(server.url), tmp_path / "there", gray=True)
    assert files_of(tmp_path / "there") == here


def test_a_network_that_is_down_is_reported_and_work_resumes(
    server: Server, here: dict[str, bytes], tmp_path: Path
) -> None:
    server.failing = {"/dog/101.png": (500, 10**6)}
    with pytest.raises(UserError, match=r"dog/101.png.*resumes"):
        ingest(Folder(server.url), tmp_path / "there", gray=True)
    done = len(list((tmp_path / "there/pool.partial/receipts").iterdir()))
    server.failing, server.asked = {}, []
    ingest(Folder(server.url), tmp_path / "there", gray=True)
    assert files_of(tmp_path / "there") == here
    assert done == 3 and sum(path.endswith(".png") for path in server.asked) < FILES - 60


def test_files_that_have_gone_are_left_out(server: Server, tmp_path: Path) -> None:
    server.failing = {"/cat/4.png": (404, 10**6), "/dog/7.png": (404, 10**6)}
    folder = ingest(Folder(server.url), tmp_path / "there", gray=True)["pool"]
    assert pool.StoredPool.open(folder).unreadable == 3
    assert "cat/4.png,there is no such file\n" in (folder / pool.UNREADABLE).read_text()


def test_files_are_fetched_while_others_are_decoded(server: Server) -> None:
    records = Folder(server.url).records("train", np.arange(FILES))
    next(records)
    before = sum(path.endswith(".png") for path in server.asked)
    assert before > 1, "more are asked for than the one that was wanted"
    records.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("zip://::no/where.zip", "no/where.zip"),
        ("nonsense://host/images", "nonsense"),
        ("http://127.0.0.1:9/images", "127.0.0.1:9"),
        ("file:///no/where", "no/where"),
    ],
)
def test_a_url_that_cannot_be_read_is_reported(url: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        _ = Folder(url).splits


def test_what_a_url_keeps_secret_is_not_written_down(tmp_path: Path) -> None:
    from asal.data.ingest_check import described
    from asal.data.sources.augmented import Augmented

    url = "ftp://me:p@ss@host/photos?sig=abc"
    assert described(Folder(url))["path"] == "ftp://host/photos?…"
    assert "p@ss" not in str(described(Augmented(10, {"kind": "folder", "path": url})))
    assert described(Folder("/home/me@work/a?b"))["path"] == "/home/me@work/a?b", "no URL"


def test_parts_of_a_split_are_of_one_listing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(12):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
    source, split = f"file://{tmp_path / 'images'}", Split(None, 3, 0)
    ingest(Folder(source, "none"), tmp_path / "project", split)
    shutil.rmtree(tmp_path / "project" / "validation")
    ingest(Folder(source, "none"), tmp_path / "project", split)
    shutil.rmtree(tmp_path / "project" / "validation")
    shutil.copy(tmp_path / "images" / "0.png", tmp_path / "images" / "00.png")
    with pytest.raises(UserError, match="from one list of images"):
        ingest(Folder(source, "none"), tmp_path / "project", split)


@pytest.mark.parametrize("expired", [False, True])
def test_an_expired_key_makes_no_image_unreadable(expired: bool) -> None:
    class Refusing:  # as s3fs does, whose errors of an expired key are of this kind; there is no such server here
        def cat_file(self, path: str) -> bytes:
            raise PermissionError("The provided token has expired" if expired else "Access Denied")

        def ls(self, path: str, refresh: bool) -> list[str]:
            if expired:
                raise PermissionError("The provided token has expired")
            return [f"{path}/a.png"]

    if expired:
        with pytest.raises(UserError, match=r"token has expired.*it resumes"):
            remote._fetch(Refusing(), "bucket/photos/a.png")
    else:
        assert remote._fetch(Refusing(), "bucket/photos/a.png") == Lost("reading it is not permitted")
