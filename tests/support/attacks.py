"""A server to attack, raw HTTP requests to it, and the table of attacks."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asal.labelling.annotators import Annotators
from asal.session.events import Record
from support.http_clients import PATIENCE, Served

CLASSES = ("<img src=x onerror=alert(1)>", "cat & dog")
FILE = '"><svg onload=alert(1)>{}.png'
ARTIST, SECRET_PLACE = 315, b"at home, 48.1 N 11.5 E"  # in the EXIF data of every file
SPEC = """
name = "target"

[source]
kind = "folder"
path = "{path}"

[pool]
gray = true

[protocol]
initial = 20
batch = 10
budget = 40

[labelling]
pace = "strict"           # nothing is asked meanwhile

[strategies.random]
"""
Header = tuple[str, str]


@dataclass(frozen=True)
class Reply:
    """A raw HTTP reply."""

    status: int
    headers: Sequence[Header]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def spoken(port: int, data: bytes, *, end: bool = False) -> Reply:
    """Send bytes and read the reply to its end. `end`: the client sends no more and says so."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        try:
            line.sendall(data)
            if end:
                line.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent
        got = b""
        try:
            while part := line.recv(65_536):
                got += part
        except ConnectionResetError:
            pass
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    assert first.startswith("HTTP/1.1 "), got[:200]
    return Reply(int(first.split()[1]), headers, body)


def project(root: Path) -> Path:
    """Prepare a project whose classes, keys and name are scripts, and ask about twenty of its images."""
    from asal.project.project import Project
    from asal.project.spec import load

    rng = np.random.default_rng(0)
    for number in range(50):
        folder = root / "images" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        about = Image.Exif()
        about[ARTIST] = SECRET_PLACE.decode()
        pixels = rng.integers(256, size=(4, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / FILE.format(number), exif=about)
    (root / "asal.toml").write_text(SPEC.format(path=root / "images"))
    made = Project(root, load(root))
    made.prepare()
    session = made.session("random")
    session.ask(20)
    session.record.close()
    return root


@dataclass
class Target:
    """A server, with Ada and Bob, who label, and Judge, who settles; and everything that an attacker may hold."""

    served: Served
    root: Path
    tokens: dict[str, str] = field(default_factory=dict)
    cookie: str = ""
    asked: list[int] = field(default_factory=list)  # open images; the first four are answered by Ada, Ada, Bob, Bob
    replies: list[Reply] = field(default_factory=list)  # all of them

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.served.port}"

    def people(self) -> None:
        """Add everybody, before the server starts."""
        with Record.open(self.root / "labels.db") as record:
            people = Annotators(record)
            self.tokens = {name: people.add(name) for name in ("Ada", "Bob", "Gone", "O'Neil")}
            self.tokens["Judge"] = people.add("Judge", "adjudicator")
            self.tokens["expired"] = people.token("Ada", -1.0)
            people.remove("Gone")
        with Record.open("sqlite://") as record:
            self.tokens["other project"] = Annotators(record).add("Ada")

    def send(
        self, method: str, path: str, headers: Sequence[Header] = (), body: bytes = b"", *, host: str | None = None
    ) -> Reply:
        """Send a request exactly as given."""
        named = [("Host", self.host if host is None else host), *headers, ("Connection", "close")]
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named)]
        data = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
        self.replies.append(spoken(self.served.port, data))
        return self.replies[-1]

    def get(self, path: str, who: str = "Ada", *more: Header) -> Reply:
        return self.send("GET", path, [*self.signed(who), *more])

    def signed(self, who: str) -> list[Header]:
        return [("Authorization", f"Bearer {self.tokens[who]}")] if who else []

    def post(self, path: str, body: Any, who: str = "Ada", *more: Header, kind: str = "application/json") -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = [("Content-Type", kind), ("Content-Length", str(len(data))), *self.signed(who), *more]
        return self.send("POST", path, headers, data)

    def browser(self, path: str, body: Any, *more: Header, kind: str = "application/json") -> Reply:
        """Send as a browser does that is signed in as Ada."""
        return self.post(path, body, "", ("Cookie", self.cookie), *more, kind=kind)

    def enter(self, who: str = "Ada") -> Reply:
        """Sign in on the page."""
        reply = self.post("/api/enter", {"token": self.tokens[who]}, "", ("Origin", f"http://{self.host}"))
        self.cookie = reply.header("set-cookie").partition(";")[0] or self.cookie
        return reply

    def begin(self) -> None:
        """Let Ada and Bob answer two images each; Ada has three more before her, Bob has three others."""
        self.enter()
        for who in ("Ada", "Bob"):
            tasks = self.post("/api/next", {"tab": who, "n": 5}, who).json["tasks"]
            images = [task["image"] for task in tasks]
            for number, image in enumerate(images[:2]):
                reply = self.post("/api/answers", answer(image, 0, f"{who}-key-{number}", tab=who), who)
                assert reply.status == 200, reply.body
            self.asked += images
        self.asked = [*self.asked[:2], *self.asked[5:7], *self.asked[2:5], *self.asked[7:]]


def answer(image: Any, label: Any = 0, key: str = "some-key-1", **more: Any) -> dict[str, Any]:
    """Return the body of an answer to one image."""
    one = {"image": image, "label": label, "seconds": more.pop("seconds", 1.0)}
    return {"key": key, "tab": more.pop("tab", "t"), "answers": [one | more.pop("one", {})], **more}


@dataclass(frozen=True)
class Attack:
    """One row of the table.

    Args:
        gets: every status that its requests get.
        because: what stops it.
        tries: sends it, in as many ways as there are.
        writes: events that it adds to the record.
    """

    what: str
    gets: tuple[int, ...]
    because: str
    tries: Callable[[Target], Sequence[Reply]]
    writes: int = 0
    bare: bool = False  # the HTTP parser itself refuses it, in its own words


def table(attacks: Mapping[str, Sequence[Attack]]) -> str:
    """Return the document's table."""
    lines = []
    for group, rows in attacks.items():
        lines += [f"**{group}**", "", "| What is tried | What it gets | Why |", "| --- | --- | --- |"]
        lines += [f"| {one.what} | {', '.join(map(str, one.gets))} | {one.because} |" for one in rows]
        lines.append("")
    return "\n".join(lines)
