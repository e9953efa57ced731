"""The tables of a record, and how an older record gets those that it lacks.

A new record is made with all of them at once; one of an older asal is brought up to date by the steps in
`asal/session/migrations`, run by Alembic, when it is opened. The revision stands in the table `asal_version`.
"""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa

from asal.errors import UserError

HEAD = "0002"  # the last step in asal/session/migrations/versions
TABLES = sa.MetaData()
LOCK = 0x6173616C  # "asal": PostgreSQL's number for whoever changes more than a row

EVENTS = sa.Table(
    "events",
    TABLES,
    # The writer chooses seq: of two that have read the same past one fails, and no half of a batch comes in between.
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("image", sa.BigInteger),
    sa.Column("label", sa.Integer),
    sa.Column("by", sa.String),
    sa.Column("body", sa.Text, nullable=False),
)
LEASES = sa.Table(  # who has which open image before them; see asal.labelling.leases
    "leases",
    TABLES,
    sa.Column("image", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("person", sa.String, primary_key=True),
    sa.Column("tab", sa.String, nullable=False),
    sa.Column("renewed", sa.Float, nullable=False),  # seconds since 1970, UTC
    sa.Column("until", sa.Float, nullable=False),
)
PEOPLE = sa.Table(  # see asal.labelling.annotators
    "people",
    TABLES,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("added", sa.String, nullable=False),  # UTC, ISO 8601
)
TOKENS = sa.Table(
    "tokens",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),  # the part of a token that is no secret
    sa.Column("digest", sa.String, nullable=False),  # SHA-256 of the secret: the token itself is written nowhere
    sa.Column("name", sa.String, nullable=False),
    sa.Column("until", sa.Float),  # seconds since 1970; null: for ever
)
VERSION = sa.Table("asal_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))

_at_once = threading.Lock()  # Alembic keeps its context in a global


def migrated(engine: sa.Engine) -> None:
    """Make the tables, or bring those of an older asal up to date. Costs one query where nothing is to do.

    Raises:
        UserError: a newer asal wrote the record.
    """
    with engine.connect() as connection:
        if _version(connection) == HEAD:
            return
    with engine.connect() as connection:
        alone(connection)
        there = set(sa.inspect(connection).get_table_names())
        version = _version(connection)
        if EVENTS.name not in there:
            TABLES.create_all(connection)
            connection.execute(sa.schema.CreateTable(VERSION, if_not_exists=True))
            connection.execute(sa.insert(VERSION).values(version_num=HEAD))
        elif version != HEAD:
            _upgrade(connection, version)
        connection.commit()


def refuse_newer(engine: sa.Engine) -> None:
    """Refuse tables of a newer asal. An older record is read as it is, without the tables that it lacks.

    Raises:
        UserError: a newer asal wrote the record.
    """
    with engine.connect() as connection:
        if (version := _version(connection)) is not None and version > HEAD:
            raise _newer(version)


def alone(connection: sa.Connection) -> None:
    """Begin a transaction that no other one of its kind runs beside; others wait for its end."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION.name):
        return None
    return connection.execute(sa.select(VERSION.c.version_num)).scalar()


def _upgrade(connection: sa.Connection, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise _newer(version)
    with _at_once:
        command.upgrade(config, "head")


def _newer(version: str) -> UserError:
    return UserError(
        f"the record's tables have revision {version}",
        rule=f"this asal knows a record's tables up to revision {HEAD}",
        hint="use the asal that wrote it",
    )
