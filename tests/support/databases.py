"""A PostgreSQL server of the tests' own, from Debian's packages: started once by each process that runs tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

OPTIONS = ("fsync=off", "max_connections=100")  # the tests kill processes, not machines


def binaries() -> Path | None:
    """Return where `initdb` and `postgres` lie; the newest version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def server() -> Iterator[str]:
    """Run a server; yield the URL of its first database."""
    place = binaries()
    assert place is not None
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # it refuses to run as root
    home = Path(tempfile.mkdtemp(prefix="asal-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(home, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user = {"user": user, "cwd": home} if os.geteuid() == 0 else {"cwd": home}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    make = [str(place / "initdb"), "-D", str(home / "data"), "-U", "asal", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(make, check=True, **as_user, **quiet)  # type: ignore[call-overload]
    options = [part for option in OPTIONS for part in ("-c", option)]
    run = [str(place / "postgres"), "-D", str(home / "data"), "-p", str(port), "-h", "127.0.0.1", "-k", str(home)]
    running = subprocess.Popen([*run, *options], **as_user, **quiet)  # type: ignore[call-overload]
    try:
        url = f"postgresql+psycopg://asal@127.0.0.1:{port}/postgres"
        _wait(url, running)
        yield url.replace("+psycopg", "")
    finally:
        running.terminate()
        running.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def _wait(url: str, running: subprocess.Popen[bytes]) -> None:
    import time

    engine = sa.create_engine(url, connect_args={"connect_timeout": 2})
    for _ in range(200):
        assert running.poll() is None, "the server ended"
        try:
            with engine.connect():
                break
        except sa.exc.OperationalError:
            time.sleep(0.05)
    engine.dispose()


def fresh(url: str) -> str:
    """Make an empty database on a server; return its URL."""
    name = f"asal_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.rsplit("/", 1)[0] + "/" + name
