"""A Label Studio server of the tests' own, and what people would do in its pages, done through its interface."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from support import ROOT

TOKEN = "0123456789abcdef0123456789abcdef01234567"
ADA, BOB = "ada@example.org", "bob@example.org"
PASSWORD = "open-sesame-1"
SECONDS = 180  # that a start may take: ten are usual, and half a minute more where its database is made first
SETTINGS = {
    "LATEST_VERSION_CHECK": "false",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "FEATURE_FLAGS_OFFLINE": "true",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "SSRF_PROTECTION_ENABLED": "false",  # or it would call no webhook at 127.0.0.1
    "DJANGO_DB": "sqlite",
    # Whatever it might still want to reach: there is nothing behind this address.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}


def executable() -> Path | None:
    """Return where `label-studio` is: `make` puts it into an environment of its own."""
    named = os.environ.get("ASAL_LABEL_STUDIO")
    path = Path(named) if named else ROOT / ".venv" / "label-studio" / "bin" / "label-studio"
    return path if path.exists() else None


class Server:
    """A running server, spoken to as its administrator."""

    def __init__(self, url: str, running: subprocess.Popen[bytes]) -> None:
        self.url, self._running = url, running
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Token {TOKEN}"}, trust_env=False, timeout=60)
        self._users: dict[str, int] = {}

    def ask(self, method: str, path: str, **what: Any) -> Any:
        """Ask, and return the JSON that came."""
        answer = self.http.request(method, path, **what)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def user(self, email: str) -> int:
        """Return a user's number; make the user where there is none."""
        if email not in self._users:
            self._users = {one["email"]: one["id"] for one in self.ask("GET", "/api/users/")}
        if email not in self._users:
            facts = {"email": email, "username": email.partition("@")[0], "password": PASSWORD}
            self._users[email] = self.ask("POST", "/api/users/", json=facts)["id"]
        return self._users[email]

    def personal_token(self) -> str:
        """Return a personal access token: a JSON web token that others are fetched with."""
        return str(self.ask("POST", "/api/token/", json={})["token"])

    def tasks(self, project: int) -> dict[int, dict[str, Any]]:
        """Return the tasks of a project by our ids; those without one by minus their number."""
        asked = {"project": project, "fields": "all", "page_size": 1000}
        found = self.ask("GET", "/api/tasks", params=asked)["tasks"]
        return {task["data"].get("asal_id", -task["id"]): task for task in found}

    def answer(self, task: int, label: str | None, by: str = ADA, seconds: float = 1.5) -> int:
        """Answer a task, or skip it; return the annotation's number."""
        facts = {
            "result": result(label), "was_cancelled": label is None, "lead_time": seconds,
            "completed_by": self.user(by),
        }  # fmt: skip
        return int(self.ask("POST", f"/api/tasks/{task}/annotations/", json=facts)["id"])

    def change(self, annotation: int, label: str | None) -> None:
        """Change an answer, as the button 'Update' does."""
        facts = {"result": result(label), "was_cancelled": label is None}
        self.ask("PATCH", f"/api/annotations/{annotation}/", json=facts)


def result(label: str | None) -> list[dict[str, Any]]:
    """Return a choice as Label Studio's page writes it."""
    if label is None:
        return []
    return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]


@contextmanager
def server(home: Path) -> Iterator[Server]:
    """Run a server that keeps everything in a folder."""
    program = executable()
    assert program is not None
    data, empty = home / "data", program.parents[1] / "data"  # an empty database that `make` has made
    if empty.exists():
        shutil.copytree(empty, data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port),
        "--data-dir", str(data), "--username", ADA, "--password", PASSWORD, "--user-token", TOKEN,
        "--enable-legacy-api-token",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | SETTINGS
    environment.pop("PYTHONPATH", None)  # it has libraries of its own
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=home, start_new_session=True
        )
    try:
        found = Server(f"http://127.0.0.1:{port}", running)
        _wait(found, running, home / "log")
        yield found
        found.http.close()
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(20)


def _wait(found: Server, running: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert running.poll() is None, f"the server ended:\n{log.read_text(errors='replace')[-2000:]}"
        try:
            if found.http.get("/health", timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the server is not up after {SECONDS} s:\n{log.read_text(errors='replace')[-2000:]}")
