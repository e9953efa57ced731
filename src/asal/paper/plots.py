"""The pictures that `asal report` does not have: seconds, rows of images, and a table as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter, NullLocator

from asal.core import Images
from asal.paper.timings import Timing
from asal.reports.theme import GREY, HUES, INK, LETTER, NARROW, SIZE, SMALL, SOFT, WIDE, Draw, axes_in


def colours(names: Sequence[str]) -> dict[str, str]:
    """Give each line its own colour."""
    return dict(zip(names, (*HUES, GREY, INK), strict=False))


def draw_scaling(timings: Sequence[Timing], ylabel: str) -> Draw:
    """Draw the seconds of a selection against the images of the pool, both logarithmic; predicted ones dashed."""

    def draw(narrow: bool) -> Figure:
        names = list(dict.fromkeys(it.strategy for it in timings))
        figure, axes = _loglog(narrow, len(names), ylabel)
        for name, colour in colours(names).items():
            points = [(it.images, it.seconds, it.predicted) for it in timings if it.strategy == name]
            measured = [point[:2] for point in points if not point[2]]
            predicted = measured[-1:] + [point[:2] for point in points if point[2]]
            axes.plot(*zip(*measured, strict=True), color=colour, marker="o", markersize=4, linewidth=1.6)
            if len(predicted) > 1:
                axes.plot(*zip(*predicted, strict=True), color=colour, linestyle=(0, (3, 2)), linewidth=1.2)
        _ticks(axes, [it.images for it in timings])
        _key(axes, colours(names), narrow)
        return figure

    return draw


def draw_crossings(rounds: Mapping[str, Mapping[int, float]], beside: Sequence[str] = ()) -> Draw:
    """Draw the round from which the preparation pays off, against the images of the pool.

    Lines have the same colours as in the picture `beside`, which names all lines of that one.
    """

    def draw(narrow: bool) -> Figure:
        figure, axes = _loglog(narrow, len(rounds), "rounds of ten until it pays off")
        looks = colours(beside or list(rounds))
        for name in rounds:
            points = [(n, value) for n, value in rounds[name].items() if value != float("inf")]
            if points:
                axes.plot(*zip(*points, strict=True), color=looks[name], marker="o", markersize=4, linewidth=1.6)
        if not any(value < float("inf") for line in rounds.values() for value in line.values()):
            axes.text(0.5, 0.5, "nothing is saved", transform=axes.transAxes, ha="center", color=SOFT)
            axes.set_yticks([])
            axes.yaxis.set_minor_locator(NullLocator())
        _ticks(axes, [n for line in rounds.values() for n in line])
        _key(axes, {name: looks[name] for name in rounds}, narrow)
        return figure

    return draw


def _loglog(narrow: bool, lines: int, ylabel: str) -> tuple[Figure, Axes]:
    below = 0.19 * lines + 0.05 if narrow else 0.0
    figure = Figure(figsize=(NARROW if narrow else WIDE, 2.9 + below if narrow else 4.0))
    axes = axes_in(figure, 0.86, 0.15 if narrow else 2.2, 0.52 + below, 0.15)
    axes.set(xscale="log", yscale="log", xlabel="images in the pool", ylabel=ylabel)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")
    return figure, axes


def _ticks(axes: Axes, images: Sequence[int]) -> None:
    """Mark the pool sizes, and write plain numbers at the other axis where it spans less than a decade."""
    sizes = sorted(set(images))
    axes.set_xticks(sizes[:: -(-len(sizes) // 6)])
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15)
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_formatter(FuncFormatter(_plain) if high < 10 * low else NullFormatter())


def _plain(value: float, _: float) -> str:
    return f"{value:,.0f}" if value >= 1 and value == round(value) else f"{value:.3g}"


def _key(axes: Axes, looks: Mapping[str, str], narrow: bool) -> None:
    names, lines = list(looks), [Line2D([], [], color=colour, marker="o", markersize=4) for colour in looks.values()]
    place = {"loc": "lower left", "bbox_to_anchor": (0.02, 0)} if narrow else {"loc": "upper left"}
    if narrow:
        axes.figure.legend(lines, names, frameon=False, borderaxespad=0.2, labelspacing=0.45, **place)
    else:
        axes.legend(lines, names, frameon=False, bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, loc="upper left")


@dataclass(frozen=True)
class Row:
    """A row of images, each with one or two lines of text beneath; m of each."""

    title: str
    note: str
    images: Images  # (m, h, w, c)
    captions: Sequence[str]  # (m,)


def draw_rows(rows: Sequence[Row]) -> Draw:
    """Draw rows of images, one beneath the other: ten columns, five on a phone."""

    def draw(narrow: bool) -> Figure:
        width, columns = (NARROW, 5) if narrow else (WIDE, 10)
        cell, gap = (width - 0.1) / columns, 0.07
        heights = [0.42 + (cell - gap) * row.images.shape[1] / row.images.shape[2] + 0.42 for row in rows]
        figure = Figure(figsize=(width, sum(heights)))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        top = 0.0
        for row, height in zip(rows, heights, strict=True):
            axes.text(0.05 + gap / 2, top + 0.18, row.title, weight="bold")
            axes.text(0.05 + gap / 2, top + 0.35, row.note, color=SOFT, size=SMALL)
            for column, caption in enumerate(row.captions[:columns]):
                left, upper, lower = 0.05 + column * cell + gap / 2, top + 0.42, top + height - 0.42
                shown = np.broadcast_to(row.images[column], (*row.images.shape[1:3], 3))
                axes.imshow(shown, extent=(left, left + cell - gap, lower, upper), interpolation="none")
                place = left + (cell - gap) / 2, lower + 0.04
                axes.text(*place, caption, ha="center", va="top", size=SMALL, color=SOFT, linespacing=1.15)
            top += height
        axes.set(xlim=(0, width), ylim=(sum(heights), 0))  # inches, downwards
        return figure

    return draw


def draw_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Draw:
    """Draw a table as a picture; on a phone each row becomes a block."""

    def draw(narrow: bool) -> Figure:
        return _blocks(heads, rows) if narrow else _grid(heads, rows)

    return draw


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Figure:
    longest = [max(len(line[i]) for line in (heads, *rows)) for i in range(len(heads))]
    total = sum(longest) + 2 * len(longest)
    size = min(SMALL, 72 * WIDE / (total * 0.58))
    height = 0.26 * (len(rows) + 1) + 0.15
    figure = Figure(figsize=(WIDE, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, total), ylim=(height, 0))
    axes.set_axis_off()
    left = 0.0
    for i, width in enumerate(longest):
        axes.text(left + 0.8, 0.2, heads[i], size=size, color=SOFT, va="center")
        for row, line in enumerate(rows):
            axes.text(left + 0.8, 0.2 + 0.26 * (row + 1), line[i], size=size, color=INK, va="center")
        left += width + 2
    axes.plot([0.5, total - 0.5], [0.33, 0.33], color=SOFT, linewidth=0.6)
    return figure


def _blocks(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Figure:
    step, gap, left = 0.18, 0.14, 1.6
    letters = int((NARROW - left) / (LETTER * SMALL / SIZE))
    blocks = [[wrap(cell, letters) or [""] for cell in line] for line in rows]
    height = sum(step * sum(map(len, block)) + gap for block in blocks) + 0.1
    figure = Figure(figsize=(NARROW, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, NARROW), ylim=(height, 0))
    axes.set_axis_off()
    y = 0.15
    for line, (_, *cells) in zip(rows, blocks, strict=True):
        axes.text(0.05, y, line[0], size=SMALL, color=INK, weight="bold", va="center")
        for head, cell in zip(heads[1:], cells, strict=True):
            axes.text(0.05, y + step, head, size=SMALL, color=SOFT, va="center")
            for part in cell:
                y += step
                axes.text(left, y, part, size=SMALL, color=INK, va="center")
        y += step + gap
    return figure
