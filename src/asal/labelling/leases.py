"""Who has which open image before them: so that two people are not given the same one, unless that is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from asal.events import Record
from asal.schema import LEASES

STALE = 20.0  # seconds without a sign of life after which another tab of the same person may take an image over


@dataclass(frozen=True)
class Lease:
    """An image before somebody, in one of their browser's tabs, until then."""

    image: int
    person: str
    tab: str
    renewed: float
    until: float


@dataclass(frozen=True)
class Granted:
    """What a tab has before it from now on."""

    new: list[int]
    gone: list[int]  # of those that it had: closed meanwhile, or somebody else's by now


class Leases:
    """The leases of one record. They are kept in its database, so that they outlive the server."""

    def __init__(self, record: Record, seconds: float = 120.0, clock: Callable[[], float] = time.time) -> None:
        self._record, self._seconds, self._clock = record, seconds, clock

    def grant(self, person: str, tab: str, room: Mapping[int, int], have: Sequence[int], n: int) -> Granted:
        """Renew the leases of a tab, and lease up to n images more to it.

        Args:
            room: open image → how many people may have it before them now, in the order of asking; without those that
                this person has answered.
            have: what the tab has before it.
        """
        now = self._clock()
        with self._record.transaction() as connection:
            rows = connection.execute(sa.select(*LEASES.c)).all()
            held = {(lease.image, lease.person): lease for lease in (Lease(*row) for row in rows) if lease.until > now}
            mine = Lease(0, person, tab, now, now + self._seconds)
            kept = [image for image in have if self._free(held, room, mine, image)]
            wanted = dict.fromkeys(kept)
            for image in room:
                if len(wanted) >= len(kept) + n:
                    break
                if image not in wanted and self._free(held, room, mine, image):
                    wanted[image] = None
            written = [replace(mine, image=image) for image in wanted]
            _write(connection, [Lease(*row) for row in rows], written, now)
        return Granted(list(wanted)[len(dict.fromkeys(kept)) :], [image for image in have if image not in wanted])

    def others(self, person: str) -> set[int]:
        """Return the images that other people have before them."""
        query = sa.select(LEASES.c.image).where(LEASES.c.until > self._clock(), LEASES.c.person != person)
        with self._record.look() as connection:
            return set(connection.execute(query).scalars())

    @staticmethod
    def _free(held: Mapping[tuple[int, str], Lease], room: Mapping[int, int], mine: Lease, image: int) -> bool:
        own = held.get((image, mine.person))
        if own is not None and own.tab != mine.tab and own.renewed > mine.renewed - STALE:
            return False  # it is in another tab of theirs
        others = sum(1 for number, person in held if number == image and person != mine.person)
        return image in room and others < room[image]


def _write(connection: sa.Connection, there: Sequence[Lease], written: Sequence[Lease], now: float) -> None:
    """Take away what is over or replaced, and write what is new."""
    replaced = {(lease.image, lease.person) for lease in written}
    for lease in there:
        if lease.until <= now or (lease.image, lease.person) in replaced:
            same = (LEASES.c.image == lease.image) & (LEASES.c.person == lease.person)
            connection.execute(sa.delete(LEASES).where(same))
    if written:
        connection.execute(sa.insert(LEASES), [vars(lease) for lease in written])
