"""What `import asal` gives: these names and no others, each when it is first used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

import asal

PUBLIC = {
    "Candidates",
    "Plan",
    "Project",
    "Record",
    "Round",
    "Selection",
    "Session",
    "UserError",
    "__version__",
    "learners",
    "load",
    "report",
    "run",
    "scores",
    "strategies",
}


def test_these_are_the_public_names() -> None:
    assert set(asal.__all__) == PUBLIC == set(dir(asal))
    assert len(asal.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_is_there_and_documented(name: str) -> None:
    part = getattr(asal, name)
    assert isinstance(part, str) or part.__doc__
    assert f"`{name}`" in str(asal.__doc__) or name == "__version__"


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        asal.nothing  # noqa: B018


def test_the_strategies_are_a_registry_and_a_package() -> None:
    from asal.strategies import random, strategies

    assert list(asal.strategies) == list(strategies) and len(asal.strategies) == len(strategies)
    assert asal.strategies["random"] is strategies["random"] and "random" in asal.strategies
    assert "randon" not in asal.strategies and asal.strategies.register == strategies.register
    assert list(asal.strategies.keys()) == list(strategies) and asal.strategies.get("randon") is None
    assert list(asal.strategies.items()) == list(zip(strategies, asal.strategies.values(), strict=True))
    assert asal.strategies.get("random") is strategies["random"] and asal.strategies.failed == ()
    assert asal.strategies.random is random  # type: ignore[attr-defined]


def test_the_version_is_the_packages_or_the_source_trees(tmp_path: Path) -> None:
    from importlib import metadata

    assert asal.__version__ == metadata.version("asal")
    nowhere = "import sys; sys.path = [p for p in sys.path if 'site-packages' not in p]"
    script = f"{nowhere}; sys.path.insert(0, {str(ROOT / 'src')!r}); import asal; print(asal.__version__)"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == asal.__version__
