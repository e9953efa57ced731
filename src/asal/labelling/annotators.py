"""Who may answer: names, and the tokens that people sign in with. Only a token's digest is written, never the token.

>>> from asal.session.events import Record
>>> annotators = Annotators(Record.open("sqlite://"))
>>> token = annotators.add("Ada")
>>> annotators.who(token), annotators.who(token[:-1] + "?")
(Annotator(name='Ada', role='annotator'), None)
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
        """Whether their answer decides where others disagree."""
        return self.role == "adjudicator"


class Annotators:
    """The annotators of one record."""

    def __init__(self, record: Record, clock: Callable[[], float] = time.time) -> None:
        self._record, self._clock = record, clock

    def add(self, name: str, role: str = "annotator") -> str:
        """Add somebody and return the token that they sign in with; it cannot be read again later.

        Raises:
            UserError: the name is taken or is not a name, or there is no such role.
        """
        if role not in ROLES:
            raise unknown("role", role, ROLES)
        if not NAME.fullmatch(name):
            raise UserError(
                f"{name[:80]!r} cannot be a name",
                rule="a name has 1 to 64 letters, digits, spaces and . @ + ' - _",
                hint="choose another name",
            )
        row = {"name": name, "role": role, "added": datetime.now(UTC).isoformat(timespec="seconds")}
        with self._record.transaction() as connection:
            if connection.execute(sa.select(PEOPLE.c.name).where(PEOPLE.c.name == name)).first():
                raise UserError(
                    f"there is already somebody called '{name}'",
                    hint=f"choose another one, or give them a new token: asal annotator token '{name}'",
                )
            connection.execute(sa.insert(PEOPLE).values(**row))
            return self._issue(connection, name, None)

    def ensure(self, name: str, role: str = "annotator") -> None:
        """Add somebody, unless they are there already."""
        if name not in [person.name for person in self.all()]:
            self.add(name, role)

    def token(self, name: str, seconds: float | None = None) -> str:
        """Return one more token for somebody, valid for so many seconds, or for ever.

        Raises:
            UserError: nobody has this name.
        """
        with self._record.transaction() as connection:
            names = connection.execute(sa.select(PEOPLE.c.name)).scalars().all()
            if name not in names:
                raise unknown("annotator", name, names)
            connection.execute(sa.delete(TOKENS).where(TOKENS.c.until <= self._clock()))
            return self._issue(connection, name, None if seconds is None else self._clock() + seconds)

    def remove(self, name: str) -> None:
        """Delete somebody and their tokens; their answers stay.

        Raises:
            UserError: nobody has this name.
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
            row = connection.execute(
                query.join(PEOPLE, PEOPLE.c.name == TOKENS.c.name).where(TOKENS.c.id == number)
            ).first()
        digest, until, name, role = row or (NOBODY, 0.0, "", "")
        same = hmac.compare_digest(digest, _digest(secret))
        return Annotator(name, role) if same and (until is None or until > self._clock()) else None

    def leave(self, token: str) -> None:
        """Make a token invalid."""
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
    """Open the annotators of a project folder."""
    from asal.project.folder import ProjectFolder

    with ProjectFolder.open(root).record() as record:
        yield Annotators(record)
