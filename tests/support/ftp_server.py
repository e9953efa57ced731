"""A real FTP server, in a process of its own, that can be ended and started again under the same address."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.http_clients import PATIENCE, free_port


@dataclass
class FtpServer:
    """Serves a folder to `me`, whose password is `secret`."""

    folder: Path
    port: int = field(default_factory=free_port)
    _running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ftp://me:secret@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it listens."""
        words = ["-w", "-i", "127.0.0.1", "-p", str(self.port), "-d", str(self.folder), "-u", "me", "-P", "secret"]
        self._running = subprocess.Popen([sys.executable, "-m", "pyftpdlib", *words], stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < end, "it does not listen"
                time.sleep(0.05)

    def stop(self) -> None:
        """End it; every connection breaks."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def __enter__(self) -> FtpServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
