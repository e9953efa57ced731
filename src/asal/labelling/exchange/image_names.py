"""The name of an image in another tool's file: a path, a URL, or what Label Studio makes of either.

What remains is read by `asal.labelling.exchange.names`, as every name of an image.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote, urlsplit

UPLOADED = re.compile(r"/?data/upload/(?:\d+/)?(.+)")
LOCAL = "data/local-files/"


def image_name(text: str) -> str | None:
    """Return what an image is called; None for one that is written in full.

    >>> image_name("/data/local-files/?d=cats/my%20cat.png"), image_name("/data/upload/3/0123abcd-1.png")
    ('cats/my cat.png', '0123abcd-1.png')
    >>> image_name("s3://bucket/a/1.png"), image_name("a/1.png"), image_name("data:image/png;base64,iVBORw0KGgo=")
    ('s3://bucket/a/1.png', 'a/1.png', None)
    """
    if not text or text.startswith("data:"):
        return None
    if "://" not in text and not text.startswith(("/", "data/")):
        return text
    parts = urlsplit(text)
    if LOCAL in parts.path and (found := _parameter(parts.query, "d")):
        return found
    if inner := _stored(_parameter(parts.query, "fileuri")):
        return image_name(inner)
    upload = UPLOADED.fullmatch(parts.path)
    return unquote(upload[1]) if upload else text


def _parameter(query: str, name: str) -> str:
    """Return a parameter of a URL; a plus sign is a plus sign there, not a blank."""
    found = (value for key, _, value in (part.partition("=") for part in query.split("&")) if key == name)
    return unquote(next(found, ""))


def _stored(text: str) -> str:
    """Return the address that Label Studio writes in base64 where it signs a cloud's addresses itself."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
