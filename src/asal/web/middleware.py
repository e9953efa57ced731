"""Checks of every request before the application: host, origin, size, form; and the headers of every reply."""

from __future__ import annotations

import html
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from asal.web.addresses import Reached, is_origin

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LIMIT = 64 * 1024  # bytes of a request's body: 200 answers take 20 KiB
ONCE = frozenset({"host", "origin", "content-type", "content-length", "transfer-encoding", "authorization"})
HOST = "asal serves only under names that it knows"
ORIGIN = "answer on the page itself, or sign in with `Authorization: Bearer TOKEN` and without a cookie"
PUBLIC = "asal.public"  # whether a request came by the proxy, in its scope
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>asal: not at this address</title><h1>asal is not served at this address</h1>{}</html>"""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
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
        reached: by which hosts, origins and path people reach the server. This stops pages that make their own name
            resolve to this machine.
        limit: bytes of a body.
    """

    app: App
    reached: Reached = field(default_factory=Reached)
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
            scope = self._below_root(scope, headers)
            body = await self._body(headers, receive)
        except Refusal as refusal:
            await _refuse(refusal, _wants_page(scope), send_with_headers)
            return
        if scope["path"] == "":  # addresses in the page are relative: without the slash they would lead past it
            await _redirect(f"{self.reached.root_path}/", send_with_headers)
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
        if not self.reached.takes(host):
            got = f"the request is addressed to another host: {host[:80]}"
            raise Refusal(403, got, rule=HOST, hint=self.reached.host_hint(host))
        origin = headers.get("origin")
        reads = scope["method"] in ("GET", "HEAD")
        if origin is None and "authorization" not in headers and "cookie" in headers and not reads:
            got = "the request has a cookie and no Origin"
            raise Refusal(403, got, rule="only this server's own page writes with a cookie", hint=ORIGIN)
        if origin is not None and not self.reached.is_own(origin, host):
            got = f"the request comes from another page: {origin[:80]}"
            hint = f"{ORIGIN}; if {origin} is where people open this page, start asal label with --origin {origin}"
            hint = hint if is_origin(origin) else ORIGIN
            raise Refusal(403, got, rule="only this server's own page may use it", hint=hint)
        if scope["method"] != "POST":
            return  # no such route writes
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            kind = headers.get("content-type", "nothing")[:80]
            raise Refusal(415, f"the body is {kind}, not JSON", hint="send Content-Type: application/json")

    def _below_root(self, scope: Scope, headers: dict[str, str]) -> Scope:
        """Return the request without the path that stands before the page, which some proxies keep and others strip."""
        root, path = self.reached.root_path, scope["path"]
        kept = bool(root) and (path == root or path.startswith(f"{root}/"))
        public = kept or self.reached.is_public(headers.get("host", ""), headers.get("origin"))
        rest = path[len(root) :] if kept else path
        return {**scope, "path": rest, "raw_path": rest.encode(), "root_path": "", PUBLIC: public}

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


def _wants_page(scope: Scope) -> bool:
    """Return whether a browser is to show the reply."""
    accepts = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept")
    return scope["method"] == "GET" and b"text/html" in accepts


def _with_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    if b"cache-control" not in there:
        more.append((b"cache-control", b"no-store"))
    return [*headers, *more]


async def _refuse(refusal: Refusal, page: bool, send: Send) -> None:
    if page:
        parts = (refusal.got, refusal.rule, refusal.hint)
        lines = "".join(f"<p>{html.escape(part[0].upper() + part[1:])}.</p>" for part in parts if part)
        body = PAGE.format(lines).encode("ascii", "xmlcharrefreplace")
    else:
        body = json.dumps(error_body(refusal.got, refusal.rule, refusal.hint)).encode()
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _redirect(to: str, send: Send) -> None:
    headers = [(b"location", to.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
