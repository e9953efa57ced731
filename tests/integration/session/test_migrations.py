"""Records of older asals are brought up to date when they are opened, and lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from support.databases import fresh

from asal.errors import UserError
from asal.session.events import Record
from asal.session.schema import HEAD, TABLES, VERSION
from asal.session.state import State, fold

# As asal wrote it before there were revisions, to the letter.
OLD = (
    "CREATE TABLE events (seq INTEGER NOT NULL, at VARCHAR NOT NULL, kind VARCHAR NOT NULL, round INTEGER NOT NULL, "
    "image BIGINT, label INTEGER, by VARCHAR, body TEXT NOT NULL, PRIMARY KEY (seq))"
)
ORIGIN = {"format": 2, "asal": "0.1.0", "pool": "7f", "images": 9, "classes": ["a", "b"], "seed": 0}
ASKED = {"ids": [4, 7, 2], "scores": [0.5, 0.25, 0.0], "n": 3, "strategy": "random", "labelled": 0}
STORY = (
    ("opened", 0, None, None, None, ORIGIN),
    ("asked", 0, None, None, None, ASKED),
    ("answered", 0, 7, 1, "Ada", {}),
    ("skipped", 0, 4, None, None, {}),
    ("corrected", 0, 7, 0, "Ada", {}),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if request.param == "postgresql":
        return fresh(request.getfixturevalue("postgres")).replace("postgresql://", "postgresql+psycopg://")
    return f"sqlite:///{tmp_path / 'labels.db'}"


def write_old(url: str) -> None:
    """Write a record as an older asal did."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(OLD)
        for seq, (kind, number, image, label, by, body) in enumerate(STORY, 1):
            statement = (
                "INSERT INTO events VALUES (:seq, '2026-11-20T10:00:00.000+00:00', :kind, :r, :i, :l, :by, :body)"
            )
            facts = {"seq": seq, "kind": kind, "r": number, "i": image, "l": label, "by": by, "body": json.dumps(body)}
            connection.execute(sa.text(statement), facts)
    engine.dispose()


def differences(url: str) -> list[object]:
    """Return what Alembic would change to make the tables what the code says."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION.name})
        found = list(compare_metadata(context, TABLES))
        assert connection.execute(sa.select(VERSION.c.version_num)).scalars().all() == [HEAD]
    engine.dispose()
    return found


def test_an_older_record_keeps_every_event_and_gets_the_new_tables(url: str) -> None:
    write_old(url)
    for _ in range(2):  # the second time nothing is left to do
        with Record.open(url) as record:
            events = record.read()
        assert [(e.kind, e.round, e.image, e.label, e.by, dict(e.body)) for e in events] == list(STORY)
    state = fold(State(), events)
    assert dict(state.answers) == {7: 0} and list(state.skips) == [4] and list(state.waiting) == [2]
    assert differences(url) == []


def test_a_new_record_has_the_tables_that_a_migrated_one_has(url: str) -> None:
    Record.open(url).close()
    assert differences(url) == []


def test_the_comparison_can_fail(url: str) -> None:
    Record.open(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE leases")
    engine.dispose()
    assert differences(url)


def test_a_record_of_a_newer_asal_is_refused_and_left_alone(url: str) -> None:
    write_old(url)
    Record.open(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.update(VERSION).values(version_num="9999"))
    with pytest.raises(UserError, match="revision 9999"):
        Record.open(url)
    with engine.connect() as connection:
        assert connection.execute(sa.select(VERSION.c.version_num)).scalar() == "9999"
    engine.dispose()


def test_processes_that_open_an_old_record_together_all_can(url: str) -> None:
    write_old(url)
    code = "import sys; from asal.session.events import Record; print(len(Record.open(sys.argv[1]).read()))"
    running = [
        subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, f"{len(STORY)}\n"), err
    assert differences(url) == []
