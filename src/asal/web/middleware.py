"""Checks of every request before the application: host, origin, size, form; and the headers of every reply."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LIMIT = 64 * 1024  # bytes of a request's body: 200 answers take 20 KiB
ONCE = frozenset({"host", "origin", "content-type", "content-length", "transfer-encoding", "authorization"})
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def error_body(got: str, rule: str, hint: str) -> dict[str, dict[str, str]]:
    """Return an error as it is sent."""
    return {"error": {"got": got, "rule": rule, "hint": hint}}


class Refusal(Exception):  # noqa: N818  it is a reply, not a fault
    """A request that is refused. Not a frozen dataclass, since raising an exception sets its attributes."""

    def __init__(self, status: int, got: str, *, hint: str, rule: str = "") -> None:
        super().__init__(status, got, rule, hint)
        self.status, self.got, self.rule, self.hint = status, got, rule, hint


@dataclass(frozen=True)
class Guard:
    """Wraps an application.

    Args:
        hosts: what a request may be addressed to; anything if empty. This stops pages that make their own name resolve
            to this machine.
        limit: bytes of a body.
    """

    app: App
    hosts: frozenset[str] = frozenset()
    limit: int = LIMIT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket: there is none, and the checks below are not for it
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_headers(message.get("headers", []))
            await send(message)

        try:
            headers = _by_name(scope["headers"])
            self._check(scope, headers)
            body = await self._body(headers, receive)
        except Refusal as refusal:
            await _refuse(refusal, send_with_headers)
            return

        async def replay() -> MutableMapping[str, Any]:
            nonlocal body
            if body is None:
                return await receive()
            message, body = {"type": "http.request", "body": body, "more_body": False}, None
            return message

        await self.app(scope, replay, send_with_headers)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if self.hosts and host.lower() not in self.hosts:
            raise Refusal(403, f"the request is addressed to another host: {host[:80]}", hint=_hint("host"))
        origin = headers.get("origin")
        reads = scope["method"] in ("GET", "HEAD")
        if origin is None and "authorization" not in headers and "cookie" in headers and not reads:
            got = "the request has a cookie and no Origin"
            raise Refusal(403, got, rule="only this server's own page writes with a cookie", hint=_hint("origin"))
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            got = f"the request comes from another page: {origin[:80]}"
            raise Refusal(403, got, rule="only this server's own page may use it", hint=_hint("origin"))
        if scope["method"] != "POST":
            return  # no such route writes
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            kind = headers.get("content-type", "nothing")[:80]
            raise Refusal(415, f"the body is {kind}, not JSON", hint="send Content-Type: application/json")

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes | None:
        """Read the body, up to the limit."""
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > self.limit:
            raise self._too_large(f"a body of {length[:20]} bytes")
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += bytes(message.get("body", b""))
            if len(body) > self.limit:
                raise self._too_large("a longer body")
            if not message.get("more_body"):
                return body

    def _too_large(self, got: str) -> Refusal:
        rule = f"a body has at most {self.limit:,} bytes"
        return Refusal(413, f"{got} is too large", rule=rule, hint="send fewer answers at a time")


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name; refuse a repeated one, of which readers differ in taking the first or the last."""
    by_name: dict[str, str] = {}
    for name, value in headers:
        lower = name.decode("latin-1").lower()
        if lower in by_name and lower in ONCE:
            raise Refusal(400, f"the header {lower} occurs twice", hint="send it once")
        by_name[lower] = value.decode("latin-1")
    return by_name


def _hint(what: str) -> str:
    if what == "host":
        return "open the address that `asal label` printed, or start it with --origin"
    return "answer on the page itself, or sign in with `Authorization: Bearer TOKEN` and without a cookie"


def _with_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    if b"cache-control" not in there:
        more.append((b"cache-control", b"no-store"))
    return [*headers, *more]


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = json.dumps(error_body(refusal.got, refusal.rule, refusal.hint)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
