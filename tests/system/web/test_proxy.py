"""The page behind a proxy, under a path, and through a tunnel to another port: in a real browser."""

from __future__ import annotations

import re
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect
from support import proxies
from support.browser import CHROMIUM, Hand, Visit
from support.commands import Command
from support.http_clients import Served, free_port

from asal.session.events import Record
from asal.session.state import State, fold

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")
needs_nginx = pytest.mark.skipif(proxies.NGINX is None, reason="there is no nginx: apt-get install nginx-light")
PATH = "/tools/asal"


def labels(root: Path) -> dict[int, int]:
    with Record.open(root / "labels.db") as record:
        return dict(fold(State(), record.read()).answers)


def label_there(browser: Browser, address: str, token: str, root: Path) -> list[dict[str, Any]]:
    """Sign in at an address, label two images, load the page again and label one more; return the cookies."""
    visit, before = Visit.to(browser), labels(root)
    page = visit.open(f"{address}#token={token}")
    hand = Hand(page, {})
    hand.label(1)
    hand.label(0, reload=True)
    hand.label(1)
    hand.saved()
    assert page.url == address
    assert {image: label for image, label in labels(root).items() if image not in before} == hand.pressed
    found = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert len(found) > 10 and [name for name in found if not name.startswith(address)] == []
    page.keyboard.press("w")
    expect(page.locator("#why-body")).to_contain_text("strategy")
    cookies: list[Any] = visit.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    page.locator("#enter-form").wait_for()
    assert visit.context.cookies() == []
    visit.close()
    return cookies


def in_front(kind: str, folder: Path, server: int, keeps_path: bool, host: str) -> AbstractContextManager[int]:
    if kind == "nginx":
        return proxies.nginx(folder, server, PATH, keeps_path=keeps_path, host=host)
    return proxies.plain(server, PATH, keeps_path=keeps_path, host=host)


@pytest.mark.parametrize(
    ("kind", "keeps_path", "host"),
    [
        pytest.param("nginx", False, "$http_host", marks=needs_nginx),
        pytest.param("nginx", True, "$host", marks=needs_nginx),  # without its port
        pytest.param("nginx", False, "", marks=needs_nginx),  # nginx's own name for the server
        ("python", False, "127.0.0.1"),
        ("python", True, "localhost:1"),
    ],
)
def test_people_label_behind_a_proxy_under_a_path(
    tiny: Path, browser: Browser, tmp_path: Path, kind: str, keeps_path: bool, host: str
) -> None:
    port = free_port()
    with in_front(kind, tmp_path, port, keeps_path, host) as front:
        origin = f"http://127.0.0.1:{front}"
        with Served(tiny, ["--origin", origin, "--root-path", PATH], port=port) as served:
            cookies = label_there(browser, f"{origin}{PATH}/", served.token, tiny)
            assert [(cookie["path"], cookie["httpOnly"]) for cookie in cookies] == [(PATH, True)]
            (direct,) = label_there(browser, f"{served.url}/", served.token, tiny)  # as the link at the machine says
            assert direct["path"] == "/"


def test_a_proxy_that_names_no_host_gets_a_page_that_says_so(tiny: Path, browser: Browser) -> None:
    port = free_port()
    with proxies.plain(port, PATH, keeps_path=False, host="") as front, Served(tiny, port=port) as served:
        page = Visit.to(browser).context.new_page()
        said = page.goto(f"http://127.0.0.1:{front}{PATH}/")
        assert said is not None and said.status == 403  # an empty Host is no name
        expect(page.locator("h1")).to_contain_text("not served at this address")
        assert served.token


def test_through_a_tunnel_to_another_port(tiny: Path, browser: Browser) -> None:
    """As `ssh -L 9000:localhost:8765`: the Host is the laptop's."""
    port = free_port()
    with Served(tiny, port=port) as served, proxies.plain(port, "", keeps_path=True, host="localhost:9000") as front:
        reply = httpx.get(f"http://127.0.0.1:{front}/")
        assert reply.status_code == 200 and "<title>asal</title>" in reply.text
        body = {"token": served.token}
        enter = f"http://127.0.0.1:{front}/api/enter"
        assert httpx.post(enter, json=body, headers={"Origin": "http://localhost:9000"}).status_code == 200
        assert httpx.post(enter, json=body, headers={"Origin": f"http://localhost:{port}"}).status_code == 403


@pytest.mark.parametrize("origin", ["https://label.example.org/tools/asal", "https://label.example.org/tools/asal/"])
def test_an_origin_with_a_path_is_read_as_both(tiny: Path, origin: str) -> None:
    with Served(tiny, ["--origin", origin]) as served:
        assert served.process is not None
        assert "it is https://label.example.org/tools/asal/;" in served.process.output()
        page = httpx.get(f"{served.url}/tools/asal/", headers={"Host": "label.example.org"})
        assert page.status_code == 200 and not re.findall(r'(?:src|href)="/', page.text)
        entered = httpx.post(
            f"{served.url}/api/enter",
            json={"token": served.token},
            headers={"Host": "label.example.org", "Origin": "https://label.example.org"},
        )
        cookie = entered.headers["set-cookie"]
        assert "Path=/tools/asal;" in f"{cookie};" and "Secure" in cookie


def test_what_is_no_origin_is_refused(tiny: Path, asal: Command) -> None:
    asal("label", tiny, "--no-browser", "--origin", "label.example.org").refused("--origin https://label.example.org")
    asal("label", tiny, "--no-browser", "--root-path", "tools").refused("/tools/asal")


@needs_nginx
def test_the_configuration_in_the_docs_is_nginx(tmp_path: Path) -> None:
    import subprocess

    from support import ROOT
    from support.page_commands import blocks

    text = "\n".join(blocks(ROOT / "docs" / "how-to" / "label-together.md", "nginx"))
    text = re.sub(r"listen 443 ssl;|ssl_certificate\S*\s+…;", "", text)
    zone = "limit_req_zone $binary_remote_addr zone=asal:1m rate=20r/s;"
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; events {{}} http {{ {zone} {text} }}")
    command = [str(shutil.which("nginx", path="/usr/sbin:/usr/bin")), "-t", "-c", str(tmp_path / "nginx.conf")]
    checked = subprocess.run([*command, "-e", str(tmp_path / "log")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
