"""Names and tokens: whose a token is, for how long, and that none is written anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from asal.errors import UserError
from asal.events import Record
from asal.labelling.people import SESSION, People, Person


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_good_until_its_time_is_over() -> None:
    clock = Clock()
    with Record.open("sqlite://") as record:
        people = People(record, clock)
        for_ever = people.add("Ada")
        link = people.token("Ada", SESSION)
        clock.now += SESSION - 1
        assert people.who(link) == people.who(for_ever) == Person("Ada")
        clock.now += 1
        assert people.who(link) is None
        assert people.who(for_ever) == Person("Ada")


def test_whoever_is_removed_or_leaves_signs_in_no_more() -> None:
    with Record.open("sqlite://") as record:
        people = People(record)
        first, second, other = people.add("Ada"), people.token("Ada"), people.add("Bob", "adjudicator")
        people.leave(first)
        assert people.who(first) is None and people.who(second) == Person("Ada")
        people.remove("Ada")
        assert people.who(second) is None and people.who(other) == Person("Bob", "adjudicator")
        again = people.add("Ada")
        assert people.who(again) == Person("Ada") and people.who(second) is None


@pytest.mark.parametrize(
    "token", ["", "asal", "asal__", "asal_0_", "bsal_0_0", "asal_' or 1=1_x", "asal_\x00_\udcff", "é"]
)
def test_what_is_no_token_is_nobodys(token: str) -> None:
    with Record.open("sqlite://") as record:
        people = People(record)
        people.add("Ada")
        assert people.who(token) is None


@pytest.mark.parametrize("name", ["", " ", "a/b", "a: b", "x" * 65, "a\n", "<b>", "-a"])
def test_a_name_can_stand_in_a_table_a_file_and_a_sentence(name: str) -> None:
    with Record.open("sqlite://") as record, pytest.raises(UserError, match="1 to 64"):
        People(record).add(name)


def test_no_secret_is_written(tmp_path: Path) -> None:
    with Record.open(tmp_path / "labels.db") as record:
        secret = People(record).add("Ada").split("_", 2)[2]
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
