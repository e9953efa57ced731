"""The report's pictures: curves over labels and over evaluations, seconds, the matrix, and synthetic images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter

from asal.experiments import pairs
from asal.experiments.metrics import Cost, Curve
from asal.experiments.pairwise import Matrix, WinTieLoss
from asal.experiments.results import Reference
from asal.reports.theme import GREY, HUES, INK, LETTER, NARROW, SHADES, SIZE, SMALL, SOFT, WIDE, Draw, Pen, axes_in
from asal.runtime.meter import Meter

LOG_FROM = 10  # times more errors at the bottom of the axis than in the best curve: then the axis is logarithmic
TICKS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.997, 0.998, 0.999)  # of that axis
DIGIT = 0.64 / 72  # inches that a digit takes, for each point of its size
PASSES = "images put through the classifier to choose what to label, all rounds together"

Pixels: TypeAlias = npt.NDArray[np.uint8]


def draw_curves(
    curves: Sequence[Curve],
    looks: Mapping[str, Pen],
    ylabel: str,
    *,
    percent: bool = True,
    reference: Reference | None = None,
) -> Draw:
    """Draw mean lines with the seeds' extremes as bands, named at their ends (wide) or below (narrow)."""

    def draw(narrow: bool) -> Figure:
        figure, axes = _frame(curves, narrow)
        alpha = min(0.14, 0.8 / len(curves))
        for curve in curves:
            pen = looks[curve.strategy]
            axes.fill_between(curve.labels, curve.low, curve.high, color=pen.colour, alpha=alpha, linewidth=0)
            marker = "o" if len(curve.labels) == 1 else ""
            axes.plot(curve.labels, curve.mean, color=pen.colour, linestyle=pen.dashes, linewidth=1.7, marker=marker)
        first, last = min(curve.labels[0] for curve in curves), max(curve.labels[-1] for curve in curves)
        axes.set_xlim(first, last if last > first else first + 1)
        axes.set_xlabel("labelled images")
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 7, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        if percent:
            _accuracies(axes, curves, reference)
        else:
            axes.set_ylim(bottom=0 if min(curve.low.min() for curve in curves) >= 0 else None)
        (_legend if narrow else _end_labels)(axes, curves, looks)
        return figure

    return draw


def draw_spent(curves: Sequence[Curve], looks: Mapping[str, Pen], reference: Reference | None = None) -> Draw:
    """Draw accuracy against the number of images put through the classifier, on a log scale that begins at zero.

    A step holds until the next training's evaluations are paid for. A strategy that does not use the classifier is a
    vertical line at zero; dots mark the quarters of the labels on every line.
    """

    def draw(narrow: bool) -> Figure:
        figure, axes = _frame(curves, narrow)
        spent = np.concatenate([curve.spent for curve in curves])
        first, last = (math.floor(math.log10(x)) for x in (spent[spent > 0].min(), spent.max()))
        axes.set_xscale("symlog", linthresh=10**first, linscale=0.35)
        axes.set_xlim(-0.12 * 10**first, 1.15 * spent.max())
        for curve in curves:
            pen = looks[curve.strategy]
            axes.step(curve.spent, curve.mean, where="post", color=pen.colour, linestyle=pen.dashes, linewidth=1.5)
            quarters = np.linspace(curve.labels[0], curve.labels[-1], 5)[1:]
            dots = np.abs(curve.labels - quarters[:, None]).argmin(1)
            axes.plot(curve.spent[dots], curve.mean[dots], "o", color=pen.colour, markersize=3.6)
        axes.set_xticks([0, *(10**power for power in range(first, last + 1))], minor=False)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel("images through the classifier, all rounds" if narrow else PASSES)
        axes.set_ylabel("test accuracy")
        _accuracies(axes, curves, reference)
        (_legend if narrow else _end_labels)(axes, curves, looks)
        return figure

    return draw


def _frame(curves: Sequence[Curve], narrow: bool) -> tuple[Figure, Axes]:
    """Return axes with room for the names of the lines: to the right, or below."""
    room = min(3.1, LETTER * max(len(_title(curve)) for curve in curves) + 0.6)
    below = 0.188 * len(curves) + 0.05 if narrow else 0.0
    figure = Figure(figsize=(NARROW if narrow else WIDE, 2.9 + below if narrow else 4.6))
    axes = axes_in(figure, 0.86, 0.15 if narrow else room, 0.52 + below, 0.12)
    axes.grid(axis="y")
    return figure, axes


def _title(curve: Curve) -> str:
    return curve.strategy if curve.finished else f"{curve.strategy} (unfinished)"


def axis_floor(curves: Sequence[Curve]) -> float:
    """Return where the accuracy axis begins: means of the first tenth of the budget may lie below, no later ones."""
    labels, means = (np.concatenate([getattr(curve, name) for curve in curves]) for name in ("labels", "mean"))
    return float(means[labels >= labels.min() + np.ptp(labels) / 10].min())


def _accuracies(axes: Axes, curves: Sequence[Curve], reference: Reference | None) -> None:
    floor, best = axis_floor(curves), max(curve.mean.max() for curve in curves)
    top = max(curve.high.max() for curve in curves)
    top = max(top, reference.high) if reference else top
    full = [reference.accuracy, reference.high] if reference else []
    if max([best, *full[:1]]) < 1 and 1 - floor > LOG_FROM * (1 - best):
        _by_errors(axes, floor, (1 - max(level for level in (best, *full) if level < 1)) / 2)
    else:
        margin = max(0.04 * (top - floor), 1e-3)
        axes.set_ylim(floor - margin, top + margin)
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol="%"))
    if reference:
        axes.axhspan(reference.low, reference.high, color=INK, alpha=0.1, linewidth=0)
        axes.axhline(reference.accuracy, color=INK, linestyle=(0, (4, 3)), linewidth=1)
        axes.annotate(
            f"all labels: {reference.accuracy:.1%}", (0, reference.accuracy), (4, 2), ("axes fraction", "data"),
            textcoords="offset points", color=SOFT,
        )  # fmt: skip


def _by_errors(axes: Axes, floor: float, least: float) -> None:
    """Space accuracies by the logarithm of the errors, down to `least`: else one bad strategy flattens the rest."""
    axes.set_yscale("function", functions=(lambda y: -np.log(np.maximum(1 - y, least / 2)), lambda v: 1 - np.exp(-v)))
    axes.set_ylim(floor - 0.04 * (1 - floor), 1 - least)
    axes.set_yticks([tick for tick in TICKS if floor <= tick <= 1 - least] or [floor, 1 - 2 * least])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.4g}%")
    axes.set_ylabel(f"{axes.get_ylabel()}, errors on a log scale")


def _end_labels(axes: Axes, curves: Sequence[Curve], looks: Mapping[str, Pen]) -> None:
    """Name each line to the right of its end, in the order of the ends, moved apart where they lie close."""
    box, dpi = axes.get_window_extent(), axes.figure.dpi
    width, height = box.width / dpi, box.height / dpi  # inches
    order = sorted(curves, key=lambda curve: curve.mean[-1])
    ends = axes.transAxes.inverted().transform(axes.transData.transform([(0, curve.mean[-1]) for curve in order]))[:, 1]
    for curve, place in zip(order, spread(ends, SIZE * 1.4 / 72 / height), strict=True):
        pen = looks[curve.strategy]
        sample = Line2D([1 + 0.1 / width, 1 + 0.42 / width], [place] * 2, color=pen.colour, linestyle=pen.dashes)
        sample.set(linewidth=2, clip_on=False, transform=axes.transAxes)
        axes.add_artist(sample)
        axes.text(1 + 0.5 / width, place, _title(curve), va="center", transform=axes.transAxes)


def spread(places: npt.NDArray[np.float64], gap: float) -> npt.NDArray[np.float64]:
    """Move ascending places in 0 … 1 at least `gap` apart, in order, each as little as a sweep up and down can."""
    out = np.clip(places, 0, 1)
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + gap)
    out[-1:] = np.minimum(out[-1:], 1.0)
    for i in range(len(out) - 2, -1, -1):
        out[i] = min(out[i], out[i + 1] - gap)
    return out


def _legend(axes: Axes, curves: Sequence[Curve], looks: Mapping[str, Pen]) -> None:
    order = sorted(curves, key=lambda curve: -curve.mean[-1])
    looks_of = [looks[curve.strategy] for curve in order]
    lines = [Line2D([], [], color=pen.colour, linestyle=pen.dashes, linewidth=2) for pen in looks_of]
    axes.figure.legend(
        lines, [_title(curve) for curve in order], loc="lower left", bbox_to_anchor=(0.02, 0),
        frameon=False, borderaxespad=0.2, labelspacing=0.45, handlelength=2.6,
    )  # fmt: skip


def draw_times(costs: Mapping[str, Cost]) -> Draw:
    """Draw the mean seconds per round, one bar per strategy, split by kind of work."""

    def draw(narrow: bool) -> Figure:
        width, height = NARROW if narrow else WIDE, 0.46 * len(costs) + 0.95
        figure = Figure(figsize=(width, height))
        axes = axes_in(figure, 0.12, 0.75, 0.5, 0.36)
        left = np.zeros(len(costs))
        for part, colour in zip(Meter.PARTS, (GREY, *HUES), strict=False):
            seconds = np.array([cost.seconds[part] for cost in costs.values()])
            axes.barh(np.arange(len(costs)), seconds, left=left, height=0.42, color=colour, label=part, linewidth=0)
            left += seconds
        for row, (name, total) in enumerate(zip(costs, left, strict=True)):
            axes.annotate(name, (0, row - 0.24), (1, 1), textcoords="offset points", va="bottom")
            axes.annotate(f"{total:#,.3g} s", (total, row), (4, 0), textcoords="offset points", va="center", color=SOFT)
        axes.set(ylim=(len(costs) - 0.6, -0.75), xlim=(0, max(left.max(), 1e-9)), yticks=[], xlabel="seconds per round")
        axes.spines["left"].set_color(SOFT)
        axes.locator_params(axis="x", nbins=4 if narrow else 7)
        figure.legend(
            ncols=5, loc="upper left", bbox_to_anchor=(0.02, 1), frameon=False,
            borderaxespad=0.1, handlelength=0.9, handletextpad=0.4, columnspacing=0.9,
        )  # fmt: skip
        return figure

    return draw


@dataclass(frozen=True)
class MatchedPairs:
    """Synthetic images and the real ones that were matched to them; m of each."""

    strategy: str
    synthetic: Pixels  # (m, h, w, c)
    matched: Pixels  # (m, h, w, c)
    captions: list[str]  # (m,)  class and id of the match, on two lines
    scores: tuple[float, float]  # mean of the synthetic images and of their matches


def read_pairs(path: Path, strategy: str, classes: Sequence[str]) -> MatchedPairs:
    """Read the pairs that a generating strategy wrote beside its rows."""
    stored = pairs.read(path, len(classes))
    named = [_short(str(classes[label])) if label >= 0 else "?" for label in stored["labels"]]
    captions = [f"{name}\n{number}" for name, number in zip(named, stored["ids"], strict=True)]
    scores = float(np.mean(stored["scores"])), float(np.mean(stored["match_scores"]))
    return MatchedPairs(strategy, stored["synthetic"], stored["matched"], captions, scores)


def _short(name: str, longest: int = 11) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def draw_pairs(blocks: Sequence[MatchedPairs], score: str) -> Draw:
    """Draw the paper's Fig. 2: for each strategy a row of synthetic images above the row of their matches."""

    def draw(narrow: bool) -> Figure:
        width, columns = (NARROW, 5) if narrow else (WIDE, 10)
        cell, gap = (width - 0.1) / columns, 0.07
        heights = [2 * (cell - gap) * _aspect(block) + gap + 0.92 for block in blocks]
        figure = Figure(figsize=(width, sum(heights)))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        top = 0.0
        for block, height in zip(blocks, heights, strict=True):
            _block(axes, block, score, top, cell, gap, columns)
            top += height
        axes.set(xlim=(0, width), ylim=(sum(heights), 0))  # inches, downwards
        return figure

    return draw


def _aspect(block: MatchedPairs) -> float:
    return float(block.synthetic.shape[1] / block.synthetic.shape[2])


def _block(axes: Axes, block: MatchedPairs, score: str, top: float, cell: float, gap: float, columns: int) -> None:
    synthetic, matched = block.scores
    axes.text(0.05, top + 0.18, block.strategy, weight="bold")
    means = f"above: synthetic, mean {score} {synthetic:.3f}; below: matched, {matched:.3f}"
    axes.text(0.05, top + 0.35, means, color=SOFT, size=SMALL)
    tall = (cell - gap) * _aspect(block)
    for column in range(min(columns, len(block.captions))):
        left, upper = 0.05 + column * cell + gap / 2, top + 0.42
        for images, y in ((block.synthetic, upper), (block.matched, upper + tall + gap)):
            shown = np.broadcast_to(images[column], (*images[column].shape[:2], 3))
            axes.imshow(shown, extent=(left, left + cell - gap, y + tall, y), interpolation="none")
        axes.text(
            left + (cell - gap) / 2, upper + 2 * tall + gap + 0.04, block.captions[column],
            ha="center", va="top", size=SMALL, color=SOFT, linespacing=1.15,
        )  # fmt: skip


def draw_matrix(matrix: Matrix, words: tuple[str, str, str]) -> Draw:
    """Draw each row's wins – ties – losses against each column; `words` explain the dark, middle and light shades.

    Columns show names where all fit, else the numbers of the rows. Where three numbers do not fit, a cell shows
    the wins alone: the losses are the wins of the cell across the diagonal.
    """

    def draw(narrow: bool) -> Figure:
        grid = _Grid.fitting(matrix, NARROW if narrow else WIDE)
        figure = Figure(figsize=(grid.width, grid.height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, grid.width), ylim=(grid.height, 0))  # inches, downwards
        for i, name in enumerate(matrix.strategies):
            left, upper = grid.left + i * grid.cell, grid.top + i * grid.tall
            number = "" if grid.names_above else f"{i + 1}"
            head = name if grid.names_above else number
            axes.text(left + grid.cell / 2, grid.top - 0.08, head, ha="center", va="bottom", color=SOFT)
            row = f"{number}  {name}".strip() if grid.names_left else number
            axes.text(grid.left - 0.1, upper + grid.tall / 2, row, ha="right", va="center_baseline")
            if not grid.names_left:
                y = grid.top + grid.tall * len(matrix.strategies) + 0.62 + 0.188 * i
                axes.text(0.28, y, number, ha="right", va="baseline", color=SOFT)
                axes.text(0.4, y, name, va="baseline")
        for row, column in matrix.cells:
            _cell(axes, grid, matrix, row, column)
        _key(axes, grid, words, grid.top + grid.tall * len(matrix.strategies) + 0.16)
        return figure

    return draw


@dataclass(frozen=True)
class _Grid:
    """Where things lie in the picture of a matrix, in inches."""

    width: float
    height: float
    left: float
    top: float
    cell: float  # width of a cell
    tall: float  # its height
    names_left: bool
    names_above: bool
    full: bool  # cells show wins, ties and losses
    size: float  # of the letters in a cell, in points

    @classmethod
    def fitting(cls, matrix: Matrix, width: float) -> _Grid:
        n, longest = len(matrix.strategies), LETTER * max(map(len, matrix.strategies))
        names_left = (width - longest - 0.5) / n >= 0.34
        left = longest + 0.5 if names_left else 0.36
        cell = min(1.15, (width - left - 0.05) / n)
        letters = max(len(_counts(cell)) for cell in matrix.cells.values())
        size = next((size for size in (SIZE, SMALL) if letters * DIGIT * size + 0.06 <= cell), None)
        tall, top = min(0.36, max(cell, 0.26)), 0.34
        height = top + tall * n + 0.42 + (0 if names_left else 0.188 * n + 0.12)
        full = size is not None
        return cls(width, height, left, top, cell, tall, names_left, longest <= cell, full, size or SMALL)


def _counts(cell: WinTieLoss) -> str:
    return f"{cell.wins}–{cell.ties}–{cell.losses}"


def _cell(axes: Axes, grid: _Grid, matrix: Matrix, row: str, column: str) -> None:
    cell = matrix.cells[row, column]
    left = grid.left + matrix.strategies.index(column) * grid.cell
    upper = grid.top + matrix.strategies.index(row) * grid.tall
    middle = len(SHADES) // 2
    shade = SHADES[middle + math.ceil(abs(cell.lead) * middle - 1e-9) * int(np.sign(cell.lead))]
    axes.add_patch(Rectangle((left, upper), grid.cell - 0.02, grid.tall - 0.02, facecolor=shade, linewidth=0))
    text = _counts(cell) if grid.full else str(cell.wins)
    centre = left + grid.cell / 2 - 0.01, upper + grid.tall / 2 - 0.01
    axes.text(*centre, text, ha="center", va="center_baseline", size=grid.size)


def _key(axes: Axes, grid: _Grid, words: tuple[str, str, str], y: float) -> None:
    letter = LETTER * SMALL / SIZE
    left = max(0.05, min(grid.left, grid.width - 1.6 - letter * sum(map(len, words))))
    axes.text(left, y, "row:", va="center_baseline", size=SMALL, color=SOFT)
    left += 0.36
    for shade, word in zip((SHADES[-1], SHADES[len(SHADES) // 2], SHADES[0]), words, strict=True):
        axes.add_patch(Rectangle((left, y - 0.06), 0.16, 0.12, facecolor=shade, linewidth=0))
        axes.text(left + 0.22, y, word, va="center_baseline", size=SMALL, color=SOFT)
        left += 0.4 + letter * len(word)
