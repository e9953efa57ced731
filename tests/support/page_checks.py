"""Checks of every page that asal writes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """The tags of a page; refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_alone(page: str) -> None:
    """Check that a page needs no other file, and no script."""
    for tag, attrs in Outline(page).tags:
        assert tag not in {"script", "link", "iframe", "object"}
        links = [attrs.get(name) or "" for name in ("src", "href", "xlink:href")]
        assert all(link.startswith(("data:", "#")) for link in links if link), links
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def check_readable(page: str, pictures: int, tables: int) -> None:
    """Check that a page can be read by a screen reader, and on a phone."""
    tags = Outline(page).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    aimed = [
        attrs[name] for _, attrs in tags for name in ("href", "xlink:href") if (attrs.get(name) or "").startswith("#")
    ]
    assert {str(link)[1:] for link in aimed} <= set(ids)
    drawn = [attrs for tag, attrs in tags if tag == "svg" and attrs.get("aria-hidden") != "true"]
    assert len(drawn) == pictures
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawn)
    assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in tags if tag == "th")
    assert sum(tag == "caption" for tag, _ in tags) == sum(tag == "table" for tag, _ in tags) == tables
    assert ("html", {"lang": "en"}) in tags
    assert "width=device-width" in page
