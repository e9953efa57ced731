"""By which addresses people reach the page: behind a proxy, under a path, through a tunnel."""

from __future__ import annotations

import json

import pytest
from support.web_requests import JSON, anything, ask

from asal.errors import UserError
from asal.web.addresses import LOOPBACK, Reached, public_address
from asal.web.middleware import Guard

PROXIED = Guard(anything, Reached(LOOPBACK, "https://label.example.org:8443", "/tools/asal"))
ORIGIN = (b"origin", b"https://label.example.org:8443")
PAGE = (b"accept", b"text/html,application/xhtml+xml")


@pytest.mark.parametrize(
    ("origin", "root_path", "wants"),
    [
        ("", "", ("", "")),
        ("https://label.example.org", "", ("https://label.example.org", "")),
        ("https://Label.Example.org:443/", "", ("https://label.example.org", "")),
        ("http://10.0.0.7:80", "/a", ("http://10.0.0.7", "/a")),
        ("https://label.example.org:8443/tools/asal/", "", ("https://label.example.org:8443", "/tools/asal")),
        ("https://h/tools", "/tools/", ("https://h", "/tools")),
        ("http://[2001:DB8::7]:9000", "", ("http://[2001:db8::7]:9000", "")),
        ("https://bücher.example", "", ("https://xn--bcher-kva.example", "")),
        ("", "/user/ada@example.org/proxy/8765", ("", "/user/ada@example.org/proxy/8765")),
    ],
)
def test_an_origin_and_a_path_are_written_as_browsers_do(origin: str, root_path: str, wants: tuple[str, str]) -> None:
    assert public_address(origin, root_path) == wants


@pytest.mark.parametrize(
    "origin",
    [
        "label.example.org",
        "label.example.org:8443",
        "//label.example.org",
        "ftp://label.example.org",
        "javascript:alert(1)",
        "https://",
        "https:///tools",
        "https://ada:secret@label.example.org",
        "https://label.example.org?x=1",
        "https://label.example.org/#token=x",
        "https://label.example.org?",
        "https://label.example.org:99999",
        "https://label.example.org:port",
        "https://label example.org",
        "https://*.example.org",
        "https://label..example.org",
        "https://[::1",
        "*",
        "null",
    ],
)
def test_what_is_no_origin_is_refused_with_one_that_is(origin: str) -> None:
    with pytest.raises(UserError) as refused:
        public_address(origin, "")
    assert "--origin https://" in refused.value.hint and "--root-path" in refused.value.hint
    assert "secret" not in refused.value.hint


def test_the_hint_repeats_the_host() -> None:
    with pytest.raises(UserError) as refused:
        public_address("label.example.org:8443", "")
    assert "--origin https://label.example.org:8443;" in refused.value.hint


@pytest.mark.parametrize(
    "path",
    [
        "tools",
        "//tools",
        "/tools//asal",
        "/..",
        "/a/../b",
        "/.",
        "/a b",
        "/a?b",
        "/a#b",
        "/a%2fb",
        "/a;b",
        "/é",
        "/a\nb",
    ],
)
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="path"):
        public_address("", path)


@pytest.mark.parametrize("path", ["/api", "/static/asal", "/images", "/why", "/healthz/x"])
def test_a_path_that_begins_like_the_servers_own_addresses_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="own addresses"):
        public_address("", path)


def test_two_paths_are_refused() -> None:
    with pytest.raises(UserError, match="--root-path /b"):
        public_address("https://h/a", "/b")


@pytest.mark.parametrize(
    ("headers", "wants"),
    [
        ([(b"host", b"label.example.org:8443"), ORIGIN], 200),
        ([(b"host", b"label.example.org"), ORIGIN], 200),  # a proxy that leaves out the port
        ([(b"host", b"127.0.0.1:8765"), ORIGIN], 200),  # one that sends its own name for this server
        ([(b"host", b"127.0.0.1:8765"), (b"origin", b"http://127.0.0.1:8765")], 200),  # nobody is between
        (
            [(b"host", b"label.example.org"), (b"origin", b"https://label.example.org")],
            403,
        ),  # another port
        ([(b"host", b"label.example.org:8443"), (b"origin", b"http://label.example.org:8443")], 403),
        ([(b"host", b"label.example.org:8443"), (b"origin", b"http://127.0.0.1:8765")], 403),
        ([(b"host", b"other.example.org:8443"), ORIGIN], 403),
        ([(b"host", b"label.example.org.evil.example"), ORIGIN], 403),
    ],
)
def test_behind_a_proxy(headers: list[tuple[bytes, bytes]], wants: int) -> None:
    said = ask(PROXIED, headers=[JSON, *headers])
    assert said[0]["status"] == wants


@pytest.mark.parametrize(
    ("path", "wants"),
    [("/tools/asal/api/x", "/api/x"), ("/api/x", "/api/x"), ("/tools/asal/", "/"), ("/tools/asalx", "/tools/asalx")],
)
def test_the_path_before_the_page_is_kept_or_stripped_by_the_proxy(path: str, wants: str) -> None:
    said = ask(PROXIED, "GET", path=path)
    assert (b"x-path", wants.encode()) in said[0]["headers"]


def test_without_its_slash_the_path_leads_to_the_page() -> None:
    said = ask(PROXIED, "GET", path="/tools/asal")
    assert said[0]["status"] == 307 and (b"location", b"/tools/asal/") in said[0]["headers"]


def test_a_browser_at_a_wrong_address_reads_what_to_start_asal_with() -> None:
    guard = Guard(anything, Reached(LOOPBACK))
    said = ask(guard, "GET", [PAGE, (b"host", b"label.example.org:8443")])
    page = said[1]["body"].decode()
    assert said[0]["status"] == 403 and (b"content-type", b"text/html; charset=utf-8") in said[0]["headers"]
    assert "<h1>" in page and "--origin https://label.example.org:8443 " in page
    nasty = ask(guard, "GET", [PAGE, (b"host", b"<script>alert(1)</script>")])[1]["body"].decode()
    assert "<script" not in nasty and "&lt;script&gt;" in nasty and "--origin https" not in nasty
    other = json.loads(ask(guard, "GET", [(b"host", b"label.example.org")])[1]["body"])["error"]
    assert "--origin https://label.example.org" in other["hint"]


def test_a_page_whose_requests_are_refused_names_the_origin_to_start_asal_with() -> None:
    headers = [JSON, (b"host", b"labelling:80"), (b"origin", b"https://label.example.org")]
    error = json.loads(ask(Guard(anything, Reached()), headers=headers)[1]["body"])["error"]
    assert "--origin https://label.example.org" in error["hint"]
