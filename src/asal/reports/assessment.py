"""An assessment as files: numbers by class, the confusion matrix, the reliability curve, every image, the mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from asal.errors import UserError, counted
from asal.experiments.assessment import Assessment, Share
from asal.experiments.labelled_images import Assessed
from asal.reports.theme import FAINT, GREY, HUES, INK, LETTER, NARROW, SHADES, SMALL, WIDE, Draw, axes_in, render
from asal.runtime import artifacts
from asal.runtime.csv_rows import csv_bytes

FACTS = "evaluation.json"
MANY = 25  # classes up to which the matrix has its numbers written into it
NAME = 24  # letters of a class's name in a picture
CONFUSED = 5  # pairs of classes that are named


def check_replaceable(out: Path) -> None:
    """Refuse a folder that `write_assessment` would not write into.

    Raises:
        UserError: it holds something else.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / FACTS).exists())):
        raise UserError(
            f"{out} cannot be replaced: it holds no earlier evaluation",
            rule="asal overwrites only what it wrote",
            hint="choose another folder",
        )


def write_assessment(found: Assessed, out: Path) -> list[Path]:
    """Write an assessment into a folder, and return its files.

    Raises:
        UserError: the folder holds something else.
    """
    check_replaceable(out)
    its = found.assessment
    files: dict[str, bytes] = {
        "classes.csv": csv_bytes(CLASS_COLUMNS, _class_rows(its)),
        "confusion.csv": csv_bytes(
            ("class", *its.classes),
            ([name, *row] for name, row in zip(its.classes, its.confusion.tolist(), strict=True)),
        ),
        "reliability.csv": csv_bytes(BIN_COLUMNS, _bin_rows(its)),
        "predictions.csv": csv_bytes(_image_columns(its), _image_rows(found, range(len(found.names)))),
        "mistakes.csv": csv_bytes(_image_columns(its), _image_rows(found, its.mistakes.tolist())),
    }
    for name, draw in (("confusion", draw_confusion(its)), ("reliability", draw_reliability(its))):
        files |= {f"{name}.{suffix}": data for suffix, data in render(name, draw).files().items()}
    if found.unreadable:
        files["unreadable.csv"] = csv_bytes(("file", "reason"), list(found.unreadable.items()))
    with artifacts.explain_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(out / FACTS, _facts(found))
        if not found.unreadable:
            (out / "unreadable.csv").unlink(missing_ok=True)  # of an earlier call
        for name, data in files.items():
            artifacts.write(out / name, data)
    return [out / name for name in (FACTS, *files)]


def lines(found: Assessed) -> list[str]:
    """Return what people should know first."""
    its = found.assessment
    common, always = its.majority
    left_out = [f"{counted(len(found.unreadable), 'file')} could not be read"] if found.unreadable else []
    left_out += [f"{counted(found.learned, 'image')} that it was trained on"] if found.learned else []
    left_out += [f"{counted(found.without_class, 'file')} in no class folder"] if found.without_class else []
    said = [
        f"The classifier of {counted(found.trained_on, 'label')} on {found.what}; intervals are 95% intervals:",
        f"accuracy {its.accuracy}; always answering '{common}' gives {always.value:.1%}",
        f"balanced accuracy {its.balanced_accuracy:.1%} · macro F1 {its.macro_f1:.3f} · "
        f"calibration error {its.calibration_error:.3f}",
    ]
    if left_out:
        said.append(f"left out: {', '.join(left_out)}")
    if its.without_images:
        said.append(f"no images, so that nothing is known of: {', '.join(its.without_images)}")
    pairs = [f"{true} → {taken} {count:,}" for count, true, taken in confused(its)]
    return [*said, f"mistaken most often: {', '.join(pairs)}"] if pairs else said


def confused(its: Assessment, most: int = CONFUSED) -> list[tuple[int, str, str]]:
    """Return the classes that are taken for others most often: how many images, their class, what is predicted."""
    wrong = its.confusion - np.diag(np.diag(its.confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = (np.unravel_index(place, wrong.shape) for place in order)
    return [(int(wrong[a, b]), its.classes[a], its.classes[b]) for a, b in pairs if wrong[a, b]]


# Numbers -------------------------------------------------------------------------------------------------------------

CLASS_COLUMNS = (
    "class", "images", "recall", "recall_low", "recall_high",
    "predicted", "precision", "precision_low", "precision_high", "f1",
)  # fmt: skip
BIN_COLUMNS = ("from", "to", "images", "confidence", "right", "right_low", "right_high")


def _numbers(share: Share) -> list[Any]:
    return [share.images, *([round(x, 6) for x in (share.value, *share.interval)] if share.images else ["", "", ""])]


def _class_rows(its: Assessment) -> list[list[Any]]:
    return [[one.name, *_numbers(one.recall), *_numbers(one.precision), round(one.f1, 6)] for one in its.by_class]


def _bin_rows(its: Assessment) -> list[list[Any]]:
    rows = []
    for each in its.reliability:
        images, *right = _numbers(each.right)
        rows.append([each.low, each.high, images, round(each.confidence, 6), *right])
    return rows


def _image_columns(its: Assessment) -> list[str]:
    return ["file", "label", "prediction", "confidence", *(f"p_{name}" for name in its.classes)]


def _image_rows(found: Assessed, rows: Sequence[int]) -> list[list[Any]]:
    its = found.assessment
    return [
        [
            found.names[row], its.classes[its.labels[row]], its.classes[its.predicted[row]],
            round(float(its.confidences[row]), 8), *np.round(its.probs[row], 8).tolist(),
        ]
        for row in rows
    ]  # fmt: skip


def _facts(found: Assessed) -> dict[str, Any]:
    its = found.assessment
    common, always = its.majority
    low, high = its.accuracy.interval
    return {
        "images": len(found.names),
        "of": found.what,
        "labels": found.trained_on,
        "events": found.events,
        "accuracy": {"value": its.accuracy.value, "low": low, "high": high},
        "always": {"class": common, "accuracy": always.value},
        "balanced_accuracy": its.balanced_accuracy,
        "macro_f1": its.macro_f1,
        "calibration_error": its.calibration_error,
        "without_images": its.without_images,
        "unreadable": len(found.unreadable),
        "without_class": found.without_class,
        "learned": found.learned,
    }


# Pictures ------------------------------------------------------------------------------------------------------------


def draw_confusion(its: Assessment) -> Draw:
    """Draw the confusion matrix: rows are the images' classes, shades shares of a row, numbers images."""
    names, k = [_shortened(name) for name in its.classes], len(its.classes)
    shares = its.confusion / np.maximum(its.confusion.sum(axis=1, keepdims=True), 1)

    def draw(narrow: bool) -> Figure:
        room = LETTER * SMALL / 9 * max(map(len, names)) + 0.5
        side = min((NARROW if narrow else WIDE) - room - 0.2, max(1.6, 0.42 * k))
        figure = Figure(figsize=(side + room + 0.2, side + room + 0.2))
        axes = axes_in(figure, room, 0.2, room, 0.2)
        for true in range(k):
            for taken in range(k):
                _cell(axes, true, taken, float(shares[true, taken]))
                if k <= MANY and its.confusion[true, taken] and not (narrow and k > 12):
                    count = f"{its.confusion[true, taken]:,}"
                    axes.text(taken, true, count, ha="center", va="center", fontsize=SMALL, color=INK)
        axes.set_xlim(-0.5, k - 0.5)
        axes.set_ylim(k - 0.5, -0.5)
        axes.set_xticks(range(k), names, rotation=90, fontsize=SMALL)
        axes.set_yticks(range(k), names, fontsize=SMALL)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("class of the image")
        for side_of in axes.spines.values():
            side_of.set_visible(False)
        return figure

    return draw


def _cell(axes: Axes, true: int, taken: int, share: float) -> None:
    """Draw one cell: right answers in blue, wrong ones in orange, the darker the more."""
    shades = SHADES[4:] if true == taken else SHADES[2::-1]
    colour = SHADES[3] if share == 0 else shades[min(int(3 * share), 2)]
    axes.add_patch(Rectangle((taken - 0.47, true - 0.47), 0.94, 0.94, facecolor=colour, edgecolor="none"))


def _shortened(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def draw_reliability(its: Assessment) -> Draw:
    """Draw the share of right answers by confidence, with intervals, and below it how many images there are."""
    bins = its.reliability

    def draw(narrow: bool) -> Figure:
        figure = Figure(figsize=(NARROW, 3.9) if narrow else (WIDE * 0.62, 4.6))
        axes = axes_in(figure, 0.7, 0.2, 1.35, 0.15)
        axes.grid()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        confidence, right = [each.confidence for each in bins], [each.right.value for each in bins]
        ends = np.array([each.right.interval for each in bins]).T
        axes.vlines(confidence, ends[0], ends[1], color=HUES[0], linewidth=1.2)
        axes.plot(confidence, right, "o-", color=HUES[0], markersize=4, linewidth=1.7, clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.tick_params(labelbottom=False)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylabel("right")
        width, height = figure.get_size_inches()
        below = figure.add_axes((0.7 / width, 0.55 / height, (width - 0.9) / width, 0.65 / height))
        below.bar([each.low + 0.05 for each in bins], [each.right.images for each in bins], width=0.092, color=FAINT)
        below.set_xlim(0, 1)
        below.set_ylabel("images", fontsize=SMALL)
        below.tick_params(axis="y", labelsize=SMALL)
        below.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        below.set_xlabel("confidence")
        return figure

    return draw
