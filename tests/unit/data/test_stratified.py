"""Splits of which each class has its share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asal.data.ingest import ingest
from asal.data.sources.arrays import Arrays
from asal.data.splits import Split, make_splits
from asal.data.stratified import scarce, stratified
from asal.errors import UserError
from asal.project.spec import parse
from asal.runtime import artifacts

counts_of_classes = st.lists(st.integers(1, 60), min_size=1, max_size=8)


def drawn(counts: list[int], unknown: int, held: tuple[int, int], train: int, seed: int = 0) -> dict[str, npt.NDArray]:
    """Return the labels of each part."""
    labels = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(unknown, -1)])
    rng = np.random.default_rng(seed)
    rng.shuffle(labels)
    sizes = {"validation": held[0], "test": held[1]}
    parts = stratified(rng.permutation(len(labels)), labels, sizes, train)
    rows = np.concatenate(list(parts.values()))
    assert len(np.unique(rows)) == len(rows), "an image is in two parts"
    assert all((np.diff(part) > 0).all() for part in parts.values())
    assert {name: len(part) for name, part in parts.items()} == {**sizes, "pool": train}
    return {name: labels[part] for name, part in parts.items()}


@given(counts_of_classes, st.integers(0, 20), st.data())
def test_each_class_has_its_share_and_one_in_the_pool(counts: list[int], unknown: int, data: st.DataObject) -> None:
    spare = sum(counts) - len(counts)
    validation = data.draw(st.integers(0, spare))
    test = data.draw(st.integers(0, spare - validation))
    n = sum(counts) + unknown
    parts = drawn(counts, unknown, (validation, test), n - validation - test, data.draw(st.integers(0, 9)))
    held = {name: np.bincount(parts[name], minlength=len(counts)) for name in ("validation", "test")}  # refuses −1
    pool = np.bincount(parts["pool"][parts["pool"] >= 0], minlength=len(counts))
    assert (pool >= 1).all() and (pool + held["validation"] + held["test"] == counts).all()
    share = validation * np.array(counts) / sum(counts)
    if (np.ceil(share) < counts).all():  # no class is too small for its share
        assert (np.abs(held["validation"] - share) < 1).all()


@given(counts_of_classes, st.data())
def test_a_smaller_pool_has_each_class_and_the_same_test_set(counts: list[int], data: st.DataObject) -> None:
    test = data.draw(st.integers(0, sum(counts) - len(counts)))
    train = data.draw(st.integers(len(counts), sum(counts) - test))
    smaller = drawn(counts, 0, (0, test), train)
    assert set(smaller["pool"]) == set(range(len(counts)))
    assert np.array_equal(smaller["test"], drawn(counts, 0, (0, test), sum(counts) - test)["test"])


def test_more_than_the_classes_can_spare_is_refused() -> None:
    drawn([3, 2], 5, (0, 3), 7)
    with pytest.raises(UserError, match="test = 4 is more than the 3 labelled images"):
        drawn([3, 2], 5, (0, 4), 6)


def of_arrays(folder: Path, labels: list[int]) -> Arrays:
    images = np.random.default_rng(0).integers(255, size=(len(labels), 4, 4), dtype=np.uint8)
    np.savez(folder / "set.npz", images=images, labels=np.array(labels))
    return Arrays(str(folder / "set.npz"))


def test_a_split_of_a_source_is_stratified_where_it_says_so(tmp_path: Path) -> None:
    source = of_arrays(tmp_path, [0] * 90 + [1] * 10)
    test = {on: make_splits(source, Split(test=20, stratified=on, seed=3))["test"] for on in (True, False)}
    (plain, even) = (np.bincount(test[on].labels) for on in (False, True))  # type: ignore[arg-type]
    assert even.tolist() == [18, 2] and plain.tolist() != [18, 2]
    again = make_splits(source, Split(test=20, stratified=True, seed=3))["test"]
    assert np.array_equal(again.rows, test[True].rows)
    assert not np.array_equal(make_splits(source, Split(test=20, stratified=True, seed=4))["test"].rows, again.rows)


def test_a_source_without_labels_cannot_be_stratified(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((10, 2, 2), np.uint8))
    with pytest.raises(UserError, match="no labels, by which a split could be stratified"):
        make_splits(Arrays(str(tmp_path / "x.npy")), Split(test=3, stratified=True))


def test_a_pool_keeps_the_split_that_it_was_made_with(tmp_path: Path) -> None:
    source = of_arrays(tmp_path, [0, 1] * 20)
    for name, on in (("old", False), ("new", True)):
        with artifacts.exclusive(tmp_path / name):
            ingest(source, tmp_path / name, Split(test=10, stratified=on), gray=True)
        assert ("stratified" in artifacts.manifest(tmp_path / name / "pool")["options"]["split"]) == on
        ingest(source, tmp_path / name, Split(test=10, stratified=on), gray=True)
        with pytest.raises(UserError, match=r"split.stratified was .* and is"):
            ingest(source, tmp_path / name, Split(test=10, stratified=not on), gray=True)


def test_specs_without_the_key_are_dumped_and_hashed_as_before() -> None:
    table = {"name": "x", "source": {"kind": "digits"}, "pool": {"split": {"test": 5}}}
    before, off = parse(table), parse({**table, "pool": {"split": {"test": 5, "stratified": False}}})
    on = parse({**table, "pool": {"split": {"test": 5, "stratified": True}}})
    assert "stratified" not in before.model_dump()["pool"]["split"] and on.model_dump()["pool"]["split"]["stratified"]
    assert before.hash == off.hash != on.hash


def test_names_of_classes_with_few_test_images_are_printed_as_they_are() -> None:
    (line,) = scarce(np.repeat([0, 1], [9, 9]), ["cat (indoor)", "dog"])
    assert line.endswith(": 'cat (indoor)' 9 (± 33 points), 'dog' 9 (± 33)")
