"""Originals for people, decoded by real processes: ahead, from where they are now, whatever a file or a share does."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from support.ftp_server import FtpServer
from support.image_files import bomb, progressive_bomb
from support.stalling_source import Stalling

from asal.data.ingest import ingest
from asal.data.pool import StoredPool
from asal.data.sources import Source, sources
from asal.data.sources.folder import Folder
from asal.data.views import View
from asal.labelling import photo_process, photos
from asal.labelling.photo_cache import PhotoCache
from asal.labelling.photos import EDGES, PHOTO, THUMB, Photos
from asal.project.folder import ProjectFolder
from asal.project.project import Project

PATIENCE = 120.0  # seconds: a busy machine starts a process ten times slower than an idle one
NAMES = ("0", "1", "2", "3", "4 slow", "5 slow", "6 slow", "7 slow", "8 death", "9 hunger")
SPEC = """
name = "photographs"
[source]
kind = "{kind}"
path = "{path}"
[pool]
size = 32
fit = "pad"
[labelling]
classes = ["china", "flower"]
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Photographs that differ: excerpts of two that a package ships."""
    folder = tmp_path / "images"
    for number, name in enumerate(NAMES):
        path = folder / ("china", "flower")[number % 2] / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        excerpt(number).save(path, quality=92)
    (tmp_path / "seconds").write_text("600")
    return folder


def excerpt(number: int) -> Image.Image:
    left, top = 31 * number, 17 * number
    pixels = load_sample_image(("china.jpg", "flower.jpg")[number % 2])[top : top + 200, left : left + 300]
    return Image.fromarray(pixels).resize((600, 400))


def opened(root: Path, source: Source, kind: str = "folder") -> Photos:
    """Return the photographs of a new project."""
    if not (root / "pool").exists():
        ingest(source, root, size=32, fit="pad")
        (root / "asal.toml").write_text(SPEC.format(kind=kind, path=getattr(source, "path", "")))
    return Photos(ProjectFolder.open(root), PhotoCache(root / "labelling" / "photos"))


@pytest.fixture
def project(images: Path, tmp_path: Path) -> Iterator[Photos]:
    found = opened(tmp_path / "project", Folder(str(images)))
    yield found
    found.close()


@pytest.fixture
def stalling(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Photos]:
    """A project on a share that does not answer for some files."""
    monkeypatch.setattr(photos, "SECONDS", 3.0)
    monkeypatch.setattr(photos, "SLOW", 0.5)
    monkeypatch.setattr(photos, "LONG", 1.0)
    found = opened(tmp_path / "project", Folder(str(images)))
    assert found._opened is not None
    originals = found._opened.originals
    object.__setattr__(originals, "source", Stalling(str(images)))
    yield found
    found.close()


def ids(found: Photos) -> dict[str, int]:
    """Return the images by the first character of their names."""
    assert found._opened is not None
    keys = found.keys(range(len(found._opened.pool)))
    return {Path(key).name[0]: image for image, key in keys.items()}


def get(found: Photos, image: int) -> View:
    return found.get(image, "tag").result(PATIENCE)


def shown(view: View, edge: int = PHOTO) -> Image.Image:
    return Image.open(io.BytesIO(view.files[edge]))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_original_is_shown_at_both_edges_and_kept(project: Photos, tmp_path: Path) -> None:
    image = ids(project)["3"]
    found = get(project, image)
    assert found.state == "here" and shown(found).size == (600, 400) and shown(found, THUMB).size == (256, 171)
    until(lambda: project.kept(image, "tag", THUMB) is not None)
    assert project.kept(image, "tag", PHOTO) == found.files[PHOTO] and project.kept(image, "other", PHOTO) is None
    with Photos(ProjectFolder.open(tmp_path / "project"), PhotoCache(tmp_path / "project/labelling/photos")) as again:
        assert again.kept(image, "tag", PHOTO) == found.files[PHOTO], "another server finds it"


def test_what_is_handed_out_is_decoded_ahead_in_order(project: Photos) -> None:
    wanted = [ids(project)[name] for name in "3120"]
    project.ahead(wanted, "tag")
    project.ahead(wanted, "tag")
    until(lambda: all(project.kept(image, "tag", edge) for image in wanted for edge in EDGES))
    assert not project._jobs


def test_names_are_those_of_the_pool(project: Photos, tmp_path: Path) -> None:
    keys = StoredPool.open(tmp_path / "project" / "pool").keys(np.arange(10))
    assert project.keys([3, 0, 9]) == {3: keys[3], 0: keys[0], 9: keys[9]}
    assert project.keys([10, 4711]) == {}


def test_without_the_list_of_names_there_are_the_pools_pictures(project: Photos, tmp_path: Path) -> None:
    (tmp_path / "project" / "pool" / "keys.parquet").write_bytes(b"nothing")
    assert project.keys([0, 1]) == {} and get(project, 0).state == "gone"


def test_originals_that_are_gone_changed_or_no_files_are_not_shown(project: Photos, images: Path) -> None:
    number = ids(project)
    (images / "china" / "0.jpg").unlink()
    excerpt(9).save(images / "flower" / "1.jpg")
    (images / "china" / "2.jpg").write_bytes((images / "china" / "2.jpg").read_bytes()[:3000])
    (images / "flower" / "3.jpg").unlink()
    os.mkfifo(images / "flower" / "3.jpg")
    slow = images / "china" / "4 slow.jpg"
    slow.unlink()
    slow.symlink_to("/dev/zero")
    (images / "flower" / "5 slow.jpg").write_bytes(bomb(60_000, 60_000))
    (images / "china" / "6 slow.jpg").write_bytes(progressive_bomb(65_000))
    states = [get(project, number[name]).state for name in "0123456"]
    slow.unlink()
    assert states == ["gone", "changed", "unreadable", "gone", "gone", "unreadable", "unreadable"]
    assert get(project, number["7"]).state == "here"


def test_a_share_that_comes_back_is_seen_again(project: Photos, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = ids(project)["0"]
    images.rename(images.with_name("away"))
    assert get(project, image).state == "gone"
    images.with_name("away").rename(images)
    assert get(project, image).state == "gone", "for a while it is not looked at again"
    monkeypatch.setattr(photos.time, "monotonic", lambda now=time.monotonic: now() + 100.0)
    assert get(project, image).state == "here"


def test_a_share_that_does_not_answer_delays_nobody_else(stalling: Photos, tmp_path: Path) -> None:
    number = ids(stalling)
    slow = [stalling.get(number[name], "tag") for name in "4567"]
    stalling.ahead([number["3"]], "tag")
    assert [get(stalling, number[name]).state for name in "012"] == ["here"] * 3
    assert {each.result(PATIENCE).state for each in slow} == {"unreadable"}
    assert "seconds" in slow[0].result().reason
    until(lambda: stalling.kept(number["3"], "tag", THUMB) is not None)


def test_requests_wait_briefly_where_that_is_of_no_use(stalling: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "SECONDS", 600.0)
    monkeypatch.setattr(photos, "MOST", 2)
    number = ids(stalling)
    assert stalling.patience(number["0"]) == photos.PATIENCE
    slow = [stalling.get(number[name], "tag") for name in "45"]
    until(lambda: stalling.patience(number["0"]) == photos.IMPATIENCE)
    monkeypatch.setattr(photos, "PATIENCE", 0.0)
    assert stalling.patience(number["4"]) == photos.IMPATIENCE
    stalling.close()
    assert {each.result(PATIENCE).state for each in slow} == {"unreadable"}


def test_a_process_that_dies_is_started_again(stalling: Photos) -> None:
    number = ids(stalling)
    assert get(stalling, number["8"]).state == "unreadable"
    assert get(stalling, number["1"]).state == "here"


def test_a_file_that_needs_too_much_memory_ends_in_its_process(
    stalling: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = ids(stalling)
    found = get(stalling, number["9"])
    assert found.state == "unreadable" and "memory" in found.reason
    assert get(stalling, number["1"]).state == "here"


def test_processes_end_with_the_server_and_when_nothing_is_to_do(
    project: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "IDLE", 0.5)
    assert get(project, 0).state == "here"
    until(lambda: not project._busy_since)
    assert get(project, 1).state == "here", "and are started again"
    project.close()
    assert not project._busy_since
    assert project.get(2, "tag").result(PATIENCE).state == "gone"


def test_images_that_were_added_are_shown_from_their_own_folder(project: Photos, images: Path, tmp_path: Path) -> None:
    more = tmp_path / "more" / "china"
    more.mkdir(parents=True)
    Image.fromarray(load_sample_image("flower.jpg")).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        more / "another.jpg"
    )
    assert Project.open(tmp_path / "project").add(Folder(str(more.parent))).new == 1
    assert project.keys([10]) == {10: "china/another.jpg"}
    assert shown(get(project, 10)).size == (640, 427)
    assert shown(get(project, ids(project)["0"])).size == (600, 400)


def test_a_connection_that_broke_while_it_was_idle_is_opened_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyftpdlib")
    monkeypatch.setattr(photos, "REMOTE", 1)
    with FtpServer(images.parent) as server, opened(tmp_path / "project", Folder(f"{server.url}/images")) as found:
        number = ids(found)
        assert get(found, number["0"]).state == "here"
        server.stop()
        server.start()
        assert get(found, number["1"]).state == "here"
        (images / "china" / "2.jpg").unlink()
        assert get(found, number["2"]).state == "gone"
        server.stop()
        assert get(found, number["3"]).state == "unreadable"


def test_from_a_slow_url_several_are_fetched_at_once(images: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="fsspec reaches http through aiohttp")
    under_way, most, lock = [0], [0], threading.Lock()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            time.sleep(0.3)
            super().do_GET()
            with lock:
                under_way[0] -= 1

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(images))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with opened(tmp_path / "project", Folder(f"http://127.0.0.1:{server.server_port}")) as found:
            until(lambda: under_way[0] == 0)
            most[0] = 0
            found.ahead(range(10), "tag")
            until(lambda: not found._jobs)
            assert all(found.kept(image, "tag", THUMB) for image in range(10)) and most[0] > 1
        server.shutdown()


def test_a_file_that_was_renamed_is_found_after_add(project: Photos, images: Path, tmp_path: Path) -> None:
    image = ids(project)["0"]
    (images / "china" / "0.jpg").rename(images / "china" / "renamed.jpg")
    Project.open(tmp_path / "project").add(Folder(str(images)))
    with Photos(ProjectFolder.open(tmp_path / "project")) as later:
        assert get(later, image).state == "here"


def test_a_source_that_keeps_no_originals_has_none(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", load_sample_image("china.jpg")[None, ::4, ::4])
    arrays = sources["arrays"].bind({"path": str(tmp_path / "images.npy")})
    with opened(tmp_path / "project", arrays, "arrays") as found:
        assert not found.are_kept and found.keys([0]) == {}
        found.ahead([0], "tag")
        assert not found._jobs


def test_the_pool_is_enough_where_the_images_are_on_no_disk_any_more(
    project: Photos, images: Path, tmp_path: Path
) -> None:
    shutil.rmtree(images)
    assert [get(project, image).state for image in range(3)] == ["gone"] * 3


def test_what_a_process_replies_is_plain_bytes() -> None:
    view = View("here", {2048: b"abc", 256: b"", 1024: b"d"}, "why")
    assert photo_process._read(photo_process._written(view)) == view
    for reply in (b"", b"\0\0\0\2{}", b"\0\0\0\4null", photo_process._written(View("odd"))):  # type: ignore[arg-type]
        with pytest.raises(photo_process.Overdue):
            photo_process._read(reply)
