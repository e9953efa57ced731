"""Who has which image before them: nobody twice, nobody for ever. On both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.databases import fresh

from asal.labelling.leases import STALE, Assignable, Granted, Leases
from asal.session.events import Record
from asal.session.schema import LEASES

OPEN = (11, 12, 13, 14)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def room(
    images: tuple[int, ...] = OPEN, places: Mapping[int, int] | None = None, over: tuple[tuple[int, str], ...] = ()
) -> Callable[[sa.Connection], Assignable]:
    """Return what there is to give: one place on each image where nothing else is told."""
    there = {image: 1 for image in images} | dict(places or {})
    return lambda _: Assignable(
        images, lambda image: there.get(image, 0), lambda image, who: image not in there or (image, who) in over
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Record]:
    where = tmp_path / "labels.db" if request.param == "sqlite" else fresh(request.getfixturevalue("postgres"))
    with Record.open(where) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(record: Record, clock: Clock) -> Leases:
    return Leases(record, 120.0, clock)


def rows(record: Record) -> set[tuple[int, str, str]]:
    with record.look() as connection:
        found = connection.execute(sa.select(LEASES.c.image, LEASES.c.person, LEASES.c.tab)).all()
    return {(image, person, tab) for image, person, tab in found}


def test_two_people_get_different_images_in_the_order_of_asking(leases: Leases) -> None:
    assert leases.grant("Ada", "a", 2, [], room()) == Granted([11, 12], [], 0)
    assert leases.grant("Bob", "b", 3, [], room()) == Granted([13, 14], [], 2)
    assert leases.grant("Cat", "c", 3, [], room()) == Granted([], [], 4)


def test_more_is_given_beyond_what_a_tab_has(leases: Leases) -> None:
    leases.grant("Ada", "a", 2, [], room())
    assert leases.grant("Ada", "a", 1, [11, 12, 11], room()).new == [13]
    assert leases.grant("Ada", "a", 0, [11, 12, 13], room()) == Granted([], [], 0)
    assert leases.grant("Ada", "a", 2, [], room()).new == [11, 12], "a tab that has forgotten is given the same again"


def test_a_lease_ends_where_it_is_not_renewed(leases: Leases, clock: Clock) -> None:
    leases.grant("Ada", "a", 2, [], room())
    clock.now += 100
    leases.grant("Ada", "a", 0, [11], room())
    clock.now += 100
    assert leases.grant("Bob", "b", 4, [], room()).new == [12, 13, 14], "what was renewed is kept, the other is not"
    assert leases.grant("Ada", "a", 0, [11, 12], room()).gone == [12]


def test_another_tab_takes_over_when_the_first_is_silent(leases: Leases, clock: Clock) -> None:
    leases.grant("Ada", "a", 2, [], room())
    assert leases.grant("Ada", "second", 4, [], room()).new == [13, 14]
    clock.now += STALE / 2
    leases.grant("Ada", "a", 0, [11], room())
    clock.now += STALE / 2
    assert leases.grant("Ada", "second", 4, [13], room()).new == [12, 14]
    assert leases.grant("Ada", "a", 0, [11, 12], room()).gone == [12]


def test_a_tab_that_could_not_call_while_the_server_was_away_keeps_its_images(
    leases: Leases, record: Record, clock: Clock
) -> None:
    """On a busy machine a restart takes longer than `STALE`: another tab of the same person was given the images."""
    assert leases.grant("Ada", "a", 2, [], room()).new == [11, 12]
    clock.now += STALE + 5  # in which nobody could reach the server
    restarted = Leases(record, 120.0, clock)
    assert restarted.grant("Ada", "second", 4, [], room()).new == [13, 14]
    clock.now += STALE / 2
    assert restarted.grant("Ada", "a", 0, [11], room()) == Granted([], [], 0)
    clock.now += STALE / 2
    assert restarted.grant("Ada", "second", 0, [13, 14], room()) == Granted([], [], 0)
    assert restarted.grant("Ada", "second", 1, [13, 14], room()).new == [12], "it called, but not for this one"


def test_two_have_an_image_where_two_opinions_are_wanted(leases: Leases) -> None:
    two = room((11,), {11: 2})
    assert leases.grant("Ada", "a", 1, [], two).new == [11]
    assert leases.grant("Bob", "b", 1, [], two).new == [11]
    assert leases.grant("Cat", "c", 1, [], two).new == []


def test_who_has_answered_holds_a_place_no_more(leases: Leases, record: Record) -> None:
    leases.grant("Ada", "a", 1, [], room((11,), {11: 2}))
    answered = room((11,), {11: 1}, over=((11, "Ada"),))
    assert leases.grant("Bob", "b", 1, [], answered).new == [11], "Ada's lease outlived her answer"
    assert rows(record) == {(11, "Bob", "b")}


def test_what_is_closed_leaves_no_lease_behind(leases: Leases, record: Record) -> None:
    leases.grant("Ada", "a", 3, [], room())
    assert leases.grant("Bob", "b", 1, [], room((13, 14))) == Granted([14], [], 1)
    assert rows(record) == {(13, "Ada", "a"), (14, "Bob", "b")}
    assert leases.grant("Ada", "a", 0, [11, 12, 13], room((13, 14))).gone == [11, 12]


def test_what_is_not_open_to_somebody_is_neither_given_nor_kept(leases: Leases) -> None:
    barred = room(OPEN, {11: 0, 12: 0})
    assert leases.grant("Ada", "a", 4, [11, 999, 2**62], barred) == Granted([13, 14], [11, 999, 2**62], 0)


def test_leases_outlive_the_server(leases: Leases, record: Record, clock: Clock) -> None:
    leases.grant("Ada", "a", 4, [], room())
    with Record.open(record._engine.url.render_as_string(hide_password=False)) as another:
        assert Leases(another, 120.0, clock).grant("Bob", "b", 4, [], room()).new == []


def test_what_there_is_to_give_is_read_when_nobody_else_can_lease(leases: Leases, record: Record) -> None:
    """A second desk that read before it waited would give what the first has given meanwhile."""
    seen: list[set[tuple[int, str, str]]] = []

    def look(connection: sa.Connection) -> Assignable:
        found = connection.execute(sa.select(LEASES.c.image, LEASES.c.person, LEASES.c.tab)).all()
        seen.append({(image, person, tab) for image, person, tab in found})
        return room()(connection)

    leases.grant("Ada", "a", 1, [], room())
    leases.grant("Bob", "b", 1, [], look)
    assert seen == [{(11, "Ada", "a")}]
