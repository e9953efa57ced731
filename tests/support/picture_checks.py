"""Checks of every picture: its text can be read."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
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


def overlapping(boxes: Sequence[Bbox]) -> list[tuple[int, int]]:
    """Return the pairs of boxes that have more than a pixel in common, either way."""
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes]).reshape(-1, 4)
    low, high = corners[:, :2], corners[:, 2:]
    common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # (n, n, 2)
    return [(i, j) for i, j in np.argwhere((common > 1).all(axis=2)).tolist() if i < j]


def check(figure: Figure) -> None:
    """Check that no two texts overlap, and that the edge of the picture cuts none off."""
    written, edge = texts(figure), figure.bbox
    for text, box in written:
        assert box.x0 >= edge.x0 - 1 and box.x1 <= edge.x1 + 1, f"{text} is cut off"
        assert box.y0 >= edge.y0 - 1 and box.y1 <= edge.y1 + 1, f"{text} is cut off"
    for i, j in overlapping([box for _, box in written]):
        raise AssertionError(f"{written[i][0]} overlaps {written[j][0]}")
