"""Labels that are numbers are names; what may be a position is refused, never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asal.errors import UserError
from asal.labelling.exchange.numbers import with_meaning
from asal.labelling.exchange.rows import LabelRow

GRADES = ["1", "2", "3", "4", "5"]


def rows(*labels: object) -> list[LabelRow]:
    return [
        LabelRow(line, key="k", label=str(label), label_is="number" if isinstance(label, int) else "text")
        for line, label in enumerate(labels)
    ]


def read(labels: list[LabelRow], classes: list[str], numbers: str = "") -> list[str | None]:
    return [row.label for row in with_meaning(labels, classes, numbers)[0]]  # type: ignore[arg-type]


def test_a_number_is_a_name_where_only_that_fits_or_both_say_the_same() -> None:
    assert read(rows(1, 2, 5), GRADES) == ["1", "2", "5"]  # 5 is no position
    assert read(rows(0, 3, 1), ["0", "1", "2", "3"]) == ["0", "3", "1"]  # both readings say the same
    assert read(rows("1", "2"), GRADES) == ["1", "2"]  # text in a table is a name
    assert read(rows("1", "cat"), ["1", "2", "cat"]) == ["1", "cat"]
    assert read(rows(0, 1), ["cat", "dog"]) == ["0", "1"]  # no class: the import says so of each row


@pytest.mark.parametrize("labels", [(0, 1, 2, 3, 4), ("0", "1", "4"), (1, 2), (1, 1)])
def test_what_may_be_a_position_is_refused_with_the_choice(labels: tuple[object, ...]) -> None:
    with pytest.raises(UserError, match='1 is the class "1", or "2"') as error:
        read(rows(*labels), GRADES)
    assert "--numbers-are" in error.value.hint
    assert read(rows(*labels), GRADES, "names") == [str(label) for label in labels]
    assert read(rows(*labels), GRADES, "positions") == [GRADES[int(str(label))] for label in labels]


def test_a_name_that_the_file_defines_is_never_a_number() -> None:
    named = [LabelRow(1, label="1", label_is="name"), LabelRow(2, label="0", label_is="name")]
    assert read(named, GRADES) == ["1", "0"] and read(named, GRADES, "positions") == ["1", "0"]


def test_a_position_beyond_the_classes_is_unreadable() -> None:
    found, _ = with_meaning(rows(1, 9), ["cat", "dog"], "positions")
    assert (found[0].label, found[1].label) == ("dog", None) and "no class 9" in found[1].wrong


@given(
    st.lists(st.integers(0, 12).map(str), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.booleans(),
)
def test_no_number_ever_becomes_a_class_that_both_readings_do_not_allow(
    classes: list[str], numbers: list[int], stored: bool
) -> None:
    labels = rows(*(number if stored else str(number) for number in numbers))
    try:
        found = read(labels, classes)
    except UserError:
        return
    for number, label in zip(numbers, found, strict=True):
        assert label == str(number)
        positions = all(n < len(classes) for n in numbers)
        if stored and positions and label in classes:  # nothing else that the file may say
            assert classes[number] == label
