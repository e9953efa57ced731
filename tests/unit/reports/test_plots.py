"""No text of a picture overlaps another, with two strategies as with fourteen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from support.picture_checks import check, overlapping, texts
from support.run_folders import results_of, write_experiment

from asal.experiments.metrics import curve
from asal.experiments.pairwise import Matrix, WinTieLoss
from asal.experiments.results import Reference, load
from asal.reports.plots import draw_curves, draw_matrix, draw_spent
from asal.reports.theme import SHADES, pens, styled

pytestmark = pytest.mark.slow

NAMES = [
    "random", "uncertainty", "subset-100", "subset-1000", "asal-pixels", "asal-autoencoder", "asal-discriminator",
    "asal-classifier", "asal-rerank", "gaal", "adba", "margin-svm", "hyperplane-hash", "learning-loss",
]  # fmt: skip
WORDS = ("beats more", "even", "loses more")


@pytest.fixture(autouse=True)
def as_in_a_report() -> Iterator[None]:
    with styled("test"):
        yield


def matrix_of(names: list[str], seeds: int) -> Matrix:
    cells = {pair: WinTieLoss(seeds, 0, 0, 1) for pair in itertools.combinations(names, 2)}
    return Matrix(tuple(names), cells | {(b, a): WinTieLoss(0, 0, seeds, -1) for a, b in cells})


def test_the_check_of_overlaps_can_fail() -> None:
    boxes = [Bbox([[0, 0], [10, 10]]), Bbox([[8, 8], [20, 20]]), Bbox([[9.5, 0], [20, 5]]), Bbox([[30, 0], [31, 90]])]
    assert overlapping(boxes) == [(0, 1)]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("count", [2, 5, 14])
@pytest.mark.parametrize("seeds", [5, 100])
def test_a_matrix_can_be_read(count: int, seeds: int, narrow: bool) -> None:
    figure = draw_matrix(matrix_of(NAMES[:count], seeds), WORDS)(narrow)
    check(figure)
    cells = [it.get_window_extent() for it in figure.findobj(Rectangle) if it.get_width() > 0.2]
    inside = [box for text, box in texts(figure) if text in {"0", str(seeds), f"{seeds}–0–0", f"0–0–{seeds}"}]
    held = [box for box in inside if any(cell.x0 <= box.x0 and box.x1 <= cell.x1 for cell in cells)]
    assert len(held) >= count * (count - 1)


def test_a_long_name_has_room_too() -> None:
    for narrow in (False, True):
        check(draw_matrix(matrix_of([*NAMES, "asal-autoencoder-reranked-k=20"], 10), WORDS)(narrow))


def test_the_shade_says_how_far_the_row_is_ahead() -> None:
    cells = {
        ("a", "b"): WinTieLoss(3, 0, 0, 1.0),
        ("a", "c"): WinTieLoss(1, 2, 0, 1 / 3),
        ("b", "c"): WinTieLoss(1, 1, 1, 0.0),
    }
    mirror = {(b, a): WinTieLoss(t.losses, t.ties, t.wins, -t.lead) for (a, b), t in cells.items()}
    figure = draw_matrix(Matrix(("a", "b", "c"), cells | mirror), WORDS)(False)
    drawn = [it for it in figure.findobj(Rectangle) if it.get_width() > 0.2 and it.get_height() < 1]
    colours = [matplotlib.colors.to_hex(it.get_facecolor()) for it in drawn]
    assert colours == [SHADES[i] for i in (6, 4, 3, 0, 2, 3)]  # in the order of the cells


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    saved = dict(zip(NAMES, np.linspace(0, 0.9, len(NAMES)), strict=True))
    return write_experiment(tmp_path_factory.mktemp("many"), saved, seeds=2, rounds=12, counted=True)


@pytest.mark.parametrize("narrow", [False, True])
def test_fourteen_lines_can_be_read(many: Path, narrow: bool) -> None:
    lines = [line for name in NAMES if (line := curve(load(many), name))]
    full = Reference(0.989, (0.988, 0.99), None, {})
    looks = pens(NAMES, "random")
    check(draw_spent(lines, looks, full)(narrow))
    check(draw_curves(lines, looks, "test accuracy", reference=full)(narrow))


@pytest.mark.parametrize("narrow", [False, True])
def test_one_bad_strategy_does_not_flatten_the_good_ones(tmp_path: Path, narrow: bool) -> None:
    good = {f"good-{i}": [[0.9, 0.97 + i / 500, 0.98 + i / 500]] for i in range(5)}
    results = results_of(tmp_path, good | {"bad": [[0.5, 0.6, 0.7]], "lucky": [[0.9, 0.96, 0.97], [0.9, 0.97, 1.0]]})
    lines = [line for name in results.strategies if (line := curve(results, name))]
    full = Reference(0.997, (0.996, 0.9985), None, {})
    figure = draw_curves(lines, pens(list(results.strategies), "bad"), "test accuracy", reference=full)(narrow)
    check(figure)
    (axes,) = figure.axes
    assert axes.get_ylim()[1] > full.high, "full supervision is on the axis"
    heights = axes.transAxes.inverted().transform(axes.transData.transform([(10, y) for y in (0.7, 0.98, 0.988)]))[:, 1]
    assert heights[2] - heights[1] > 0.08
    assert 0 < heights[0] < heights[2] < 1
    assert "log scale" in axes.get_ylabel()


def test_a_strategy_without_errors_is_drawn_too(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"good": [[0.9, 1.0, 1.0]], "bad": [[0.5, 0.6, 0.7]]})
    lines = [line for name in results.strategies if (line := curve(results, name))]
    (axes,) = draw_curves(lines, pens(["good", "bad"], "bad"), "test accuracy")(False).axes
    assert axes.get_ylim()[1] > 1


def test_a_strategy_without_classifier_is_drawn_at_zero(tmp_path: Path) -> None:
    results_of(tmp_path / "a", {"random": [[0.5, 0.6, 0.7]]}, evaluations=0)
    results_of(tmp_path / "b", {"uncertainty": [[0.5, 0.7, 0.8]]}, evaluations=9_000)
    lines = [curve(load(tmp_path / "a"), "random"), curve(load(tmp_path / "b"), "uncertainty")]
    (axes,) = draw_spent([line for line in lines if line], pens(["random", "uncertainty"], "random"))(False).axes
    assert axes.get_xlim()[0] < 0, "zero is on the axis, and not at its very edge"
    assert axes.get_xticks().tolist() == [0, 1_000, 10_000]
    steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert [line.get_xdata().tolist() for line in steps] == [[0, 0, 0], [0, 9_000, 18_000]]
