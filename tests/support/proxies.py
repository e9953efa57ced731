"""A reverse proxy before a server: nginx where it is installed, and one of Python everywhere."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from support.http_clients import PATIENCE, free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
CONFIG = """
daemon off; error_log {folder}/error.log; pid {folder}/nginx.pid; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {path}/ {{ proxy_pass http://127.0.0.1:{server}{to}; {host} }}
    location / {{ return 404; }}
  }}
}}
"""
HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "date", "server"}


@contextmanager
def nginx(folder: Path, server: int, path: str, *, keeps_path: bool, host: str) -> Iterator[int]:
    """Serve a server's page under a path; yield the port.

    Args:
        keeps_path: whether the path reaches the server.
        host: nginx's variable for the Host that the server gets; its own name for the server if empty.
    """
    port = free_port()
    header = f"proxy_set_header Host {host};" if host else ""
    parts = {"folder": folder, "port": port, "server": server, "path": path, "host": header}
    (folder / "nginx.conf").write_text(CONFIG.format(to="" if keeps_path else "/", **parts))
    assert NGINX
    command = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(port, process)
            yield port
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, "nginx ended"
        try:
            httpx.get(f"http://127.0.0.1:{port}/")
            return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError("nginx does not answer")


@contextmanager
def plain(server: int, path: str, *, keeps_path: bool, host: str) -> Iterator[int]:
    """Serve a server's page under a path with Python alone; yield the port. `host` is what the server gets as Host."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(f"{path}/"):
                self.reply(404, [], b"")
                return
            with closing(http.client.HTTPConnection("127.0.0.1", server, timeout=PATIENCE)) as line:
                there = self.path if keeps_path else self.path[len(path) :]
                line.putrequest(self.command, there, skip_host=True, skip_accept_encoding=True)
                passed = [(name, value) for name, value in self.headers.items() if name.lower() not in HOP]
                for name, value in [("Host", host), ("Content-Length", str(len(body))), *passed]:
                    line.putheader(name, value)
                line.endheaders(body)
                got = line.getresponse()
                content = got.read()
            headers = [one for one in got.getheaders() if one[0].lower() not in HOP]
            with suppress(ConnectionError):  # the browser has left
                self.reply(got.status, headers, content)

        def reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in [*headers, ("Content-Length", str(len(content)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do  # noqa: N815

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield serving.server_address[1]
    serving.shutdown()
    serving.server_close()
