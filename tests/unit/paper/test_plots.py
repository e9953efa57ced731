"""The pictures of exhibits: no text overlaps another, wide or narrow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.picture_checks import check, texts

from asal.paper import costs, setups
from asal.paper.plots import Row, draw_crossings, draw_rows, draw_scaling, draw_table
from asal.paper.timings import Timing
from asal.project.spec import load, shipped
from asal.reports.theme import render, styled

pytestmark = pytest.mark.slow

both = pytest.mark.parametrize("narrow", [False, True])
INF = float("inf")


@pytest.fixture(autouse=True)
def as_on_a_page() -> Iterator[None]:
    with styled("test"):
        yield


def timings(largest: int, predicted: int = 10**9) -> list[Timing]:
    """Return figure 6's timings up to this size; from `predicted` images on they are not measured."""
    return [
        Timing(name, n, 1e-5 * n ** (0.2 if "asal" in name else 1.0), 0.0, 0.0, 0, n >= predicted)
        for n in costs.sizes(largest)
        for name in costs.COMPARED
    ]


@both
@pytest.mark.parametrize("largest", [4_000, 160_000, 16_000_000])
def test_seconds_against_sizes_can_be_read(largest: int, narrow: bool) -> None:
    check(draw_scaling(timings(largest), "seconds")(narrow))


@both
def test_what_is_predicted_is_dashed_from_the_last_that_is_not(narrow: bool) -> None:
    figure = draw_scaling(timings(160_000, predicted=80_000), "seconds")(narrow)
    (axes, *_) = figure.axes
    lines = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert len(lines) == len(costs.COMPARED)
    assert all(list(line.get_xdata()) == [40_000, 80_000, 160_000] for line in lines)
    check(figure)


@both
@pytest.mark.parametrize(
    "values",
    [(1.0, 20.0, 3e5), (INF, 20.0, 30.0), (INF, INF, INF), (5.0, 5.0, 5.0)],
    ids=["far", "late", "never", "level"],
)
def test_transitions_can_be_read(values: tuple[float, ...], narrow: bool) -> None:
    rounds = dict(zip((10_000, 40_000, 160_000), values, strict=True))
    figure = draw_crossings({"asal, k-d tree": rounds, "asal, exact scan": rounds})(narrow)
    check(figure)
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    finite = [n for n, value in rounds.items() if value < INF]
    assert [list(line.get_xdata()) for line in drawn] == ([finite, finite] if finite else [])
    assert ("nothing is saved" in [text for text, _ in texts(figure)]) == (not finite)


def test_a_line_has_the_same_colour_in_both_pictures() -> None:
    names = ["maximum entropy", "asal, k-d tree", "asal, exact scan"]
    left = draw_scaling([Timing(name, n, 1.0 * n, 0.0, 0.0, 0) for name in names for n in (10, 20)], "seconds")(False)
    right = draw_crossings({name: {10: 3.0, 20: 2.0} for name in names[1:]}, names)(False)
    colours = [[line.get_color() for line in figure.axes[0].lines] for figure in (left, right)]
    assert colours[1] == colours[0][1:]


def rows_of(shape: tuple[int, int, int]) -> list[Row]:
    images = np.arange(10 * np.prod(shape)).reshape(10, *shape).astype(np.uint8)
    names = [f"automobile\n{n}" for n in range(160_000, 160_010)]
    synthetic = Row("synthetic", "mean entropy 0.693", images, ["0.69"] * 10)
    return [
        synthetic,
        *(Row(f"matched by {space}", "mean entropy 0.421", images, names) for space in ("pixels", "classifier")),
    ]


@both
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (40, 20, 3)])
def test_rows_of_images_can_be_read(shape: tuple[int, int, int], narrow: bool) -> None:
    figure = draw_rows(rows_of(shape))(narrow)
    check(figure)
    assert len(figure.axes[0].images) == 3 * (5 if narrow else 10)


def test_an_image_that_is_drawn_twice_has_no_duplicate_id() -> None:
    picture = render("rows", draw_rows(rows_of((8, 8, 1))))
    for svg in (picture.wide, picture.narrow):
        assert svg.count("<image ") > 10 and 'id="image' not in svg


@both
def test_table_1_as_a_picture_can_be_read(narrow: bool) -> None:
    rows = [setups.row(name, load(shipped(name))) for name in setups.BENCHMARKS]
    check(draw_table(setups.HEADS, [[str(row[head]) for head in setups.HEADS] for row in rows])(narrow))


@both
def test_table_2_as_a_picture_can_be_read(narrow: bool) -> None:
    lines = [(name, *of, "0.00833", "0.00889", "160,000") for name, of in costs.COMPLEXITY.items()]
    heads = ("method", "features, per round", "selection", "seconds", "with reading", "evaluations")
    check(draw_table(heads, lines)(narrow))
