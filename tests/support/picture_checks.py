"""Checks of every picture: its text can be read."""

from __future__ import annotations

import itertools

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return the texts of a picture and their boxes."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    axis = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    views = [
        (tick, sorted(it.get_view_interval())) for it in axis for tick in (*it.get_major_ticks(), *it.get_minor_ticks())
    ]
    beyond = {tick.label1 for tick, (low, high) in views if not low <= tick.get_loc() <= high}  # they are not drawn
    drawn = [it for it in figure.findobj(matplotlib.text.Text) if it.get_text() and it.get_visible()]
    return [(it.get_text(), it.get_window_extent(renderer)) for it in drawn if it not in beyond]


def overlap(one: Bbox, other: Bbox) -> bool:
    common = Bbox.intersection(one, other)
    return common is not None and common.width > 1 and common.height > 1


def check(figure: Figure) -> None:
    """Check that no two texts overlap, and that the edge of the picture cuts none off."""
    written, edge = texts(figure), figure.bbox
    for text, box in written:
        assert box.x0 >= edge.x0 - 1 and box.x1 <= edge.x1 + 1, f"{text} is cut off"
        assert box.y0 >= edge.y0 - 1 and box.y1 <= edge.y1 + 1, f"{text} is cut off"
    for (text, box), (other, other_box) in itertools.combinations(written, 2):
        assert not overlap(box, other_box), f"{text} overlaps {other}"
