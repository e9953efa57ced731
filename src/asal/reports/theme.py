"""The style of every picture: colours, lines, fonts; SVG for light and dark pages, and PNG on white.

Every colour has a counterpart for dark pages. An SVG uses the light ones, so that any program can draw
it, and a style sheet swaps them where the reader prefers dark. Each picture is drawn wide and narrow
(for a phone), and no global setting of matplotlib is changed.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PAPER, NIGHT = "#ffffff", "#14171c"
INK, SOFT, FAINT, GREY = "#1f2328", "#59636e", "#d8dee4", "#6e7681"
HUES = (
    "#1b479c",
    "#9c3208",
    "#14a06a",
    "#d24be0",
    "#ad8700",
)  # the colour-blind can distinguish them, and contrast is ≥ 3:1 on white
SHADES = ("#e8935f", "#f3bd98", "#fae0cf", "#eef1f4", "#dbe7fb", "#aecaf5", "#7fabee")  # far behind … far ahead
DARK = {
    INK: "#e6e9ed",
    SOFT: "#a3adb8",
    FAINT: "#343b44",
    GREY: "#9aa4af",
    **dict(zip(HUES, ("#8cb4ff", "#d97b3d", "#34e6a0", "#cf48ee", "#ffcf4a"), strict=True)),
    **dict(zip(SHADES, ("#8a4516", "#64371b", "#402a1c", "#232a33", "#1b2e50", "#1f437f", "#2857a8"), strict=True)),
}
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (1.2, 1.2)))
WIDE, NARROW = 8.2, 3.9  # inches
SIZE, SMALL = 9.0, 7.5  # points
LETTER = 0.6 * SIZE / 72  # inches that a letter takes at most

Draw: TypeAlias = Callable[[bool], Figure]  # narrow or wide


@dataclass(frozen=True)
class Pen:
    """A strategy's colour and dashes in every picture."""

    colour: str
    dashes: Any = "solid"

    def swatch(self) -> str:
        """Return a short sample line, as SVG for a table."""
        gaps = "" if self.dashes == "solid" else f' stroke-dasharray="{" ".join(str(2 * x) for x in self.dashes[1])}"'
        line = f'<line x1="0" x2="26" y1="5" y2="5" stroke-width="3.5" style="stroke: {self.colour}"{gaps}/>'
        return f'<svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">{line}</svg>'


def pens(strategies: Sequence[str], baseline: str) -> dict[str, Pen]:
    """Give the baseline grey and every other strategy a hue, then a dash, of its own."""
    others = [name for name in strategies if name != baseline]
    looks = [Pen(colour, dashes) for dashes in DASHES for colour in HUES]
    return {baseline: Pen(GREY)} | {name: looks[i % len(looks)] for i, name in enumerate(others)}


@contextmanager
def styled(name: str) -> Iterator[None]:
    """Use this style inside the block; `name` goes into the ids of an SVG."""
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
        """Return the files beside the page, by their suffix."""
        return {"svg": self.wide.encode(), "png": self.png}


def render(name: str, draw: Draw) -> Picture:
    """Draw wide and narrow; the same input gives the same bytes."""
    with styled(name):
        wide, narrow = draw(False), draw(True)
        png = io.BytesIO()
        wide.savefig(png, format="png", dpi=200, facecolor="white")
        return Picture(_svg(wide), _svg(narrow), png.getvalue())


def _svg(figure: Figure) -> str:
    out = io.BytesIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # the day and the version do not change the file
    figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    # Both backgrounds are painted: a picture may stand on a page that does not follow the reader's preference.
    backgrounds = f"svg{{background:{PAPER}}} @media (prefers-color-scheme: dark) {{svg{{background:{NIGHT}}}}}"
    svg = re.sub(
        r'(<image [^>]*?) id="image[^"]*"', r"\1", out.getvalue().decode()
    )  # the same image twice has the same id
    return svg.replace("</style>", f"\n{backgrounds}\n{dark_sheet()}</style>", 1)


def dark_sheet() -> str:
    """Return the style sheet that swaps each light colour for its counterpart where the reader prefers dark."""
    swap = '[style*="{what}: {light}"]{{{what}:{dark} !important}}'
    swaps = [swap.format(what=w, light=light, dark=dark) for light, dark in DARK.items() for w in ("fill", "stroke")]
    return f"@media (prefers-color-scheme: dark) {{{' '.join(swaps)}}}"


def inline(svg: str, prefix: str, alt: str) -> str:
    """Prepare an SVG file for a page that has the dark style sheet: unique ids, an alt text, no fixed size."""
    body = re.sub("<style.*?</style>", "", svg[svg.index("<svg") :], count=1, flags=re.DOTALL)
    body = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    head, rest = body.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{html.escape(alt)}">{rest}'


def axes_in(figure: Figure, left: float, right: float, bottom: float, top: float) -> Axes:
    """Place the axes by margins in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )
