"""Names and tokens: whose a token is, and that no token is written anywhere. On both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.commands import Command
from support.databases import fresh

from asal.errors import UserError
from asal.labelling.annotators import Annotator, Annotators
from asal.session.events import Record
from asal.session.schema import PEOPLE, TOKENS


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Record]:
    where = tmp_path / "labels.db" if request.param == "sqlite" else fresh(request.getfixturevalue("postgres"))
    with Record.open(where) as opened:
        yield opened


def test_a_token_says_who(record: Record) -> None:
    people = Annotators(record)
    ada, judge = people.add("Ada"), people.add("Judge", "adjudicator")
    assert people.who(ada) == Annotator("Ada") and not people.who(ada).adjudicates  # type: ignore[union-attr]
    assert people.who(judge) == Annotator("Judge", "adjudicator") and people.who(judge).adjudicates  # type: ignore[union-attr]
    assert people.all() == [Annotator("Ada"), Annotator("Judge", "adjudicator")]
    assert ada.startswith("asal_") and len(ada.split("_", 2)[2]) >= 43, "256 bits"


def test_what_is_no_token_is_nobodys(record: Record) -> None:
    people = Annotators(record)
    token = people.add("Ada")
    prefix, number, secret = token.split("_", 2)
    for wrong in (
        "",
        "asal",
        "asal__",
        token[:-1],
        token + "x",
        token.upper(),
        f"{prefix}_{number}_",
        secret,
        f"x_{number}_{secret}",
        f"{prefix}_%_{secret}",
        f"{prefix}_' OR 1=1 --_{secret}",
        f"{prefix}_{number}\0_{secret}",
        "asal_\ud800_x",
        f"{prefix}_\u0661_{secret}",
    ):
        assert people.who(wrong) is None, wrong


def test_a_token_ends_and_another_one_goes_on(record: Record) -> None:
    clock = Clock()
    people = Annotators(record, clock)
    for_ever, short = people.add("Ada"), people.token("Ada", 60.0)
    assert people.who(short) == Annotator("Ada")
    clock.now += 60.0
    assert people.who(short) is None and people.who(for_ever) == Annotator("Ada")
    people.token("Ada")
    with record.look() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(TOKENS)).scalar() == 2, "the old one is swept"


def test_leaving_ends_one_token_and_removing_all(record: Record) -> None:
    people = Annotators(record)
    first, second = people.add("Ada"), people.token("Ada")
    people.leave(first[:-1])
    assert people.who(first) is not None, "a wrong secret signs nobody out"
    people.leave(first)
    assert people.who(first) is None and people.who(second) == Annotator("Ada")
    people.remove("Ada")
    assert people.who(second) is None and people.all() == []


def test_what_is_refused_says_why(record: Record) -> None:
    people = Annotators(record)
    people.add("Ada")
    with pytest.raises(UserError, match="asal annotator token 'Ada'"):
        people.add("Ada")
    with pytest.raises(UserError, match="did you mean 'annotator'"):
        people.add("Bob", "anotator")
    for act in (people.remove, people.token):
        with pytest.raises(UserError, match="did you mean 'Ada'"):
            act("Adda")
    for name in ("", " Ada", "Ada ", "<b>", "a" * 65, "x\ny", "a\0b", "a/b", "a;b", '"', "a\u202eb"):
        with pytest.raises(UserError, match="1 to 64 letters"):
            people.add(name)
    for name in ("Zoë", "李雷", "O'Neil-Smith Jr.", "ada@example.org", "x"):
        people.add(name)


def test_somebody_who_is_there_is_not_added_again(record: Record) -> None:
    people = Annotators(record)
    people.ensure("Ada", "adjudicator")
    people.ensure("Ada")
    assert people.all() == [Annotator("Ada", "adjudicator")]


def test_no_secret_is_in_the_database(record: Record) -> None:
    people = Annotators(record)
    secrets = [token.split("_", 2)[2] for token in (people.add("Ada"), people.token("Ada", 60.0))]
    with record.look() as connection:
        kept = [str(row) for table in (PEOPLE, TOKENS) for row in connection.execute(sa.select(table)).all()]
    assert len(kept) == 3
    assert not any(secret in row for secret in secrets for row in kept)


def test_the_commands_add_list_and_remove(tiny: Path, asal: Command) -> None:
    token = asal("annotator", "add", tiny, "Ada").out.strip()
    assert asal("annotator", "add", tiny, "Judge", "--adjudicator").code == 0
    listed = asal("annotator", "list", tiny).out
    assert "Ada" in listed and "adjudicator" in listed and token not in listed
    another = asal("annotator", "token", tiny, "Ada").out.strip()
    with Record.open(tiny / "labels.db") as record:
        assert Annotators(record).who(token) == Annotators(record).who(another) == Annotator("Ada")
    assert "their answers are kept" in asal("annotator", "remove", tiny, "Ada").out
    with Record.open(tiny / "labels.db") as record:
        assert Annotators(record).who(token) is None
    asal("annotator", "remove", tiny, "Ada").refused("no annotator is called 'Ada'")
    asal("annotator", "add", tiny, "<script>").refused("1 to 64 letters")
