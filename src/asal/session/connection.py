"""How a record's database is reached: a file of SQLite or a URL, and its errors in words that help."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from asal.errors import BusyError, DamageError, OutageError, UserError

PATIENCE = 20.0  # seconds that a writer waits for another one's transaction to end


class RecordDamageError(DamageError):
    """A record is not what was written."""


def url_of(where: str | Path) -> sa.URL:
    """Return the URL of a file, or of a database that is named by one.

    Raises:
        UserError: it is neither, or the file's folder does not exist.
    """
    if isinstance(where, str) and "://" in where:
        try:
            url = sa.make_url(where)
        except sa.exc.ArgumentError:
            raise UserError(
                f"'{where}' is neither a file nor a database URL",
                rule="a record lives in a file or at a database URL",
                hint="pass a path, or a URL such as postgresql://user@host/name",
            ) from None
        # SQLAlchemy still takes psycopg2 for the plain name; asal's extra brings psycopg 3.
        return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
    path = Path(where).absolute()
    if not path.parent.is_dir():
        raise UserError(
            f"there is no folder {path.parent}", rule="a record lies in a folder", hint="create it, or check the path"
        )
    return sa.URL.create("sqlite", database=str(path))


def file_of(url: sa.URL) -> Path | None:
    """Return the file of a record, or None where it is in memory or at a server."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:") or url.query:
        return None
    return Path(str(url.database))


def engine_of(url: sa.URL, name: str) -> sa.Engine:
    """Return what connects to a database for reading and writing.

    Raises:
        UserError: the database's driver does not load.
    """
    if url.get_backend_name() != "sqlite":
        try:
            return sa.create_engine(url, pool_pre_ping=True)
        except (ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
            asals = url.drivername == "postgresql+psycopg"
            other = "install that driver, or use a file or a postgresql:// URL"
            raise UserError(
                f"{name}: the database's driver does not load ({error})",
                hint="pip install 'asal[postgres]'" if asals else other,
            ) from None
    patience = {"timeout": PATIENCE, "check_same_thread": False}
    if url.database in (None, "", ":memory:"):  # one connection, or every thread would see an empty table of its own
        return sa.create_engine(url, connect_args=patience, poolclass=sa.QueuePool, pool_size=1, max_overflow=0)
    engine = sa.create_engine(url, connect_args=patience)
    sa.event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: sqlite3.Connection, _: object) -> None:
    """Let readers read while one writes (WAL), and let every commit reach the disk (FULL)."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA journal_mode=WAL")


def reading_engine(path: Path, *, alone: bool) -> sa.Engine:
    """Return what connects to a file of SQLite without writing anything, not even beside it.

    Args:
        alone: there is no write-ahead log: SQLite needs neither locks nor files beside this one.
    """
    uri = f"file:{quote(str(path.absolute()))}?{'immutable=1' if alone else 'mode=ro'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=PATIENCE, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)


TROUBLE = {  # SQLite's primary result codes → the reason in the error message
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "writing is not permitted",
    sqlite3.SQLITE_PERM: "writing is not permitted",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened for writing",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}
DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "it is not a database",
    sqlite3.SQLITE_ERROR: "it is not a record of asal",
    sqlite3.SQLITE_TOOBIG: "the database file is damaged",  # a length in it is
}


@contextmanager
def explaining(name: str) -> Iterator[None]:
    """Turn the database's errors into the user's, by their codes."""
    try:
        yield
    except sa.exc.IntegrityError:
        raise busy(f"another process has written to {name} since it was last read") from None
    except sa.exc.TimeoutError:
        raise busy(f"every connection to {name} was in use for too long") from None
    except UnicodeDecodeError as error:  # from SQLite's own message about a text
        raise damaged(name, f"a text in it is not readable ({error})") from None
    except (sa.exc.DBAPIError, sqlite3.Error) as error:  # the bare kind comes from `_durable`
        cause = getattr(error, "orig", error)
        undecodable = isinstance(cause, sqlite3.Error) and not hasattr(
            cause, "sqlite_errorcode"
        )  # by Python, not SQLite
        extended = sqlite3.SQLITE_CORRUPT if undecodable else getattr(cause, "sqlite_errorcode", -1)
        # The write-ahead log's index could not grow: SQLite's own words for a full disk at that place are others.
        code = sqlite3.SQLITE_FULL if extended == sqlite3.SQLITE_IOERR_SHMSIZE else extended & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise busy(f"another process has held {name} for {PATIENCE:g} seconds") from None
        if code in DAMAGE:
            raise damaged(name, f"{DAMAGE[code]} ({cause})") from None
        raise outage(name, TROUBLE.get(code, str(cause).strip().partition(chr(10))[0])) from None


def outage(name: str, what: str) -> OutageError:
    """Return the error for a record that cannot be written at present."""
    return OutageError(
        f"{name}: {what}",
        rule="a record must be open to writing",
        hint="fix that, then run the same command again: what was acknowledged is kept",
    )


def busy(got: str) -> BusyError:
    """Return the error for a record that others write to."""
    return BusyError(
        got,
        rule="one process at a time writes to a record",
        hint="read it again and answer what is still open: what was acknowledged is kept",
    )


def damaged(name: str, what: str, *, hint: str = "") -> RecordDamageError:
    """Return the error for a record that is not what was written."""
    return RecordDamageError(
        f"{name}: {what}",
        rule="a record is read only as it was written",
        hint=hint or "restore a copy from before the damage, or start a new record",
    )
