"""The generated page of all errors has those that happen, with what helps."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import ROOT

from asal.core import check_ids
from asal.errors import UserError
from asal.project.spec import load, parse

REAL = re.compile(r"^error: (?P<got>.*)\n(?:rule:  (?P<rule>.*)\n)?hint:  (?P<hint>.*)$", re.M)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_refusals", ROOT / "docs/site_refusals.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listed(generator: ModuleType) -> list[Any]:
    return list(generator.refusals())


def is_listed(listed: list[Any], got: str, hint: str) -> bool:
    """Say whether the page has an error whose words are these, but for what is filled in."""
    return any(fits(one.got, got) and fits(one.hint, hint) for one in listed)


def fits(pattern: str, text: str) -> bool:
    if not re.sub("⟨[^⟩]*⟩", "", pattern).strip():
        return False  # everything would
    return re.fullmatch(re.sub("⟨[^⟩]*⟩", ".+", re.escape(pattern).replace("\\⟨", "⟨")), text) is not None


def test_the_errors_that_troubleshooting_shows_are_on_the_page(listed: list[Any]) -> None:
    page = (ROOT / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")
    shown = list(REAL.finditer(page))
    assert len(shown) >= 10
    # `did you mean` of an unknown name stands on the page in general words.
    missing = [
        one["got"] for one in shown if "is called" not in one["got"] and not is_listed(listed, one["got"], one["hint"])
    ]
    assert missing == []


def test_errors_of_the_library_are_on_the_page(listed: list[Any], tmp_path: Path) -> None:
    raised = []
    for attempt in (
        lambda: check_ids([5], 3),
        lambda: load(tmp_path / "none.toml"),
        lambda: parse(
            {"name": "p", "source": {"kind": "digits"}, "strategies": {"subset": {"sure": 1, "min_confidence": 1}}}
        ),
    ):
        with pytest.raises(UserError) as caught:
            attempt()
        raised.append(caught.value)
    assert [error.got for error in raised if not is_listed(listed, error.got, error.hint)] == []


def test_unknown_names_are_explained_for_every_kind_of_name(listed: list[Any]) -> None:
    strategy = next(one for one in listed if one.got == "no strategy is called '⟨name⟩'")
    assert strategy.rule == "the strategies are ⟨names⟩"
    assert strategy.hint.startswith("did you mean ")


def test_a_helpers_sentences_are_those_of_its_callers(listed: list[Any]) -> None:
    contradictions = [one for one in listed if "contradicts those before it" in one.got]
    assert len(contradictions) > 5
    assert any("it has no label" in one.got for one in contradictions)


def test_an_error_without_a_hint_stops_the_page(generator: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "core.py").write_text("def check():\n    raise UserError('the disk is square')\n")
    with pytest.raises(ValueError, match="an error has a hint"):
        generator.refusals(tmp_path)


def test_every_package_has_a_heading_and_the_page_shows_messages_literally(
    generator: ModuleType, listed: list[Any]
) -> None:
    page = generator.page()
    used = {one.package for one in listed}
    assert {line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")} == {
        generator.SECTIONS[package] for package in used
    }
    assert "\\[strategies.⟨name⟩\\]" in page
