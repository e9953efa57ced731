"""The list of classes in asal.toml: brought up to date in place, with everything else as it was."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asal.errors import UserError
from asal.project.classes import write_classes
from asal.session.classes import ClassList

TOML = """# My cats.
name = "p"  # the name

[labelling]  # how people label
classes = [
    "cat",  # all of them
    "dog",
]
# overlap = 2
"""


def test_names_are_changed_in_place_and_comments_stay(tmp_path: Path) -> None:
    (tmp_path / "asal.toml").write_text(TOML)
    classes = ClassList.of(["cat", "dog"]).after({"change": "renamed", "class": 0, "name": 'Katze "K"'})
    classes = classes.after({"change": "added", "names": ["bird"]})
    assert write_classes(tmp_path, classes)
    text = (tmp_path / "asal.toml").read_text()
    assert tomllib.loads(text)["labelling"]["classes"] == ['Katze "K"', "dog", "bird"]
    for comment in ("# My cats.", "# the name", "# how people label", "# all of them", "# overlap = 2"):
        assert comment in text
    assert not write_classes(tmp_path, classes)
    assert (tmp_path / "asal.toml").read_text() == text


@pytest.mark.parametrize(
    ("listed", "after"),
    [
        (["cat", "dog", "kitten"], ["cat", "dog", "bird"]),
        (["kitten", "wolf", "cat", "dog"], ["wolf", "cat", "dog", "bird"]),  # what is not known yet stays
        (["dog", "cat"], ["dog", "cat", "bird"]),
    ],
)
def test_merged_names_go_and_new_ones_stay(tmp_path: Path, listed: list[str], after: list[str]) -> None:
    (tmp_path / "asal.toml").write_text(f'name = "p"\n[labelling]\nclasses = {listed}\n'.replace("'", '"'))
    classes = ClassList.of(["cat", "dog", "kitten"]).after({"change": "merged", "class": 2, "into": 0})
    assert write_classes(tmp_path, classes.after({"change": "added", "names": ["bird"]}))
    assert tomllib.loads((tmp_path / "asal.toml").read_text())["labelling"]["classes"] == after


@pytest.mark.parametrize(
    "text", ['name = "p"\n', 'name = "p"\n[labelling]\noverlap = 2\n', "x = 1\n[labelling]\nclasses = []\n"]
)
def test_a_file_without_a_list_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "asal.toml").write_text(text)
    assert not write_classes(tmp_path, ClassList.of(["cat", "dog", "bird"]))
    assert (tmp_path / "asal.toml").read_text() == text


def test_bytes_that_an_editor_of_windows_leaves_are_kept(tmp_path: Path) -> None:
    (tmp_path / "asal.toml").write_bytes(b'\xef\xbb\xbfname = "p"\r\n[labelling]\r\nclasses = ["a", "b"]  # two\r\n')
    assert write_classes(tmp_path, ClassList.of(["a", "b", "c"]))
    assert (tmp_path / "asal.toml").read_bytes() == (
        b'\xef\xbb\xbfname = "p"\r\n[labelling]\r\nclasses = ["a", "b", "c"]  # two\r\n'
    )


def test_a_file_that_is_no_toml_is_told(tmp_path: Path) -> None:
    (tmp_path / "asal.toml").write_text("[labelling\n")
    with pytest.raises(UserError, match="not valid TOML"):
        write_classes(tmp_path, ClassList.of(["a", "b"]))


NAMES = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).map(str.strip).filter(bool),
    min_size=3,
    max_size=8,
    unique=True,
)


@given(names=NAMES)
def test_any_names_are_read_back_as_they_are(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root, (first, second, *rest) = tmp_path_factory.mktemp("p"), names
    (root / "asal.toml").write_text('[labelling]\nclasses = ["\\u0001a", "\\u0001b"]\n', encoding="utf-8")
    classes = ClassList.of(["\x01a", "\x01b"])
    for number, name in enumerate((first, second)):
        classes = classes.after({"change": "renamed", "class": number, "name": name})
    assert write_classes(root, classes.after({"change": "added", "names": rest}))
    assert tomllib.loads((root / "asal.toml").read_text(encoding="utf-8"))["labelling"]["classes"] == names
