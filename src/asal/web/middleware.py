"""What every request passes first: its host, its origin, its size, its form; and the headers of every reply."""

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


class Refusal(Exception):  # noqa: N818  it is an answer, not a fault
    """A request that goes no further. No frozen dataclass: whoever raises an exception writes into it."""

    def __init__(self, status: int, got: str, *, rule: str, hint: str) -> None:
        super().__init__(status, got, rule, hint)
        self.status, self.got, self.rule, self.hint = status, got, rule, hint


@dataclass(frozen=True)
class Guard:
    """Wraps an application.

    Args:
        hosts: whom a request may be addressed to; anybody where none is given. So a page whose name was made
            to point at this machine gets nothing.
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
        if scope["type"] != "http":  # a web socket: there is none, and it would pass by what follows
            await send({"type": "websocket.close", "code": 1008})
            return

        async def armed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_headers(message.get("headers", []))
            await send(message)

        try:
            headers = _distinct(scope["headers"])
            self._check(scope, headers)
            body = await self._body(headers, receive)
        except Refusal as refusal:
            await _refuse(refusal, armed)
            return

        async def again() -> MutableMapping[str, Any]:
            nonlocal body
            if body is None:
                return await receive()
            message, body = {"type": "http.request", "body": body, "more_body": False}, None
            return message

        await self.app(scope, again, armed)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if self.hosts and host.lower() not in self.hosts:
            raise Refusal(
                403, f"Host: {host[:80]}", rule="a request is addressed to this server by its name", hint=_hint("host")
            )
        origin = headers.get("origin")
        reads = scope["method"] in ("GET", "HEAD")
        if origin is None and "authorization" not in headers and "cookie" in headers and not reads:
            got = "a request with a cookie and without an Origin"
            raise Refusal(403, got, rule="what is written comes from this server's own page", hint=_hint("origin"))
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            got = f"Origin: {origin[:80]}"
            raise Refusal(403, got, rule="a page that speaks to this server is its own", hint=_hint("origin"))
        if scope["method"] != "POST":
            return  # nothing is written by it: there is no such route
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            got = f"Content-Type: {headers.get('content-type', 'none')[:80]}"
            raise Refusal(415, got, rule="what is written is JSON", hint="send Content-Type: application/json")

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes | None:
        """Read the body, and no more than may come."""
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > self.limit:
            raise self._too_large(f"{length[:20]} bytes")
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += bytes(message.get("body", b""))
            if len(body) > self.limit:
                raise self._too_large("more")
            if not message.get("more_body"):
                return body

    def _too_large(self, got: str) -> Refusal:
        return Refusal(
            413, got, rule=f"a request has at most {self.limit:,} bytes", hint="send fewer answers at a time"
        )


def _distinct(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name. Of two that differ, one reader would take the first and another the last."""
    found: dict[str, str] = {}
    for name, value in headers:
        told = name.decode("latin-1").lower()
        if told in found and told in ONCE:
            raise Refusal(400, "two of them", rule=f"a request has one {told}", hint="send one")
        found[told] = value.decode("latin-1")
    return found


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
