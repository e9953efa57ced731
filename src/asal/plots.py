"""The report's pictures: SVG that follows the reader's light or dark, and PNG on white.

Every colour has a twin for dark pages. An SVG names the light ones, so that any program can draw
it, and a style sheet swaps them where the reader prefers dark. Each picture comes wide and narrow
(for a phone), and no global setting of matplotlib is touched.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from asal.artifacts import damaged
from asal.evaluate import Cost, Curve
from asal.meter import Meter

PAPER, NIGHT = "#ffffff", "#14171c"
INK, SOFT, FAINT, GREY = "#1f2328", "#59636e", "#d8dee4", "#6e7681"
HUES = ("#1b479c", "#9c3208", "#14a06a", "#d24be0", "#ad8700")  # told apart by the colour-blind too, and ≥ 3:1 on white
DARK = {
    INK: "#e6e9ed",
    SOFT: "#a3adb8",
    FAINT: "#343b44",
    GREY: "#9aa4af",
    **dict(zip(HUES, ("#8cb4ff", "#d97b3d", "#34e6a0", "#cf48ee", "#ffcf4a"), strict=True)),
}
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (1.2, 1.2)))
WIDE, NARROW = 8.2, 3.9  # inches
SIZE, SMALL = 9.0, 7.5  # points
LETTER = 0.6 * SIZE / 72  # inches that a letter takes, on the safe side

Pixels: TypeAlias = npt.NDArray[np.uint8]
Draw: TypeAlias = Callable[[bool], Figure]  # narrow or wide


@dataclass(frozen=True)
class Pen:
    """How a strategy looks in every picture."""

    colour: str
    dashes: Any = "solid"

    def swatch(self) -> str:
        """Return a short line of it, as SVG for a table."""
        gaps = "" if self.dashes == "solid" else f' stroke-dasharray="{" ".join(str(2 * x) for x in self.dashes[1])}"'
        line = f'<line x1="0" x2="26" y1="5" y2="5" stroke-width="3.5" style="stroke: {self.colour}"{gaps}/>'
        return f'<svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">{line}</svg>'


def pens(strategies: Sequence[str], baseline: str) -> dict[str, Pen]:
    """Give the baseline grey and every other strategy a hue, then a dash, of its own."""
    others = [name for name in strategies if name != baseline]
    looks = [Pen(colour, dashes) for dashes in DASHES for colour in HUES]
    return {baseline: Pen(GREY)} | {name: looks[i % len(looks)] for i, name in enumerate(others)}


@contextmanager
def _style(name: str) -> Iterator[None]:
    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
        "font.size": SIZE,
        "svg.hashsalt": name,
        "svg.fonttype": "path",
        "image.composite_image": False,
        "axes.edgecolor": SOFT,
        "axes.labelcolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.7,
        "lines.solid_capstyle": "round",
    }
    with matplotlib.rc_context(settings):
        yield


@dataclass(frozen=True)
class Picture:
    """One drawing in its three forms."""

    wide: str  # SVG
    narrow: str  # SVG for a phone
    png: bytes

    def files(self) -> dict[str, bytes]:
        """Return what is kept beside the page, by the ending of its name."""
        return {"svg": self.wide.encode(), "png": self.png}


def render(name: str, draw: Draw) -> Picture:
    """Draw wide and narrow; the same input gives the same bytes."""
    with _style(name):
        wide, narrow = draw(False), draw(True)
        png = io.BytesIO()
        wide.savefig(png, format="png", dpi=200, facecolor="white")
        return Picture(_svg(wide), _svg(narrow), png.getvalue())


def _svg(figure: Figure) -> str:
    out = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # neither the day nor the version changes the file
    figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    # Both papers are painted: a picture may be shown on a page that does not go along with the reader's preference.
    papers = f"svg{{background:{PAPER}}} @media (prefers-color-scheme: dark) {{svg{{background:{NIGHT}}}}}"
    return out.getvalue().decode().replace("</style>", f"\n{papers}\n{dark_sheet()}</style>", 1)


def dark_sheet() -> str:
    """Return the style sheet that swaps each light colour for its twin where the reader prefers dark."""
    swap = '[style*="{what}: {light}"]{{{what}:{dark} !important}}'
    swaps = [swap.format(what=w, light=light, dark=dark) for light, dark in DARK.items() for w in ("fill", "stroke")]
    return f"@media (prefers-color-scheme: dark) {{{' '.join(swaps)}}}"


def inline(svg: str, prefix: str, alt: str) -> str:
    """Make an SVG file fit for a page that has the dark sheet: ids of its own, a text for the blind, no fixed size."""
    body = re.sub("<style.*?</style>", "", svg[svg.index("<svg") :], count=1, flags=re.DOTALL)
    body = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    head, rest = body.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{html.escape(alt)}">{rest}'


def _axes(figure: Figure, left: float, right: float, bottom: float, top: float) -> Axes:
    """Place the axes by margins in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )


def draw_curves(
    curves: Sequence[Curve],
    looks: Mapping[str, Pen],
    ylabel: str,
    *,
    percent: bool = True,
    reference: float | None = None,
) -> Draw:
    """Draw mean lines with the seeds' extremes as bands, named at their ends (wide) or below (narrow)."""

    def draw(narrow: bool) -> Figure:
        names = [_title(curve) for curve in curves]
        room = min(3.1, LETTER * max(map(len, names)) + 0.6)
        below = 0.188 * len(curves) + 0.05 if narrow else 0.0
        figure = Figure(figsize=(NARROW if narrow else WIDE, 2.9 + below if narrow else 4.6))
        axes = _axes(figure, 0.86, 0.15 if narrow else room, 0.52 + below, 0.12)
        alpha = min(0.14, 0.8 / len(curves))
        for curve in curves:
            pen = looks[curve.strategy]
            axes.fill_between(curve.labels, curve.low, curve.high, color=pen.colour, alpha=alpha, linewidth=0)
            marker = "o" if len(curve.labels) == 1 else ""
            axes.plot(curve.labels, curve.mean, color=pen.colour, linestyle=pen.dashes, linewidth=1.7, marker=marker)
        _limits(axes, curves, percent, reference)
        axes.grid(axis="y")
        axes.set_xlabel("labelled images")
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 7, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol="%"))
        (_legend if narrow else _end_labels)(axes, curves, looks)
        return figure

    return draw


def _title(curve: Curve) -> str:
    return curve.strategy if curve.finished else f"{curve.strategy} (unfinished)"


def axis_floor(curves: Sequence[Curve]) -> float:
    """Return where the accuracy axis begins: means of the first tenth of the budget may lie below, no later ones."""
    labels, means = (np.concatenate([getattr(curve, name) for curve in curves]) for name in ("labels", "mean"))
    return float(means[labels >= labels.min() + np.ptp(labels) / 10].min())


def _limits(axes: Axes, curves: Sequence[Curve], percent: bool, reference: float | None) -> None:
    first, last = min(curve.labels[0] for curve in curves), max(curve.labels[-1] for curve in curves)
    axes.set_xlim(first, last if last > first else first + 1)
    if not percent:
        axes.set_ylim(bottom=0 if min(curve.low.min() for curve in curves) >= 0 else None)
        return
    floor, top = axis_floor(curves), max(reference or 0.0, *(curve.high.max() for curve in curves))
    air = max(0.04 * (top - floor), 1e-3)
    axes.set_ylim(floor - air, top + air)
    if reference is not None:
        axes.axhline(reference, color=INK, linestyle=(0, (4, 3)), linewidth=1)
        axes.annotate(
            f"all labels: {reference:.1%}", (0, reference), (4, 2), ("axes fraction", "data"),
            textcoords="offset points", color=SOFT,
        )  # fmt: skip


def _end_labels(axes: Axes, curves: Sequence[Curve], looks: Mapping[str, Pen]) -> None:
    """Name each line to the right of its end, in the order of the ends, moved apart where they lie close."""
    bottom, top = axes.get_ylim()
    box, dpi = axes.get_window_extent(), axes.figure.dpi
    width, height = box.width / dpi, box.height / dpi  # inches
    order = sorted(curves, key=lambda curve: curve.mean[-1])
    ends = np.array([(curve.mean[-1] - bottom) / (top - bottom) for curve in order])
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
    """Draw the mean seconds a round, one bar a strategy, split by kind of work."""

    def draw(narrow: bool) -> Figure:
        width, height = NARROW if narrow else WIDE, 0.46 * len(costs) + 0.95
        figure = Figure(figsize=(width, height))
        axes = _axes(figure, 0.12, 0.75, 0.5, 0.36)
        left = np.zeros(len(costs))
        for part, colour in zip(Meter.PARTS, (GREY, *HUES), strict=False):
            seconds = np.array([cost.seconds[part] for cost in costs.values()])
            axes.barh(np.arange(len(costs)), seconds, left=left, height=0.42, color=colour, label=part, linewidth=0)
            left += seconds
        for row, (name, total) in enumerate(zip(costs, left, strict=True)):
            axes.annotate(name, (0, row - 0.24), (1, 1), textcoords="offset points", va="bottom")
            axes.annotate(f"{total:#,.3g} s", (total, row), (4, 0), textcoords="offset points", va="center", color=SOFT)
        axes.set(ylim=(len(costs) - 0.6, -0.75), xlim=(0, max(left.max(), 1e-9)), yticks=[], xlabel="seconds a round")
        axes.spines["left"].set_color(SOFT)
        axes.locator_params(axis="x", nbins=4 if narrow else 7)
        figure.legend(
            ncols=5, loc="upper left", bbox_to_anchor=(0.02, 1), frameon=False,
            borderaxespad=0.1, handlelength=0.9, handletextpad=0.4, columnspacing=0.9,
        )  # fmt: skip
        return figure

    return draw


@dataclass(frozen=True)
class Pairs:
    """Made-up images and the real ones that they led to; m of each."""

    strategy: str
    synthetic: Pixels  # (m, h, w, c)
    matched: Pixels  # (m, h, w, c)
    captions: list[str]  # (m,)  class and id of the match, on two lines
    scores: tuple[float, float]  # mean of the synthetic images and of their matches


def read_pairs(path: Path, strategy: str, classes: Sequence[str]) -> Pairs:
    """Read what a generating strategy left beside its rows."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            named = [_short(str(classes[label])) if label >= 0 else "?" for label in stored["labels"]]
            captions = [f"{name}\n{number}" for name, number in zip(named, stored["ids"], strict=True)]
            scores = float(np.mean(stored["scores"])), float(np.mean(stored["match_scores"]))
            return Pairs(strategy, stored["synthetic"], stored["matched"], captions, scores)
    except (OSError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise damaged(path, f"it is not the pairs of a run ({error!r})") from None


def _short(name: str, longest: int = 11) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def draw_pairs(blocks: Sequence[Pairs], score: str) -> Draw:
    """Draw the paper's Fig. 2: for each strategy a row of made-up images above the row of their matches."""

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


def _aspect(block: Pairs) -> float:
    return float(block.synthetic.shape[1] / block.synthetic.shape[2])


def _block(axes: Axes, block: Pairs, score: str, top: float, cell: float, gap: float, columns: int) -> None:
    made, found = block.scores
    axes.text(0.05, top + 0.18, block.strategy, weight="bold")
    means = f"above made up, mean {score} {made:.3f}; below matched, {found:.3f}"
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
