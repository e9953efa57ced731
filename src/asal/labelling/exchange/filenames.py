"""Safe names of files and folders for names that come from data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%\ud800-\udfff]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows, with any ending
LONGEST = 120  # bytes; file systems take 255, and an id and an ending come on top


def safe(name: str) -> str:
    """Return a name that is one step of a path on any system: no separator, not hidden, not special, not too long.

    Different names stay different. What is safe stays as it is, in any script.

    >>> safe("cat"), safe("../x"), safe("a/b"), safe(".."), safe("Größe 1"), safe("50%")
    ('cat', '%2E.%2Fx', 'a%2Fb', '%2E%2E', 'Größe 1', '50%25')
    """
    text = UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)
    if text.startswith("."):
        text = "%2E" + text[1:]
    if text.endswith((".", " ")):
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    if not text or RESERVED.fullmatch(text):
        text = "%" + text
    if len(text.encode()) > LONGEST:
        kept = text.encode()[: LONGEST - 18].decode(errors="ignore")
        text = f"{kept}%-{_digest(name)}"
    return text


def folders(classes: Sequence[str]) -> dict[str, str]:
    """Return a folder name for each class; different ones also where a file system ignores case.

    >>> folders(["a", "b"])
    {'a': 'a', 'b': 'b'}
    >>> len({name.casefold() for name in folders(["a", "A"]).values()})
    2
    """
    named: dict[str, str] = {}
    for name in classes:
        text = safe(name)
        if text.casefold() in {other.casefold() for other in named.values()}:
            text = f"{text}%-{_digest(name)}"
        named[name] = text
    return named


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
