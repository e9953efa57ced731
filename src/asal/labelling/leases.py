"""Who has which open image before them: so that two people are not given the same one, unless that is wanted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from asal.session.events import Record
from asal.session.schema import LEASES

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
class Assignable:
    """What somebody may be given, as the record stands.

    Args:
        images: open ones, in the order in which they are given.
        places: image → how many people may have it before them now; 0 where it is not open to this person.
        over: (image, person) → whether that person is done with it, so that their lease counts no more.
    """

    images: Iterable[int]
    places: Callable[[int], int]
    over: Callable[[int, str], bool]


@dataclass(frozen=True)
class Granted:
    """What a tab has before it from now on."""

    new: list[int]
    gone: list[int]  # of those that it had: closed meanwhile, or somebody else's by now
    others: int  # images that this person could have, were they not before other people


Held = Mapping[int, Mapping[str, Lease]]  # by image and person


class Leases:
    """The leases of one record. They are kept in its database, so that they outlive the server."""

    def __init__(self, record: Record, seconds: float = 120.0, clock: Callable[[], float] = time.time) -> None:
        self._record, self._seconds, self._clock = record, seconds, clock
        self._began = clock()

    def grant(
        self, person: str, tab: str, n: int, have: Sequence[int], look: Callable[[sa.Connection], Assignable]
    ) -> Granted:
        """Renew the leases of a tab, and lease up to n images more to it.

        Args:
            have: what the tab has before it.
            look: reads what there is to give, when nobody else can lease any more: by an older reading two people
                could be given one image. Called once.
        """
        now, have = self._clock(), list(dict.fromkeys(have))
        mine = Lease(0, person, tab, now, now + self._seconds)
        with self._record.transaction() as connection:
            room = look(connection)
            held, over = _live(connection, room, now)
            # No tab could renew its leases while the server was away: after a restart each gets that long to call.
            silent = now - STALE if now - STALE >= self._began else 0.0
            kept = [image for image in have if _free(held, room, mine, image, silent)]
            wanted = dict.fromkeys(kept)
            for image in room.images:
                if len(wanted) >= len(kept) + n:
                    break
                if image not in wanted and _free(held, room, mine, image, silent):
                    wanted[image] = None
            _write(connection, held, over, [replace(mine, image=image) for image in wanted])
        others = sum(1 for image in held if room.places(image) and _full(held, room, mine, image))
        return Granted(list(wanted)[len(kept) :], [image for image in have if image not in wanted], others)


def _live(connection: sa.Connection, room: Assignable, now: float) -> tuple[Held, list[Lease]]:
    """Return the leases that count, and those that are over."""
    held: dict[int, dict[str, Lease]] = defaultdict(dict)
    over = []
    for row in connection.execute(sa.select(*LEASES.c)).all():
        lease = Lease(*row)
        if lease.until <= now or room.over(lease.image, lease.person):
            over.append(lease)
        else:
            held[lease.image][lease.person] = lease
    return held, over


def _full(held: Held, room: Assignable, mine: Lease, image: int) -> bool:
    others = held.get(image, {}).keys() - {mine.person}
    return len(others) >= room.places(image)


def _free(held: Held, room: Assignable, mine: Lease, image: int, silent: float) -> bool:
    """Say whether a tab may have an image; another tab of the same person keeps it if it called after `silent`."""
    own = held.get(image, {}).get(mine.person)
    if own is not None and own.tab != mine.tab and own.renewed > silent:
        return False  # it is in another tab of theirs
    return not _full(held, room, mine, image)


def _write(connection: sa.Connection, held: Held, over: Sequence[Lease], written: Sequence[Lease]) -> None:
    """Take away what is over or replaced, and write what is new."""
    replaced = [lease for lease in written if lease.person in held.get(lease.image, {})]
    if gone := [{"gone": lease.image, "whose": lease.person} for lease in (*over, *replaced)]:
        same = (LEASES.c.image == sa.bindparam("gone")) & (LEASES.c.person == sa.bindparam("whose"))
        connection.execute(sa.delete(LEASES).where(same), gone)
    if written:
        connection.execute(sa.insert(LEASES), [vars(lease) for lease in written])
