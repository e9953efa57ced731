"""No label lands on another image than a file says: random pools and tables, and the cases that the docs list."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asal.core import Ids
from asal.errors import NoRowTakenError
from asal.labelling.exchange.choosing import ELSEWHERE, SEVERAL, UNKNOWN, Match
from asal.labelling.exchange.class_text import class_of
from asal.labelling.exchange.columns import Columns
from asal.labelling.exchange.matching import PoolImages, match_rows
from asal.labelling.exchange.names import UPLOADED, split_ending, uploaded_name
from asal.labelling.exchange.readers import read_rows
from asal.labelling.exchange.rows import LabelRow
from asal.session.classes import ClassList

SOURCE = Path("/nowhere/photos")


class Listed:
    """A pool of these keys."""

    fingerprint = "f00d"

    def __init__(self, keys: Sequence[str]) -> None:
        self.own = keys

    def __len__(self) -> int:
        return len(self.own)

    def keys(self, ids: Ids) -> list[str]:
        return [self.own[n] for n in ids.tolist()]


def images(keys: Sequence[str], **more: Any) -> PoolImages:
    return PoolImages(Listed(keys), {}, SOURCE, **more)


def matches(keys: Sequence[str], names: Sequence[str], **more: Any) -> list[Match]:
    rows = [LabelRow(line, key=name, label="x", partial=True) for line, name in enumerate(names, 2)]
    return match_rows(images(keys, **more), rows)


def plain(keys: Sequence[str], names: Sequence[str], **more: Any) -> list[int]:
    return [match.image for match in matches(keys, names, **more)]


STEMS = st.sampled_from(
    ["1", "2", "7", "07", "10", "img", "img 1", "Größe", "a%20b", "1a2b3c4d-img", "v1.5", "猫", "x\\y"]
)
ENDINGS = st.sampled_from([".png", ".png", ".jpg", ".PNG", ""])
FOLDERS = st.lists(st.sampled_from(["a", "b", "é", "train"]), max_size=2)
KEYS = st.builds(lambda folders, stem, ending: "/".join([*folders, stem + ending]), FOLDERS, STEMS, ENDINGS)
POOLS = st.lists(KEYS, min_size=1, max_size=8, unique=True)


def windows(key: str) -> str:
    return key.replace("/", "\\")


WAYS: Mapping[str, Callable[[str], str]] = {
    "whole key": lambda key: key,
    "Windows": windows,
    "quoted": quote,
    "NFD": lambda key: unicodedata.normalize("NFD", key),
    "NFC": lambda key: unicodedata.normalize("NFC", key),
    "dots": lambda key: f"./{key}",
    "blanks": lambda key: f" {key}  ",
    "no ending": lambda key: "/".join([*key.split("/")[:-1], split_ending(key.rpartition("/")[2])[0]]),
    "other case": lambda key: "".join([split_ending(key)[0], split_ending(key)[1].swapcase()]),
    "source": lambda key: f"{SOURCE}/{key}",
    "its URL": lambda key: f"file://{quote(f'{SOURCE}/{key}')}",
    "another machine": lambda key: f"C:\\Users\\me\\photos\\{windows(key)}",
    "bucket": lambda key: f"s3://bucket/photos/{key}",
    "by name": lambda key: key.rpartition("/")[2],
    "within a folder": lambda key: key.partition("/")[2] or key,
    "uploads": lambda key: f"/data/upload/3/0123abcd-{uploaded_name(key.rpartition('/')[2])}",
}


def _loose(key: str) -> str:
    """Return what is left of a path when nothing of its spelling counts: what differs in less cannot be told apart."""
    path = unicodedata.normalize("NFC", unquote(key)).replace("\\", "/")
    folder, _, name = path.rpartition("/")
    return f"{folder}/{uploaded_name(UPLOADED.sub(lambda found: found[1], split_ending(name)[0]))}"


@settings(max_examples=400, deadline=None)
@given(POOLS, st.lists(KEYS, max_size=4), st.sampled_from(sorted(WAYS)), st.booleans(), st.randoms())
def test_a_row_is_matched_to_the_image_that_was_written_or_to_none(
    pool: Sequence[str], foreign: Sequence[str], way: str, by_names: bool, random: Any
) -> None:
    """Rows of images that are not in the pool are in the table too; what cannot tell two files apart is not one."""
    write = WAYS[way]
    own = {_loose(name) for key in pool for name in (key, write(key))}
    foreign = [key for key in foreign if not own & {_loose(key), _loose(write(key))}]
    if commonprefix([_loose(key) for key in pool]).strip("/"):  # noqa: RUF071  # folders of all images may be left out
        foreign = [
            key
            for key in foreign
            if not any(_loose(own).endswith(f"/{_loose(key)}".replace("//", "/")) for own in pool)
        ]
    written = [write(key) for key in dict.fromkeys([*pool, *foreign])]
    known = {name: n for n, name in enumerate(written[: len(pool)])}
    assume(len({unicodedata.normalize("NFC", name) for name in written}) == len(written))
    chosen = random.sample(written, random.randint(1, len(written)))
    assume(not by_names or all(name in known for name in chosen))
    for name, match in zip(chosen, matches(pool, chosen, by_names=by_names), strict=True):
        said = [known.get(name), *([pool.index(name)] if name in pool else [])]  # a whole key is what the file says
        assert match.image < 0 or match.image in said, (pool, chosen, name, match)


@settings(max_examples=150, deadline=None)
@given(POOLS, st.sampled_from(["whole key", "source", "its URL"]), st.randoms())
def test_what_is_written_by_its_whole_key_is_found(pool: Sequence[str], way: str, random: Any) -> None:
    order = random.sample(range(len(pool)), len(pool))
    composed = [unicodedata.normalize("NFC", key) for key in pool]
    odd = any("%" in key or "\\" in key for key in pool) or len(set(composed)) < len(pool)
    assume(way == "whole key" or not odd)
    assert plain(pool, [WAYS[way](pool[n]) for n in order]) == order or way != "whole key"
    if way == "whole key":
        return
    stems = {split_ending(key)[0] for key in composed}
    if len(stems) == len(pool) and not any(one.endswith(f"/{other}") for one in stems for other in stems):
        assert plain(pool, [WAYS[way](pool[n]) for n in order]) == order


@settings(max_examples=200, deadline=None)
@given(POOLS, st.lists(st.integers(0, 20), min_size=1, max_size=6), st.sampled_from(["{}", "{:02d}", "{}.0"]))
def test_numbers_alone_mean_names_or_nothing(pool: Sequence[str], numbers: Sequence[int], form: str) -> None:
    rows = [LabelRow(2, image=number, label="x", partial=True, id_text=form.format(number)) for number in numbers]
    try:
        found = match_rows(images(pool), rows)
    except NoRowTakenError:
        return
    for row, match in zip(rows, found, strict=True):
        if match.image >= 0:
            name = pool[match.image].rpartition("/")[2]
            assert row.id_text in (name, split_ending(name)[0])
    every = all(number < len(pool) for number in numbers)
    assert not every or [match.image for match in found] == list(numbers)


@settings(max_examples=150, deadline=None)
@given(POOLS, st.randoms(), st.integers(0, 3))
def test_ids_of_another_pool_lead_nowhere_else(pool: Sequence[str], random: Any, more: int) -> None:
    """A table of another version of the pool: the same names, other ids; some rows have lost their key."""
    other = random.sample([*pool, *(f"new/{n}.png" for n in range(more))], len(pool) + more)
    rows = [LabelRow(2, image=n, key=key, label="x", partial=True, id_text=str(n)) for n, key in enumerate(other)]
    for row, match in zip(rows, match_rows(images(pool), rows), strict=True):
        assert (
            match.image == pool.index(row.key)
            if row.key in pool and not more
            else match.image < 0 or (pool[match.image] == row.key)
        )
    lost = [*rows[:-1], LabelRow(2, image=rows[-1].image, label="x", partial=True, id_text=str(rows[-1].image))]
    try:
        last = match_rows(images(pool), lost)[-1]
    except NoRowTakenError:
        return
    if last.image >= 0 and other[: len(pool)] != list(pool):
        stem = split_ending(pool[last.image].rpartition("/")[2])[0]
        assert stem == str(rows[-1].image) or pool[last.image] == rows[-1].key or last.image == rows[-1].image


@pytest.mark.parametrize(
    ("row", "how"),
    [
        (LabelRow(2, image=1, key="a/2.png", partial=True), "id and key"),
        (LabelRow(2, image=1, pool="f00d", partial=True), "id"),
    ],
)
def test_an_id_counts_with_its_key_or_the_fingerprint_of_the_pool(row: LabelRow, how: str) -> None:
    assert match_rows(images(["a/1.png", "a/2.png"]), [row]) == [Match(1, how)]


def test_an_id_of_another_pool_by_its_fingerprint_counts_nowhere() -> None:
    pool = images(["a/1.png", "a/2.png"])
    assert match_rows(pool, [LabelRow(2, image=1, pool="beef", partial=True)])[0].image == UNKNOWN
    both = [LabelRow(2, image=0, key="a/2.png", pool="f00d", partial=True)]
    assert match_rows(pool, both)[0].image == ELSEWHERE  # the file contradicts itself


def test_what_is_ambiguous_among_numbers_is_refused_with_the_choices() -> None:
    pool = images(["1.png", "2.png", "3.png"])
    rows = [LabelRow(2, image=1, id_text="1", partial=True), LabelRow(3, image=2, id_text="2", partial=True)]
    said = "1 may be the file '1.png' by its name or the image with this number in the pool, '2.png'"
    with pytest.raises(NoRowTakenError, match=said) as caught:
        match_rows(pool, rows)
    assert "--key-column id" in caught.value.hint and "--ids-are-this-pools" in caught.value.hint
    assert [match.image for match in match_rows(pool, rows, own_ids=True)] == [1, 2]
    assert plain(["1.png", "2.png", "3.png"], ["1", "2"]) == [0, 1]  # what --key-column id makes of them
    beyond = [*rows, LabelRow(4, image=3, id_text="3", partial=True)]  # there is no id 3
    assert [match.image for match in match_rows(pool, beyond)] == [0, 1, 2]
    padded = images(["01.png", "02.png", "03.png"])
    with pytest.raises(NoRowTakenError):
        match_rows(padded, beyond)


POOL = ["cat/1.png", "cat/I MG.png", "dog/2.png", "dog/Größe.jpg", "3.png", "deep/er/4.png"]
CASES: Mapping[str, tuple[Sequence[str], Sequence[int], str]] = {  # names of one table → images
    "dog/2.png": (["dog/2.png"], [2], "whole key"),
    "Windows paths": (["dog\\2.png"], [2], "whole key, \\ as /"),
    "URL-quoted names": (["cat/I%20MG.png"], [1], "whole key, URL-quoted"),
    "a decomposed ö": (["dog/Gro\u0308ße.jpg"], [3], "whole key, in another Unicode form"),
    "./ and //": (["./cat//1.png"], [0], "whole key, without ./"),
    "blanks": ([" cat/1.png "], [0], "whole key, without blanks around it"),
    "an ending in capitals": (["cat/1.PNG"], [0], "whole key, ending in other letters' case"),
    "no ending": (["dog/2"], [2], "without its ending"),
    "another ending": (["dog/2.jpg"], [UNKNOWN], ""),
    "paths on this machine": ([f"{SOURCE}/dog/2.png"], [2], f"below '{SOURCE}/'"),
    "paths on another machine": (["C:\\me\\photos\\dog\\2.png"], [2], "\\ as /, below 'C:/me/photos/'"),
    "a bucket": (["s3://b/photos/dog/2.png?v=1"], [2], "from its URL, below 's3://b/photos/'"),
    "a file's URL": (["file:///old/photos/cat/I%20MG.png"], [1], "from its URL, below '/old/photos/'"),
    "two roots": (["/old/photos/dog/2.png", "/new/photos/cat/1.png"], [ELSEWHERE, ELSEWHERE], ""),
    "another folder": (["other/dog/2.png"], [ELSEWHERE], ""),
    "a name alone": (["2.png"], [ELSEWHERE], ""),
    "a name that two files have": (["1.png", "3.png"], [ELSEWHERE, 4], ""),
    "Label Studio's names": (
        ["/data/upload/2/1a2b3c4d-I_MG.png"], [1], "by the end of its key, without Label Studio's prefix",
    ),
    "Label Studio's local files": (["/data/local-files/?d=photos/dog/2.png"], [2], "from its URL, below 'photos/'"),
}  # fmt: skip


@pytest.mark.parametrize("title", CASES)
def test_the_cases_of_the_docs(title: str) -> None:
    names, wanted, how = CASES[title]
    found = matches(POOL, names)
    assert [match.image for match in found] == wanted
    assert not how or found[0].how == how


def test_names_alone_identify_images_where_that_is_said() -> None:
    assert plain(POOL, ["2.png", "1.png"], by_names=True) == [2, 0]
    assert plain([*POOL, "dog/1.png"], ["2.png", "1.png"], by_names=True) == [2, SEVERAL]
    assert plain(POOL, ["2.png", "cat/1.png"], by_names=True) == [ELSEWHERE, 0]  # other rows are whole keys
    assert plain(["x/cat/1.png", "y/dog/2.png"], ["cat/1.png", "dog/2.png"], by_names=True) == [ELSEWHERE] * 2
    assert plain(["all/1.png", "all/b/2.png"], ["1.png", "b/2.png"]) == [0, 1]  # a folder that all images are in


def test_a_bare_name_that_a_held_out_image_has_too_means_neither() -> None:
    def test() -> list[str]:
        return ["test/1.png", "test/9.png"]

    pool = ["train/1.png", "train/2.png"]
    assert plain(pool, ["1.png", "2.png"], held_out=test) == [ELSEWHERE, 1]
    assert plain(pool, ["train/1.png", "test/1.png"], held_out=test) == [0, UNKNOWN]
    assert plain(pool, ["1.png", "2.png"], held_out=test, by_names=True) == [0, 1]
    assert plain(pool, ["1.png", "2.png"]) == [0, 1]


def test_two_further_names_of_one_image_do_not_hide_another_image() -> None:
    renamed = {"x/a.png": 0, "y/a.png": 0, "z/a.png": 1}
    assert plain(["1.png", "2.png"], ["a.png"], aliases=renamed, by_names=True) == [SEVERAL]


def test_a_whole_key_is_clear_unless_the_file_is_written_otherwise() -> None:
    pool = ["1.png", "a/1.png", "a/2.png"]
    assert plain(pool, ["1.png"]) == [0]
    assert plain(pool, ["1.png", "2.png"], by_names=True) == [SEVERAL, 2]  # the table names a's files alone
    quoted = ["a%20b.png", "a b.png", "c d.png"]
    assert plain(quoted, ["a%20b.png", "a b.png"]) == [0, 1]
    assert plain(quoted, ["a%20b.png", "c%20d.png"]) == [SEVERAL, 2]
    assert plain(["n/1.png", "n/1.jpg"], ["n/1", "n/1.png"]) == [SEVERAL, 0]


def test_renamed_files_are_found_by_their_new_names() -> None:
    assert plain(POOL, ["dog/new.png", "dog/2.png"], aliases={"dog/new.png": 0}) == [0, 2]
    assert matches(POOL, ["dog/new.png"], aliases={"dog/new.png": 0})[0].how == "whole key, renamed since"


NAMES = st.sampled_from(["0", "1", "2", "10", "a", "A", "b", " a", "cat", "Cat", "CAT ", "é", "e\u0301", "b 1"])


@settings(max_examples=500)
@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), NAMES)
def test_a_label_is_its_class_or_none(classes: Sequence[str], label: str) -> None:
    numbers = {name: number for number, name in enumerate(classes)}
    number, note = class_of(label, numbers)
    if label in numbers:
        assert (number, note) == (numbers[label], "")
    elif number is not None:
        same = [name for name in classes if _alike(name) == _alike(label)]
        assert classes[number] in same and note == f"read as '{classes[number]}'"
        assert len(same) == 1 or [name.strip() for name in same].count(label.strip()) == 1 or "é" in classes[number]


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


@pytest.mark.parametrize(
    ("data", "assumed"),
    [
        (b"key,label\na/1.png,cat\n", ()),
        ("\ufeffkey,label\r\na/1.png,cat\r\n".encode(), ()),
        (b"Key ; LABEL\na/1.png;cat\n", ("its cells are separated by semicolons",)),
        (b'"sep=;"\n"key";"label"\n"a/1.png";"cat"\n', ("its cells are separated by semicolons",)),
        (b"sep=|\rfile|class\ra/1.png|cat\r", ("its cells are separated by vertical bars",)),
        (b"id\tkey\tlabel\n9\ta/1.png\tcat\n", ("its cells are separated by tabs",)),
        (
            "key;label\na/1.png;cat\n".encode("utf-16"),
            ("it is written in UTF-16; --encoding names another", "its cells are separated by semicolons"),
        ),
        ("key,label\na/1.png,cat\n".encode("utf-16-be"), ("it is written in UTF-16-BE; --encoding names another",)),
        ("key,label,by\na/1.png,cat,Zoë\n".encode("cp1252"), ("it is written in CP1252; --encoding names another",)),
        (b"key,label,,\na/1.png,cat,,\n\n", ()),
    ],
)
def test_tables_as_people_have_them(data: bytes, assumed: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    said: list[str] = []
    (row,) = read_rows(tmp_path / "t.csv", "csv", Columns(), said.append)
    assert (row.key, row.label, row.wrong, tuple(said)) == ("a/1.png", "cat", "", assumed)


def test_a_name_that_another_class_had_before_is_told() -> None:
    classes = ClassList.of(["cat", "dog"]).after({"change": "renamed", "class": 0, "name": "animal"})
    classes = classes.after({"change": "renamed", "class": 1, "name": "cat"})
    note = "read as the present class of this name; 'animal' had it before"
    assert class_of("cat", classes.numbers, classes) == (1, note)
    assert class_of("animal", classes.numbers, classes) == (0, "")
    assert class_of("dog", classes.numbers, classes) == (1, "read as 'cat', its name by now")
