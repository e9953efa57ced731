"""Requests to the guard, against an application that would take anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any

from asal.web.middleware import Guard

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
        headers = [(b"x-taken", str(len(body)).encode()), (b"x-path", scope["path"].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
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
