"""Where the server listens, in whose name, and what it says when the record cannot be written."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import pytest
import sqlalchemy as sa
from people import free_port

from asal.errors import BusyError, DamageError, OutageError, UserError
from asal.events import Event, Record
from asal.spec import load
from asal.web import app, serve
from asal.web.serve import Address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "::1"])
def test_every_address_of_the_loopback_is_served_under_the_link_that_is_printed(host: str) -> None:
    assert f"{serve._shown(host).lower()}:8765" in serve._hosts(Address(host), 8765)


def test_beyond_the_loopback_only_the_origin_is_served() -> None:
    found = serve._hosts(Address("0.0.0.0", origin="https://label.example.org"), 8765)
    assert "label.example.org" in found and "0.0.0.0:8765" not in found


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
    busy, damaged = (kind("r", came="c", remedy="m") for kind in (BusyError, DamageError))
    for error in (away.value, busy, damaged):
        assert app._explained(None, error).status_code == 503  # type: ignore[arg-type]  # it looks at no request
    assert app._explained(None, UserError("r", came="c", remedy="m")).status_code == 409  # type: ignore[arg-type]


def test_a_full_disk_is_an_outage(tiny: Path) -> None:
    with Record.open(load(tiny).labelling.place(tiny)) as record:
        with record._engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        sa.event.listen(record._engine, "checkout", lambda raw, *_: raw.execute(f"PRAGMA max_page_count={pages}"))
        with pytest.raises(OutageError, match="full"):
            record.append([Event("opened", body={"text": "x" * 1_000_000})], after=0)
