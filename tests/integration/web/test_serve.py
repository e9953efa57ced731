"""Where the server listens, in whose name, and what it says when the record cannot be written."""

from __future__ import annotations

import getpass
import io
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from support.commands import TINY, Command, merged
from support.http_clients import free_port

from asal.data.sources.folder import Folder
from asal.errors import BusyError, DamageError, OutageError, UserError
from asal.project.folder import ProjectFolder
from asal.project.project import Project
from asal.project.spec import load, to_toml
from asal.project.status import damage
from asal.session.connection import RecordDamageError
from asal.session.events import Event, Record
from asal.session.state import State
from asal.web import app, serve
from asal.web.project_info import ProjectInfo
from asal.web.serve import Address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "::1"])
def test_every_address_of_the_loopback_is_served_under_the_link_that_is_printed(host: str) -> None:
    assert serve._reached(Address(host)).takes(f"{serve._shown(host)}:8765")


def test_beyond_the_loopback_only_the_origin_is_served() -> None:
    found = serve._reached(Address("0.0.0.0", origin="https://label.example.org"))
    assert found.takes("label.example.org") and not found.takes("0.0.0.0:8765") and not found.takes("192.168.0.7:8765")


def test_a_machine_without_ipv6_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(serve.socket, "socket", refuse)
    with pytest.raises(UserError, match="not supported"):
        serve.bound(Address("::1", 8765))


def test_a_user_without_a_name_labels_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the user's number may have no name; a domain's user has a backslash in it."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert serve._user() == "me"
    monkeypatch.setattr(getpass, "getuser", lambda: "DOMAIN\\ada")
    assert serve._user() == "me"
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert serve._user() == "ada"


def test_what_was_pressed_is_kept_while_the_record_cannot_be_written() -> None:
    """A page drops what is refused for good (4xx) and sends again what may come later (503)."""
    with pytest.raises(OutageError, match="connection") as away:
        Record.open(f"postgresql://asal@127.0.0.1:{free_port()}/none")
    busy, damaged = (kind("c", rule="r", hint="m") for kind in (BusyError, DamageError))
    for error in (away.value, busy, damaged):
        assert app._explained(None, error).status_code == 503  # type: ignore[arg-type]  # it looks at no request
    assert app._explained(None, UserError("c", rule="r", hint="m")).status_code == 409  # type: ignore[arg-type]


def test_a_full_disk_is_an_outage(tiny: Path) -> None:
    with Record.open(load(tiny).labelling.place(tiny)) as record:
        with record._engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        sa.event.listen(record._engine, "checkout", lambda raw, *_: raw.execute(f"PRAGMA max_page_count={pages}"))
        with pytest.raises(OutageError, match="full"):
            record.append([Event("opened", body={"text": "x" * 1_000_000})], after=0)


@pytest.mark.parametrize("classes", [["cat"], ["cat", "cat"], ["cat", " "]])
def test_classes_that_cannot_be_told_apart_are_refused_before_anything_is_served(
    tiny: Path, asal: Command, classes: list[str]
) -> None:
    write(tiny, {"labelling": {"classes": classes}})
    asal("label", tiny, "--no-browser").refused("a name of its own", "cat")


def test_an_image_that_was_added_since_is_shown(tiny: Path, tmp_path: Path) -> None:
    """A worker that was started again after `asal add` asks for images that were not there when the server began."""
    facts = ProjectInfo.of(ProjectFolder.open(tiny), "random")
    images, known = tmp_path / "more" / "3", len(facts.pool)
    images.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(256, size=(3, *facts.pool.shape), dtype=np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one[:, :, 0]).save(images / f"more-{number}.png")
    assert Project.open(tiny).add(Folder(str(images.parent))).new == 3
    shown = Image.open(io.BytesIO(facts.picture(known + 1, State())))
    assert (np.asarray(shown) == pixels[1, :, :, 0]).all()


def test_the_doctor_looks_at_a_record_that_lies_elsewhere(tiny: Path) -> None:
    write(tiny, {"labelling": {"record": "people.db"}})
    assert damage(tiny) == []
    (tiny / "people.db").write_bytes(b"no database " * 100)
    assert [type(error) for error in damage(tiny)] == [RecordDamageError]


def write(root: Path, changes: dict[str, Any]) -> None:
    (root / "asal.toml").write_text(to_toml(merged(TINY, changes)))


@pytest.mark.parametrize(("command", "name"), [("export", "OUT"), ("import", "FILE")])
def test_help_calls_an_argument_what_its_text_calls_it(asal: Command, command: str, name: str) -> None:
    said = asal(command, "--help")
    assert said.code == 0 and f" {name} " in said.out.replace("{", " ").replace("}", " ")
    assert f"{{{name.lower()}}}" not in said.out
