"""By which addresses people reach the server: its own, and that of a proxy before it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from asal.errors import UserError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(?P<port>:[0-9]{1,5})?")
ROOT = re.compile(r"(/[A-Za-z0-9_~@+=-]([A-Za-z0-9._~@+=-]*))+")
OURS = frozenset({"api", "static", "images", "why", "healthz"})  # first parts of the server's own addresses
PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class Reached:
    """By which hosts, origins and path requests may come.

    Args:
        names: of hosts, without a port; any if empty. A tunnel or a proxy may use any port, and a page elsewhere cannot
            make a browser send one of these names.
        origin: of a proxy before the server, such as https://label.example.org.
        root_path: where the proxy serves the page, such as /tools/asal.
    """

    names: frozenset[str] = frozenset()
    origin: str = ""
    root_path: str = ""

    @property
    def _public(self) -> str:
        return _name(self.origin.partition("://")[2]) if self.origin else ""

    def takes(self, host: str) -> bool:
        """Return whether a request may be addressed to a host."""
        return not self.names or (_name(host) in self.names | {self._public} - {""})

    def is_own(self, origin: str, host: str) -> bool:
        """Return whether an origin is that of the page under a host: another port is another page."""
        said, name = origin.lower(), _name(host)
        if self.origin and said == self.origin:
            return name in LOOPBACK | {self._public}  # a proxy may send its own name for this server
        if self._public and name == self._public and name not in LOOPBACK:
            return False
        return said in (f"http://{host.lower()}", f"https://{host.lower()}")

    def is_public(self, host: str, origin: str | None) -> bool:
        """Return whether a request came by the proxy rather than to the server directly."""
        if self.origin:
            return (origin or "").lower() == self.origin or _name(host) == self._public not in LOOPBACK
        return bool(self.root_path) and _name(host) not in LOOPBACK

    def host_hint(self, host: str) -> str:
        """Return what helps where a request is addressed to another host."""
        if _name(host):
            how = f"start asal label with --origin https://{host} (or http://, as their address bar shows it)"
            return f"if people open this page there, {how}"
        return "open the address that `asal label` printed, or start it with --origin"


def is_origin(text: str) -> bool:
    """Return whether a text is an origin as browsers send it."""
    scheme, _, host = text.lower().partition("://")
    return scheme in PORTS and bool(_name(host))


def public_address(origin: str, root_path: str) -> tuple[str, str]:
    """Return the origin and the path before the page, as browsers write them.

    Args:
        origin: with or without the path.
        root_path: "" if it is in the origin, or there is none.

    Raises:
        UserError: one of them is something else, or the two differ about the path.

    >>> public_address("https://Label.example.org:443/tools/asal/", "")
    ('https://label.example.org', '/tools/asal')
    """
    path = ""
    if origin:
        origin, path = _split(origin)
    root = checked_root(root_path)
    if path and root and path != root:
        raise UserError(
            f"--origin names the path {path}, and --root-path {root}",
            hint="name the path once, with --root-path",
        )
    return origin, root or path


def _split(text: str) -> tuple[str, str]:
    """Return the origin and the path of an address."""
    try:
        parts = urlsplit(text.strip())
        port, name = parts.port, parts.hostname or ""
        name = name if ":" in name else name.encode("idna").decode()
    except ValueError:  # of the port, the brackets, or the name
        raise _refused(text) from None
    shown = f"[{name}]" if ":" in name else name.lower()
    host = shown + (f":{port}" if port is not None else "")
    if "?" in text or "#" in text or "@" in parts.netloc or parts.scheme not in PORTS or not _name(host):
        raise _refused(text)
    return f"{parts.scheme}://{host.removesuffix(PORTS[parts.scheme])}", checked_root(parts.path, "--origin")


def _refused(text: str) -> UserError:
    bare = text.strip().partition("://")[2] or text.strip()
    name = re.split(r"[/?#]", bare.rpartition("@")[2])[0].lower()
    example = f"https://{name}" if _name(name) else "https://label.example.org"
    return UserError(
        f"--origin {text!r} is not the address of a page",
        rule="an origin is http:// or https:// and a host, with its port if the address bar shows one; nothing else",
        hint=f"for example --origin {example}; a path before the page is --root-path /tools/asal",
    )


def checked_root(path: str, option: str = "--root-path") -> str:
    """Return the path before the page, without a slash at its end; "" if there is none.

    Raises:
        UserError: it is no such path.
    """
    root = path.strip().rstrip("/")
    if root and not (ROOT.fullmatch(root) and len(root) <= 200):
        raise UserError(
            f"{option} has the path {path!r}",
            rule="a path before the page is like /tools/asal: letters, digits and - . _ ~ @ + = between slashes",
            hint="write it as the address bar shows it, from the first slash after the host to the page",
        )
    if root and root.split("/")[1] in OURS:
        raise UserError(
            f"{option} has the path {path!r}, and asal's own addresses begin with /{root.split('/')[1]}",
            hint="serve the page under another path, such as /label",
        )
    return root


def loops_back(host: str) -> bool:
    """Return whether an address to listen at cannot be reached from another machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return a host without its port, "" where it is none."""
    match = HOST.fullmatch(host.lower())
    return match["name"] if match and int((match["port"] or ":0")[1:]) < 65536 else ""
