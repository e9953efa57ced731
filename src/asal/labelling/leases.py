"""Which open image is reserved for whom, so that two people are not given the same one unless that is wanted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from asal.session.events import Record
from asal.session.schema import LEASES

STALE = 20.0  # seconds without a request after which another tab of the same person may get the images of a tab


@dataclass(frozen=True)
class Lease:
    """An image that is reserved for somebody, in one tab of their browser, until a time."""

    image: int
    person: str
    tab: str
    renewed: float
    until: float


@dataclass(frozen=True)
class Assignable:
    """What somebody may be given at present.

    Args:
        images: open ones, in the order in which they are given.
        places: image → how many people may have it now; 0 where it is not open to this person.
        over: (image, person) → whether that person has finished it, so that their lease has ended.
    """

    images: Iterable[int]
    places: Callable[[int], int]
    over: Callable[[int, str], bool]


@dataclass(frozen=True)
class Granted:
    """What a tab has from now on."""

    new: list[int]
    gone: list[int]  # of those that it had: closed, or given to somebody else
    others: int  # images that this person could have if others did not have them


Held = Mapping[int, Mapping[str, Lease]]  # by image and person


class Leases:
    """The leases of one record. They are kept in its database, so that they outlive the server."""

    def __init__(self, record: Record, seconds: float = 120.0, clock: Callable[[], float] = time.time) -> None:
        self._record, self._seconds, self._clock = record, seconds, clock
        self._began = clock()

    def grant(
        self, person: str, tab: str, n: int, have: Sequence[int], read: Callable[[sa.Connection], Assignable]
    ) -> Granted:
        """Renew the leases of a tab, and lease up to n images more to it.

        Args:
            have: the images that the tab has.
            read: reads what can be given, once, while nobody else can lease: with an older state two people could be
                given one image.
        """
        now, have = self._clock(), list(dict.fromkeys(have))
        mine = Lease(0, person, tab, now, now + self._seconds)
        with self._record.transaction() as connection:
            assignable = read(connection)
            held, over = _live(connection, assignable, now)
            # No tab could renew its leases while the server was away: after a restart each gets that long to call.
            silent = now - STALE if now - STALE >= self._began else 0.0
            kept = [image for image in have if _free(held, assignable, mine, image, silent)]
            wanted = dict.fromkeys(kept)
            for image in assignable.images:
                if len(wanted) >= len(kept) + n:
                    break
                if image not in wanted and _free(held, assignable, mine, image, silent):
                    wanted[image] = None
            _write(connection, held, over, [replace(mine, image=image) for image in wanted])
        others = sum(1 for image in held if assignable.places(image) and _full(held, assignable, mine, image))
        return Granted(list(wanted)[len(kept) :], [image for image in have if image not in wanted], others)


def _live(connection: sa.Connection, assignable: Assignable, now: float) -> tuple[Held, list[Lease]]:
    """Return the leases that are valid, and those that have ended."""
    held: dict[int, dict[str, Lease]] = defaultdict(dict)
    over = []
    for row in connection.execute(sa.select(*LEASES.c)).all():
        lease = Lease(*row)
        if lease.until <= now or assignable.over(lease.image, lease.person):
            over.append(lease)
        else:
            held[lease.image][lease.person] = lease
    return held, over


def _full(held: Held, assignable: Assignable, mine: Lease, image: int) -> bool:
    others = held.get(image, {}).keys() - {mine.person}
    return len(others) >= assignable.places(image)


def _free(held: Held, assignable: Assignable, mine: Lease, image: int, silent: float) -> bool:
    """Say whether a tab may have an image; another tab of the same person keeps it if it called after `silent`."""
    lease = held.get(image, {}).get(mine.person)
    if lease is not None and lease.tab != mine.tab and lease.renewed > silent:
        return False
    return not _full(held, assignable, mine, image)


def _write(connection: sa.Connection, held: Held, over: Sequence[Lease], written: Sequence[Lease]) -> None:
    """Delete the leases that have ended or are replaced, and write the new ones."""
    replaced = [lease for lease in written if lease.person in held.get(lease.image, {})]
    if deleted := [{"old_image": lease.image, "old_person": lease.person} for lease in (*over, *replaced)]:
        same = (LEASES.c.image == sa.bindparam("old_image")) & (LEASES.c.person == sa.bindparam("old_person"))
        connection.execute(sa.delete(LEASES).where(same), deleted)
    if written:
        connection.execute(sa.insert(LEASES), [vars(lease) for lease in written])
