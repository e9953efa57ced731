"""A class's key is never another class's name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asal.labelling.hotkeys import hotkeys
from asal.labelling.label_studio.client import KEYS as LABEL_STUDIO
from asal.web.project_info import KEYS

names = st.one_of(
    st.sampled_from([*"0123456789aAbBzZéÉ&+-/?xu١٣²①１😀ıİſßΣς", "e\u0301", "10", "cat", "cats", "blank", " 1"]),
    st.characters(exclude_categories=["Cs", "Cc", "Z"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(str.strip),
)
classes_of_any_kind = st.lists(names, min_size=2, max_size=60, unique=True)


def one(name: str) -> str:
    """Return the one character of a name, in no particular case, "" where it has more."""
    plain = unicodedata.normalize("NFC", name.strip())
    return plain.casefold() if len(plain) == 1 else ""


def meant(name: str) -> set[str]:
    """Return what somebody may press who means a class by its name."""
    plain = unicodedata.normalize("NFKC", name.strip())
    digits = {str(unicodedata.digit(plain))} if len(plain) == 1 and plain.isdigit() else set()
    return {one(name), *digits} if one(name) else set()


@given(classes_of_any_kind, st.sampled_from([(KEYS, True), (LABEL_STUDIO, False)]))
def test_no_key_is_the_name_of_another_class(classes: list[str], kind: tuple[str, bool]) -> None:
    keys = hotkeys(classes, kind[0], typed=kind[1])
    given_keys = [key for key in keys if key]
    assert len(keys) == len(classes)
    assert len({key.casefold() for key in given_keys}) == len(given_keys)
    for name, key in zip(classes, keys, strict=True):
        others = [other for other in classes if other != name]
        assert key == "" or key.casefold() not in {one(other) for other in others}
        if not one(name):  # nothing that is read as the name of another class, such as its digit in another script
            assert key == "" or key not in set().union(*(meant(other) for other in others))


@given(classes_of_any_kind)
def test_a_name_of_one_letter_or_digit_keeps_its_key(classes: list[str]) -> None:
    keys = dict(zip(classes, hotkeys(classes, KEYS, typed=True), strict=True))
    for name, key in keys.items():
        alone = sum(one(other) == one(name) for other in classes) == 1
        if alone and len(name) == 1 and name.isascii():
            assert key == name.lower()


@given(classes_of_any_kind)
def test_no_class_is_without_a_key_while_one_is_left(classes: list[str]) -> None:
    keys = hotkeys(classes, KEYS, typed=True)
    names = {reading for name in classes for reading in meant(name)}
    if "" in keys:
        folded = {unicodedata.normalize("NFKC", name.strip()).casefold() for name in classes}
        assert set(KEYS) <= set(keys) | names | folded


@given(classes_of_any_kind, names)
def test_a_class_that_is_added_moves_no_key_but_the_one_that_it_is_called(classes: list[str], more: str) -> None:
    if more in classes:
        return
    before, after = hotkeys(classes, KEYS, typed=True), hotkeys([*classes, more], KEYS, typed=True)
    if not one(more):
        assert after[:-1] == before


@pytest.mark.parametrize(
    ("classes", "keys"),
    [
        ([*"0123456789", "blank"], [*"0123456789", "a"]),
        (["1", "3", "10"], ["1", "3", "2"]),
        ([str(n) for n in range(11)], [*"0123456789", "a"]),
        (["cat", "dog", "1"], ["2", "3", "1"]),
        (["A", "a", "B"], ["1", "2", "b"]),  # Caps Lock would exchange them
        (["ä", "Ö", "car"], ["ä", "ö", "1"]),
        (["e\u0301", "e"], ["é", "e"]),  # as macOS writes it
        (["😀", "🚗", "x"], ["1", "2", "x"]),
        (["+", "-", "="], ["+", "-", "="]),
        (["s", "g", "plane"], ["s", "g", "1"]),  # letters of commands
        (["٣", "one", "two", "three"], ["٣", "1", "2", "4"]),  # an Arabic keyboard's 3
        (["①", "②", "none"], ["1", "2", "3"]),
        (["1", "１"], ["1", "2"]),
        ([*"abcdefghijklmnopqrstuvwxyz"], [*"abcdefghijklmnopqrstuvwxyz"]),
        (["no", "not", "note"], ["1", "2", "3"]),
    ],
)
def test_the_keys_of_these(classes: list[str], keys: list[str]) -> None:
    assert hotkeys(classes, KEYS, typed=True) == keys
