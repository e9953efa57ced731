"""What a name in a file of labels may mean: its spellings, and how each of them fits a key of the pool."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import normpath
from urllib.parse import unquote_to_bytes

# How a name had to be read to fit; what the report calls it.
BLANKS, SLASHES, QUOTED, DOTS, URL = "without blanks around it", "\\ as /", "URL-quoted", "without ./", "from its URL"
UNICODE, CAPITALS, MOVED = "in another Unicode form", "ending in other letters' case", "renamed since"
NO_ENDING, UPLOAD = "without its ending", "without Label Studio's prefix"
LONGER, SHORTER = "below another folder", "by the end of its key"
SPELLED = frozenset({BLANKS, SLASHES, QUOTED, DOTS, URL, UNICODE, CAPITALS, MOVED})

PLAIN = re.compile(r"[A-Za-z0-9_(),+=#&@~!'-][A-Za-z0-9_.(), +=#&@~!'/-]*")
ENDING = re.compile(r"(?s)(.+)(\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,5})")  # ".jpg", ".jp2"; not the ".5" of "7.5"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]+://")
SERVED = re.compile(r"(?i)file:|/data/local-files/?\?")  # no path yet: another spelling is
LOCAL_FILES = re.compile(r"/data/local-files/?\?d=([^&]+)")  # how Label Studio serves files of its machine
# Label Studio puts eight hex digits before the names of uploads; without its folder, digits alone may be a date.
UPLOADS = re.compile(r"(^|/)upload/\d+/[0-9a-f]{8}-[^/]+$")  # within Label Studio's own folder
UPLOADED = re.compile(r"(?:(?:.*/)?upload/\d+/|(?:images/)?(?=\d*[a-f]))[0-9a-f]{8}-([^/]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Spelling:
    """A name, read in one way."""

    text: str  # with / between its steps
    changes: frozenset[str] = frozenset()  # what was done to it


@dataclass(frozen=True, slots=True)
class Fit:
    """How a name fits an image."""

    image: int
    changes: frozenset[str]
    before: str = ""  # with LONGER the folders that the name has before the key, with SHORTER those that it leaves out
    absolute: bool = False  # the name begins at a root, a drive or a server
    bare: bool = False  # with SHORTER, the name has no folders

    @property
    def strength(self) -> int:
        """0 for the key as it is, 1 for the whole key in another spelling, 2 otherwise."""
        return 0 if not self.changes else 1 if self.changes <= SPELLED else 2


def spellings(name: str) -> list[Spelling]:
    """Return the ways to read a name, itself first.

    >>> [spelling.text for spelling in spellings("a\\\\b%20c.png")]
    ['a\\\\b%20c.png', 'a\\\\b c.png', 'a/b%20c.png', 'a/b c.png']
    """
    found: dict[str, frozenset[str]] = {name: frozenset()}
    if not PLAIN.fullmatch(name) or "/." in name or "//" in name or name.endswith(" "):
        for step in (_stripped, _from_url, _unquoted, _with_slashes, _normal):
            for text, changes in list(found.items()):
                for other, change in step(text):
                    found.setdefault(other, changes | {change})
    for text, changes in list(found.items()):
        if match := UPLOADED.fullmatch(text):
            found.setdefault(match[1], changes | {UPLOAD})
    return [Spelling(text, changes) for text, changes in found.items() if text and not text.endswith("/")]


def _stripped(text: str) -> Iterator[tuple[str, str]]:
    yield text.strip(), BLANKS


def _from_url(text: str) -> Iterator[tuple[str, str]]:
    if match := LOCAL_FILES.fullmatch(text):
        yield match[1], URL
        if (path := _decoded(match[1])) is not None:
            yield path, URL
    elif text.lower().startswith("file:"):
        path = re.sub(r"(?i)^file:(//(localhost)?(?=/))?", "", text)
        drive = re.sub(r"^/(?=[A-Za-z]:)", "", path)
        yield drive, URL
        if (decoded := _decoded(drive)) is not None:
            yield decoded, URL
    elif SCHEME.match(text) and (bare := re.split(r"[?#]", text)[0]) != text:
        yield bare, URL


def _unquoted(text: str) -> Iterator[tuple[str, str]]:
    if (path := _decoded(text)) is not None and path != text:
        yield path, QUOTED


def _decoded(text: str) -> str | None:
    if not re.search("%[0-9A-Fa-f]{2}", text):
        return None
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        return None


def _with_slashes(text: str) -> Iterator[tuple[str, str]]:
    if "\\" in text:
        yield text.replace("\\", "/"), SLASHES


def _normal(text: str) -> Iterator[tuple[str, str]]:
    scheme = match[0] if (match := SCHEME.match(text)) else ""
    rest = text[len(scheme) :]
    if rest and ("//" in rest or re.search(r"(^|/)\.\.?(/|$)", rest)):
        yield scheme + normpath(rest), DOTS


def composed(text: str) -> str:
    """Return a text in Unicode's form NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def split_ending(name: str) -> tuple[str, str]:
    """Return a file's name without its ending, and the ending with its dot.

    >>> split_ending("img.v2.png"), split_ending("7.5"), split_ending("a")
    (('img.v2', '.png'), ('7.5', ''), ('a', ''))
    """
    match = ENDING.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def uploaded_name(name: str) -> str:
    """Return what Label Studio (Django) makes of the name of an uploaded file, its prefix aside."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def fit(spelling: Spelling, own: str, image: int) -> Fit | None:
    """Return how a spelling fits the key of an image, or None if it does not.

    >>> fit(Spelling("/mnt/a/1"), "a/1.png", 7).before
    '/mnt/'
    """
    folder, _, name = spelling.text.rpartition("/")
    own_folder, _, own_name = own.rpartition("/")
    if "/" in spelling.text and not folder:
        folder = "/"  # a file in the root
    changes = _name_changes(name, own_name, UPLOAD in spelling.changes)
    if changes is None:
        return None
    changes = changes | spelling.changes
    absolute = ABSOLUTE.match(spelling.text) is not None
    place, own_place = composed(folder), composed(own_folder)
    if place == own_place:
        changes |= {UNICODE} if folder != own_folder else set()
        return Fit(image, changes, absolute=absolute)
    if (own_place == "" or place.endswith(f"/{own_place}")) and not SERVED.match(folder):
        before = place.removesuffix(own_place)
        return Fit(image, changes | {LONGER}, before if before.endswith("/") else f"{before}/", absolute)
    if not absolute and (place == "" or own_place.endswith(f"/{place}")):
        before = own_place.removesuffix(place)
        before = before if before.endswith("/") else f"{before}/"
        return Fit(image, changes | {SHORTER}, before, bare=not place)
    return None


def _name_changes(name: str, own: str, upload: bool) -> frozenset[str] | None:
    """Return the changes that make a file's name of another one, None if none does."""
    if name == own:
        return frozenset()
    options = [(name, own, frozenset[str]())]
    if upload:
        options.append((name, uploaded_name(own), frozenset()))
    for first, second, changes in options:
        plain, other = composed(first), composed(second)
        same = frozenset({UNICODE}) if (first != second) and plain == other else frozenset[str]()
        (stem, ending), (own_stem, own_ending) = split_ending(plain), split_ending(other)
        if plain == other:
            return changes | same
        if stem == own_stem and ending and ending.lower() == own_ending.lower():
            return changes | {CAPITALS}
        if plain == own_stem:
            return changes | {NO_ENDING}
    return None
