"""The model card: what a classifier is for, what it was trained on, and how good it is as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asal.core import Model
from asal.experiments.assessment import Share
from asal.experiments.evaluation import Evaluation

FILES = """| file | what it is |
|---|---|
| `load_model.py` | puts the others together; needs torch, and Pillow to read image files |
| `preprocess.py` | from an image file to the network's input, as asal does it |
| `network.py` | what the network computes, as plain calls of torch |
| `model.safetensors` | its weights |
| `model.json` | the classes, and all that is said here |
| `model.pt2` | the same network for `torch.export.load`, as servers and C++ programs read it |
"""
USE = """```console
python load_model.py photo.jpg
```

```python
import sys

sys.path.insert(0, "the folder of this file")
from load_model import Model

model = Model()                            # or Model("cuda")
model.predict(["a.jpg", "b.jpg"])          # probabilities (2, {k}), in the order of model.classes
```
"""
FITS = {
    "pad": "scaled until their longer side fits, and padded",
    "crop": "cut to their centre square, and scaled",
    "squeeze": "scaled, whatever their shape",
}


@dataclass(frozen=True)
class Measured:
    """An accuracy, and what it was measured on."""

    part: str  # "validation" or "test"
    right: int
    images: int
    commonest: int  # images of the commonest class

    @classmethod
    def of(cls, part: str, test_set: Evaluation, model: Model) -> Measured:
        """Measure it."""
        labels = test_set.labels[test_set.labels >= 0]
        right = sum(int((probs.argmax(1) == its).sum()) for its, probs in test_set.predictions(model))
        return cls(part, right, len(labels), int(np.bincount(labels).max()))

    @property
    def sentence(self) -> str:
        """The same in words."""
        low, high = Share(self.right, self.images).interval
        share, always = self.right / self.images, self.commonest / self.images
        return (
            f"Accuracy {share:.1%} (95% interval {low:.1%} … {high:.1%}) on the {self.images:,} images of the "
            f"{self.part} set, which it was not trained on; always answering the commonest class gives {always:.1%}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the numbers."""
        low, high = Share(self.right, self.images).interval
        return {
            "set": self.part,
            "images": self.images,
            "right": self.right,
            "accuracy": self.right / self.images,
            "low": low,
            "high": high,
            "commonest_class": self.commonest / self.images,
        }


def model_card(facts: Mapping[str, Any], measured: Sequence[Measured]) -> str:
    """Return the card in Markdown.

    Args:
        facts: the contents of model.json.
    """
    labels, k = facts["labels"], len(facts["classes"])
    rows = "".join(f"| {name.replace('|', chr(92) + '|')} | {count:,} |\n" for name, count in labels.items())
    return "\n".join(
        [
            f"# {facts['name']}: a classifier of {k} classes",
            f"\nWritten by asal {facts['asal']} on {facts['written'][:10]}, from {sum(labels.values()):,} labels. "
            f"{_what(facts)}\n",
            "## Use\n",
            USE.format(k=k),
            "## How good it is\n",
            _accuracy(measured),
            "## What it was trained on\n",
            f"| class | labelled images |\n|---|---|\n{rows}",
            _chosen(facts),
            "## What it reads\n",
            _input(facts["input"]),
            "## Files\n",
            FILES,
        ]
    )


def _what(facts: Mapping[str, Any]) -> str:
    learner, features = facts["learner"]["kind"], facts["features"]
    numbers = f"{facts['parameters']:,} numbers"
    if features is None:
        return f"It is a network (`{learner}`) on the images' pixels: {numbers}."
    named = f", {features['name']}" if "name" in features else ""
    return (
        f"It is one network of {numbers}: a frozen one that describes images (`{features['kind']}`{named}), and behind "
        f"it what was trained on the labels (`{learner}`). The licence of the frozen one's weights is its publisher's."
    )


def _accuracy(measured: Sequence[Measured]) -> str:
    if not measured:
        return (
            "**Not measured.** The project holds no labelled images out, and the labelled ones tell nothing of the "
            "accuracy: the classifier was trained on them. Before you rely on it, label images that were drawn at "
            "random and that it was not trained on, and compare.\n"
        )
    return "".join(f"{each.sentence}\n\n" for each in measured) + (
        "That holds for images like those of the set, taken in the same way. Probabilities are a softmax: they rank "
        "well, and are not calibrated.\n"
    )


def _chosen(facts: Mapping[str, Any]) -> str:
    strategies, skipped = facts["strategies"], facts["cant_tell"]
    chosen = f"Images were chosen by: {', '.join(strategies)}. " if strategies else ""
    rest = f'{skipped:,} more were answered with "can\'t tell", and not used. ' if skipped else ""
    return (
        f"{chosen}{rest}Images that a strategy chose are harder, and their classes more even, than those of the pool: "
        "their shares are not the shares that the classes have.\n"
    )


def _input(form: Mapping[str, Any]) -> str:
    size, colours = form["size"], "gray" if form["channels"] == 1 else "RGB"
    square = f"squares of {size} pixels: images are {FITS[form['fit']]}" if size else "images as they are"
    return (
        f"Float images (n, {form['channels']}, {form['height']}, {form['width']}), {colours}, {form['values']}; "
        f"{square}. `preprocess.py` does all of it, and turns photographs upright first.\n"
    )
