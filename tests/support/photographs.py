"""Photographs that packages ship, and the network for photographs with its published weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from asal.features.efficientnet_lite0 import PACKAGE


def needs_weights() -> None:
    """Skip a test where the weights are not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("the extra `photos` is not installed")


def photographs() -> dict[str, Path]:
    """Return photographs of things that ImageNet has a class for, by that class's number."""
    import matplotlib
    import sklearn.datasets

    shipped = Path(sklearn.datasets.__file__).parent / "images"
    return {
        "palace, 698": shipped / "china.jpg",
        "daisy, 985": shipped / "flower.jpg",
        "military uniform, 652": Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    }


def small() -> dict[str, Any]:
    """Return options with which the network takes milliseconds an image."""
    needs_weights()
    return {"size": 64}
