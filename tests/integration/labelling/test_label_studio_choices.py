"""Classes that change while people label in Label Studio: its choices follow, over HTTP, and keep what it needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from asal.errors import UserError
from asal.labelling.label_studio.bridge import Bridge
from asal.labelling.label_studio.choices import with_choices
from asal.labelling.label_studio.client import LabelStudio, label_config
from asal.session.class_changes import ClassChange
from asal.session.session import Session
from asal.testing.toy_sessions import begin


class Studio(BaseHTTPRequestHandler):
    """A server that speaks as much of Label Studio's API as choices need; it keeps choices that have answers."""

    config = ""
    answered: frozenset[str] = frozenset()

    def choices(self) -> list[str]:
        found = ElementTree.fromstring(type(self).config).findall(".//Choice")
        return [one.get("value", "") for one in found]

    def reply(self, what: Any, status: int = 200) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path.startswith("/api/current-user"):
            self.reply({"email": "me@example.org"})
            return
        parsed = {"label": {"type": "Choices", "labels": self.choices()}}
        self.reply({"id": 7, "label_config": type(self).config, "parsed_label_config": parsed})

    def do_PATCH(self) -> None:
        config = json.loads(self.rfile.read(int(self.headers["content-length"])))["label_config"]
        offered = {one.get("value") for one in ElementTree.fromstring(config).findall(".//Choice")}
        if not type(self).answered <= offered:
            self.reply({"detail": "Created annotations are incompatible with provided labeling schema"}, 400)
            return
        type(self).config = config
        self.reply({"id": 7})

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def studio() -> Iterator[type[Studio]]:
    handler = type("Fresh", (Studio,), {"config": label_config(["zero", "one", "two"])})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield handler
        server.shutdown()


def bridge(studio: Any, session: Session, home: Path) -> Bridge:
    return Bridge(session, LabelStudio(studio.url, "t" * 20, pause=0.01), home, project=7)


def offered(studio: Any) -> list[str]:
    return [one.get("value") for one in ElementTree.fromstring(studio.config).findall(".//Choice")]


def test_choices_follow_the_classes(studio: Any, tmp_path: Path) -> None:
    studio.config = studio.config.replace("<View>", '<View><Header value="Look closely"/>', 1)
    session = begin(tmp_path / "labels.db")
    bridge(studio, session, tmp_path)
    before = studio.config
    bridge(studio, session, tmp_path)
    assert studio.config == before  # nothing has changed
    session.change_classes(ClassChange("add", ("three",)))
    session.change_classes(ClassChange("rename", ("one",), "uno"))
    bridge(studio, session, tmp_path)
    assert offered(studio) == ["zero", "uno", "two", "three"]
    assert "Look closely" in studio.config  # what somebody wrote there stays


def test_a_choice_with_answers_stays_beside_the_new_ones(studio: Any, tmp_path: Path) -> None:
    session = begin(tmp_path / "labels.db")
    studio.answered = frozenset(["one"])
    session.change_classes(ClassChange("rename", ("one",), "uno"))
    bridge(studio, session, tmp_path)
    assert offered(studio) == ["zero", "uno", "two", "one"]
    assert session.class_list.known("one") == {1}  # and an answer with it counts as the renamed class
    session.change_classes(ClassChange("add", ("three",)))
    bridge(studio, session, tmp_path)
    assert offered(studio) == ["zero", "uno", "two", "three", "one"]


def test_a_project_that_asks_something_else_is_left_alone(studio: Any, tmp_path: Path) -> None:
    for names in (["cat", "dog"], ["zero", "one"], ["zero", "one", "two", "cat"]):
        studio.config = before = label_config(names)
        with pytest.raises(UserError, match="not for the session's classes"):
            bridge(studio, begin("sqlite://"), tmp_path)
        assert studio.config == before


def test_names_are_written_as_xml_wants_them() -> None:
    names = ['<b>"&', "ä", "7"]
    changed = with_choices(label_config(["a", "b"]), names)
    assert [one.get("value") for one in ElementTree.fromstring(changed).findall(".//Choice")] == names
    assert with_choices("<no xml", names) == label_config(names)


def test_an_import_holds_no_more_than_its_bytes(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = begin(tmp_path / "labels.db")
    session.ask(8)
    pushing = bridge(studio, session, tmp_path)
    images = list(session.state.waiting)
    (alone,) = pushing._loads(images[:1])
    most = 2 * len(alone[0]["data"]["image"])
    monkeypatch.setattr("asal.labelling.label_studio.bridge.LARGEST", most)
    loads = list(pushing._loads(images))
    assert [task["data"]["asal_id"] for load in loads for task in load] == images and len(loads) > 1
    assert all(len(load) == 1 or sum(len(task["data"]["image"]) for task in load) <= most for load in loads)
    monkeypatch.setattr("asal.labelling.label_studio.bridge.LARGEST", 1)
    assert [len(load) for load in pushing._loads(images)] == [1] * len(images)
