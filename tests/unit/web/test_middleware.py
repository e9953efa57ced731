"""What every request passes first, against an application that would take anything."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.web_requests import JSON, OWN, Message, anything, ask

from asal.web.addresses import LOOPBACK, Reached
from asal.web.browser import open_browser
from asal.web.middleware import HEADERS, Guard, Refusal
from asal.web.serve import Address, _reached


def status(said: list[Message]) -> int:
    start = said[0]
    there = {name.decode(): value.decode() for name, value in start["headers"]}
    assert {name: there[name] for name in HEADERS} == HEADERS
    if start["status"] >= 400:
        assert set(json.loads(said[1]["body"])["error"]) == {"rule", "got", "hint"}
    return int(start["status"])


GUARD = Guard(anything, Reached(LOOPBACK), limit=100)


def test_what_fits_passes_with_its_body_whole() -> None:
    said = ask(GUARD, headers=[JSON], parts=[b"a" * 40, b"", b"b" * 60])
    assert status(said) == 200
    assert (b"x-taken", b"100") in said[0]["headers"]


@pytest.mark.parametrize(
    ("headers", "wants"),
    [
        ([(b"Content-Type", b"Application/JSON; charset=utf-8")], 200),
        ([JSON, (b"origin", b"http://127.0.0.1:8765")], 200),
        ([JSON, (b"origin", b"https://127.0.0.1:8765"), (b"cookie", b"a=b")], 200),
        ([JSON, (b"cookie", b"a=b"), (b"authorization", b"Bearer x")], 200),
        ([JSON, (b"cookie", b"a=b")], 403),
        ([JSON, (b"origin", b"null")], 403),
        ([JSON, (b"origin", b"")], 403),
        ([JSON, (b"origin", b"http://127.0.0.1:8766")], 403),
        ([JSON, (b"host", b"evil.example")], 403),
        ([JSON, (b"host", b"localhost:9000"), (b"origin", b"http://localhost:9000")], 200),  # a tunnel
        ([JSON, (b"host", b"localhost:9000"), (b"origin", b"http://localhost:8765")], 403),
        ([JSON, (b"host", b"localhost"), (b"origin", b"http://localhost")], 200),
        ([JSON, (b"host", b"localhost.evil.example:9000")], 403),
        ([JSON, (b"host", b"[::1]:7"), (b"origin", b"http://[::1]:7")], 200),
        ([JSON, (b"host", b"localhost:65536")], 403),
        ([JSON, (b"host", b"")], 403),
        ([], 415),
        ([(b"content-type", b"text/plain")], 415),
        ([(b"content-type", b"application/json-seq")], 415),
        ([JSON, JSON], 400),
        ([JSON, (b"Host", OWN.encode()), (b"hOST", OWN.encode())], 400),
        ([JSON, (b"content-length", b"101")], 413),
        ([JSON, (b"content-length", b"-1")], 413),
        ([JSON, (b"content-length", "²".encode("latin-1"))], 413),
    ],
)
def test_who_may_write(headers: list[tuple[bytes, bytes]], wants: int) -> None:
    assert status(ask(GUARD, headers=headers)) == wants


def test_a_body_is_counted_as_it_comes() -> None:
    assert status(ask(GUARD, headers=[JSON], parts=[b"a" * 60, b"b" * 60, b"never read"])) == 413


def test_reading_needs_no_form_but_the_right_origin() -> None:
    assert status(ask(GUARD, "GET", [(b"cookie", b"a=b")])) == 200
    assert status(ask(GUARD, "GET", [(b"origin", b"http://evil.example")])) == 403
    assert status(ask(GUARD, "GET", [(b"host", b"evil.example")])) == 403


def test_a_web_socket_is_closed() -> None:
    said = ask(GUARD, type="websocket")
    assert said == [{"type": "websocket.close", "code": 1008}]
    assert ask(GUARD, type="lifespan") == [{"type": "accepted"}]


def test_a_client_that_leaves_half_way_is_no_fault() -> None:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", OWN.encode()), JSON]}
    asyncio.run(GUARD(scope, receive, send))
    assert status(said) == 200


def test_a_refusal_can_be_raised_anywhere() -> None:
    refusal = Refusal(403, "got", rule="rule", hint="hint")
    refusal.__traceback__ = None  # as frameworks do
    assert refusal.args == (403, "got", "rule", "hint")


def test_whom_requests_may_be_addressed_to() -> None:
    assert _reached(Address()).names == {"127.0.0.1", "localhost", "[::1]"}
    assert _reached(Address("0.0.0.0")).names == frozenset()
    behind = _reached(Address.of("0.0.0.0", None, "https://Label.example.org/", ""))
    assert behind.names == LOOPBACK and behind.origin == "https://label.example.org"
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Address(host).loops_back
    for host in (
        "0.0.0.0",
        "::",
        "192.168.0.1",
        "label.example.org",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
    ):
        assert not Address(host).loops_back


def test_the_browser_is_opened_without_the_token_on_a_command_line(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    (tmp_path / "labelling").mkdir()
    (tmp_path / "labelling" / "open.html").symlink_to(tmp_path / "elsewhere")
    page = open_browser('http://127.0.0.1:8765/#token=asal_1_s"<', tmp_path / "labelling")
    assert opened == [page.as_uri()] and "token" not in opened[0]
    assert page.stat().st_mode & 0o777 == 0o600
    assert not page.is_symlink() and not (tmp_path / "elsewhere").exists()
    assert 'url=http://127.0.0.1:8765/#token=asal_1_s&quot;&lt;"' in page.read_text()
