"""Photographs through `asal label` itself: what a browser gets, while a file, a share or the server itself fails."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from support.http_clients import PATIENCE, Bot, Served

from asal.project.project import Project

IMAGES = 12
SPEC = """
name = "photographs"
[source]
kind = "folder"
path = "{path}"
[pool]
size = 32
fit = "pad"
[labelling]
pace = "strict"
[protocol]
initial = 12
batch = 2
budget = 14
[strategies.random]
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with a place in their EXIF data: excerpts of one that a package ships."""
    folder, pixels = tmp_path_factory.mktemp("share") / "images", load_sample_image("china.jpg")
    about = Image.Exif()
    about[0x010E] = "the secret place"
    for number in range(IMAGES):
        path = folder / ("left", "right")[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = pixels[10 * number : 10 * number + 240, 20 * number : 20 * number + 320]
        Image.fromarray(part).resize((3200, 2400)).save(path, quality=85, exif=about)
    return folder


def prepared(root: Path, path: object) -> Path:
    root.mkdir()
    (root / "asal.toml").write_text(SPEC.format(path=path))
    Project.open(root).prepare()
    return root


def tasks(bot: Bot) -> list[dict[str, Any]]:
    """Return all images, when they have been chosen."""
    end, found = time.monotonic() + PATIENCE, list[dict[str, Any]]()
    while len(found) < IMAGES:
        found += bot.next(IMAGES - len(found), [task["image"] for task in found])
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def until_here(bot: Bot, address: str) -> httpx.Response:
    """Ask until the original comes: a busy machine needs more seconds than a request waits."""
    end = time.monotonic() + PATIENCE
    while (reply := bot.http.get(address)).headers["x-original"] != "here":
        assert time.monotonic() < end, "it can be read, and is not"
        time.sleep(0.2)
    return reply


def children(pid: int) -> set[int]:
    """Return the processes that a process has started."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_browser_gets_originals_and_keeps_them(images: Path, tmp_path: Path) -> None:
    root = prepared(tmp_path / "project", images)
    with Served(root) as served:
        bot = Bot(served.url, served.token)
        assert bot.get("/api/project")["sees"] == {"fit": "pad", "size": 32, "reads": "pictures"}
        first, second, third, *_ = tasks(bot)
        photo, thumb = (until_here(bot, first[name]) for name in ("photo", "thumb"))
        for reply, size in ((photo, (2048, 1536)), (thumb, (256, 192))):
            assert reply.status_code == 200 and reply.headers["x-original"] == "here"
            assert reply.headers["content-type"] == "image/jpeg"
            assert "immutable" in reply.headers["cache-control"] and "private" in reply.headers["cache-control"]
            assert Image.open(io.BytesIO(reply.content)).size == size and b"secret place" not in reply.content
        assert (images / first["key"]).exists()
        elsewhere = bot.http.get(f"/photos/{first['image']}.jpg?of=another&edge=256")
        assert elsewhere.content == thumb.content and elsewhere.headers["cache-control"] == "no-store"
        assert httpx.get(served.url + first["photo"]).status_code == 401

        bot.answer((first["image"], 0))
        (answered,) = bot.get("/api/history")["answers"]
        assert {name: answered[name] for name in ("src", "photo", "thumb", "key")} == {
            name: first[name] for name in ("src", "photo", "thumb", "key")
        }
        assert bot.http.get(answered["thumb"]).content == thumb.content

        end = time.monotonic() + PATIENCE
        while not list((root / "labelling" / "photos").glob(f"*-{second['image']}-2048")):
            assert time.monotonic() < end, "it is not decoded ahead"
            time.sleep(0.1)
        for path in (root / "labelling" / "photos").iterdir():
            path.unlink()
        assert until_here(bot, third["photo"]).content


@pytest.fixture
def share(images: Path) -> Iterator[tuple[str, set[str], threading.Event]]:
    """Serve the photographs over HTTP; files that are named in the set arrive when the event is set."""
    pytest.importorskip("aiohttp", reason="fsspec reaches http through aiohttp")
    stuck, free = set[str](), threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.strip("/") in stuck:
                free.wait(PATIENCE)
            super().do_GET()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(images))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", stuck, free
        free.set()
        server.shutdown()


def test_a_share_that_does_not_answer_holds_nobody_up(
    share: tuple[str, set[str], threading.Event], tmp_path: Path
) -> None:
    url, stuck, free = share
    root = prepared(tmp_path / "project", url)
    stuck |= {f"{('left', 'right')[number % 2]}/{number:02d}.jpg" for number in range(3)}
    with Served(root) as served, ThreadPoolExecutor(3) as waiting:
        bot = Bot(served.url, served.token)
        found = {task["key"]: task for task in tasks(bot)}
        slow = [waiting.submit(httpx.get, served.url + found[key]["photo"], headers=bot.http.headers, timeout=PATIENCE)
                for key in sorted(stuck)]  # fmt: skip
        others = [found[key] for key in found.keys() - stuck]
        for task in others:
            until_here(bot, task["thumb"])  # although the first three never come
        bot.answer((others[0]["image"], 1))
        for each, key in zip(slow, sorted(stuck), strict=True):
            reply = each.result()
            assert reply.status_code == 200 and reply.headers["x-original"] == "unreadable"
            assert reply.content == bot.http.get(found[key]["src"]).content, "the pool's picture"
            assert "immutable" not in reply.headers["cache-control"], "it may come back"
        free.set()
        for key in stuck:
            until_here(bot, found[key]["photo"])


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_process_outlives_the_server(images: Path, tmp_path: Path, how: str) -> None:
    with Served(prepared(tmp_path / "project", images)) as served:
        bot = Bot(served.url, served.token)
        until_here(bot, tasks(bot)[0]["photo"])
        assert served.process is not None
        started = children(served.process.pid)
        assert started
        getattr(served, how)()
    end = time.monotonic() + PATIENCE
    while any(map(alive, started)):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.05)
