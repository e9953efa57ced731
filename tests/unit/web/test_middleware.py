"""What every request passes first, against an application that would take anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest

from asal.web.browser import open_browser
from asal.web.middleware import HEADERS, Guard, Refusal
from asal.web.serve import Address, _hosts

OWN = "127.0.0.1:8765"
JSON = (b"content-type", b"application/json")
Message = MutableMapping[str, Any]


async def anything(scope: Message, receive: Any, send: Any) -> None:
    """Take everything, and say how long it was."""
    body = b""
    if scope["type"] == "http":
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] != "http.request" or not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-taken", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "accepted"})


def ask(
    guard: Guard,
    method: str = "POST",
    headers: Iterable[tuple[bytes, bytes]] = (),
    parts: Iterable[bytes] = (b"{}",),
    **more: Any,
) -> list[Message]:
    """Send a request in parts; return what was sent back."""
    given, said = [*headers], []
    if not any(name.lower() == b"host" for name, _ in given):
        given.append((b"host", OWN.encode()))
    scope = {"type": "http", "method": method, "path": "/", "headers": given, **more}
    pieces = list(parts)
    coming = [{"type": "http.request", "body": part, "more_body": i < len(pieces) - 1} for i, part in enumerate(pieces)]

    async def receive() -> Message:
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(guard(scope, receive, send))
    return said


def status(said: list[Message]) -> int:
    start = said[0]
    there = {name.decode(): value.decode() for name, value in start["headers"]}
    assert {name: there[name] for name in HEADERS} == HEADERS
    if start["status"] >= 400:
        assert set(json.loads(said[1]["body"])["error"]) == {"rule", "got", "hint"}
    return int(start["status"])


GUARD = Guard(anything, frozenset([OWN]), limit=100)


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
    assert _hosts(Address(), 8765) == {"127.0.0.1:8765", "localhost:8765", "[::1]:8765"}
    assert _hosts(Address("0.0.0.0"), 8765) == frozenset()
    behind = _hosts(Address(origin="https://Label.example.org/"), 8765)
    assert behind == {*_hosts(Address(), 8765), "label.example.org"}
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
