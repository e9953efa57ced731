"""Who may answer: names, and the tokens that people come with. No token is written anywhere, only its digest.

>>> from asal.session.events import Record
>>> people = People(Record.open("sqlite://"))
>>> token = people.add("Ada")
>>> people.who(token), people.who(token[:-1] + "?")
(Person(name='Ada', role='annotator'), None)
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from asal.errors import UserError, unknown
from asal.session.events import Record
from asal.session.schema import PEOPLE, TOKENS

ROLES = ("annotator", "adjudicator")
NAME = re.compile(r"\w(?:[\w .@+'-]{0,62}[\w.])?")  # what can stand in a table, a file and a sentence
PREFIX = "asal"  # lets a scanner find a token that was published
SESSION = 30 * 24 * 3600.0  # seconds that a browser stays signed in
NOBODY = hashlib.sha256(b"nobody").hexdigest()


@dataclass(frozen=True)
class Annotator:
    """Somebody who answers."""

    name: str
    role: str = "annotator"

    @property
    def adjudicates(self) -> bool:
        """Whether their word settles what others disagree about."""
        return self.role == "adjudicator"


class Annotators:
    """The people of one record."""

    def __init__(self, record: Record, clock: Callable[[], float] = time.time) -> None:
        self._record, self._clock = record, clock

    def add(self, name: str, role: str = "annotator") -> str:
        """Add somebody and return the token that they sign in with, which is to be had only now.

        Raises:
            UserError: the name is taken or none, or there is no such role.
        """
        if role not in ROLES:
            raise unknown("role", role, ROLES)
        if not NAME.fullmatch(name):
            raise UserError(
                repr(name[:80]),
                rule="a name has 1 to 64 letters, digits, spaces and . @ + ' - _",
                hint="choose another name",
            )
        row = {"name": name, "role": role, "added": datetime.now(UTC).isoformat(timespec="seconds")}
        with self._record.transaction() as connection:
            if connection.execute(sa.select(PEOPLE.c.name).where(PEOPLE.c.name == name)).first():
                raise UserError(
                    f"'{name}' is there already",
                    rule="everybody has a name of their own",
                    hint=f"choose another one, or give them a new token: asal annotator token '{name}'",
                )
            connection.execute(sa.insert(PEOPLE).values(**row))
            return self._issue(connection, name, None)

    def ensure(self, name: str, role: str = "annotator") -> None:
        """Add somebody who may be there already."""
        if name not in [person.name for person in self.all()]:
            self.add(name, role)

    def token(self, name: str, seconds: float | None = None) -> str:
        """Return one more token for somebody, good for so long.

        Raises:
            UserError: there is nobody of this name.
        """
        with self._record.transaction() as connection:
            names = connection.execute(sa.select(PEOPLE.c.name)).scalars().all()
            if name not in names:
                raise unknown("annotator", name, names)
            connection.execute(sa.delete(TOKENS).where(TOKENS.c.until <= self._clock()))
            return self._issue(connection, name, None if seconds is None else self._clock() + seconds)

    def remove(self, name: str) -> None:
        """Take somebody's tokens away; their answers stay.

        Raises:
            UserError: there is nobody of this name.
        """
        with self._record.transaction() as connection:
            names = connection.execute(sa.select(PEOPLE.c.name)).scalars().all()
            if name not in names:
                raise unknown("annotator", name, names)
            connection.execute(sa.delete(TOKENS).where(TOKENS.c.name == name))
            connection.execute(sa.delete(PEOPLE).where(PEOPLE.c.name == name))

    def all(self) -> list[Annotator]:
        """Return everybody, by name."""
        with self._record.look() as connection:
            rows = connection.execute(sa.select(PEOPLE.c.name, PEOPLE.c.role).order_by(PEOPLE.c.name)).all()
        return [Annotator(name, role) for name, role in rows]

    def who(self, token: str) -> Annotator | None:
        """Return whose token this is, or None. Takes as long for a wrong secret as for a right one."""
        number, secret = _parts(token)
        query = sa.select(TOKENS.c.digest, TOKENS.c.until, PEOPLE.c.name, PEOPLE.c.role)
        with self._record.look() as connection:
            found = connection.execute(
                query.join(PEOPLE, PEOPLE.c.name == TOKENS.c.name).where(TOKENS.c.id == number)
            ).first()
        digest, until, name, role = found or (NOBODY, 0.0, "", "")
        same = hmac.compare_digest(digest, _digest(secret))
        return Annotator(name, role) if same and (until is None or until > self._clock()) else None

    def leave(self, token: str) -> None:
        """Let a token be good no more."""
        if self.who(token) is not None:
            with self._record.transaction() as connection:
                connection.execute(sa.delete(TOKENS).where(TOKENS.c.id == _parts(token)[0]))

    def _issue(self, connection: sa.Connection, name: str, until: float | None) -> str:
        number, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        row = {"id": number, "digest": _digest(secret), "name": name, "until": until}
        connection.execute(sa.insert(TOKENS).values(**row))
        return f"{PREFIX}_{number}_{secret}"


def _parts(token: str) -> tuple[str, str]:
    prefix, _, rest = token.partition("_")
    number, _, secret = rest.partition("_")
    return (number, secret) if prefix == PREFIX and number.isalnum() and number.isascii() else ("", "")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@contextmanager
def at(root: Path) -> Iterator[Annotators]:
    """Open the people of a project folder."""
    from asal.project.folder import ProjectFolder

    with ProjectFolder.open(root).record() as record:
        yield Annotators(record)
