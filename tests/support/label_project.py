"""A project that is labelled: its settings, who knows its labels, and what its record and its rows hold by now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asal.project.spec import load, to_toml
from asal.session.events import Event, Record
from asal.session.oracles.stored import Stored
from support.commands import merged
from support.http_clients import Label

STRICT: Mapping[str, Any] = {"labelling": {"pace": "strict"}}  # as `asal run` does


def settings(root: Path, changes: Mapping[str, Any]) -> None:
    """Change a project's spec where that changes nothing that is prepared."""
    given = merged(load(root).model_dump(mode="json", exclude_none=True), changes)
    (root / "asal.toml").write_text(to_toml(given))


def truth(root: Path) -> Label:
    """Return who knows every label of a pool."""
    stored = Stored.open(root / "pool")
    return lambda image: int(stored.answer(np.array([image]))[0])


def events(root: Path) -> list[Event]:
    with Record.open(load(root).labelling.place(root)) as record:
        return record.read()


def rows(path: Path) -> list[dict[str, Any]]:
    """Return rows but for what is of one run or of people alone."""
    apart = ("seconds", "commit", "look", "validation")
    lines = path.read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in apart} for line in lines]
