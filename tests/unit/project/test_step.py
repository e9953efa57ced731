"""The names of the folders of prepared parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asal.features import features
from asal.index import indexes
from asal.models.generators import generators
from asal.project.step import PrepareContext
from asal.registry import Registry
from asal.runtime.artifacts import fingerprint
from asal.session.oracles import oracles
from asal.strategies import strategies

FACTS = {"kind": "some", "seed": 0}


def folder_of(kind: str, root: Path) -> Path:
    pool: Any = None  # has no part in a folder's name
    return PrepareContext(root, pool).folder("parts", kind, FACTS)


@pytest.mark.parametrize("registry", [features, generators, indexes, oracles, strategies], ids=lambda r: r.kind)
def test_the_folder_of_a_registered_kind_has_its_name_unchanged(registry: Registry, tmp_path: Path) -> None:
    for kind in registry:
        assert folder_of(kind, tmp_path) == tmp_path / "parts" / f"{kind}-{fingerprint(FACTS)}"


def test_the_folder_of_a_dotted_path_has_no_colon(tmp_path: Path) -> None:
    assert folder_of("package.module:name", tmp_path).name == f"package.module.name-{fingerprint(FACTS)}"
