"""The shipped specs can be run as they are, and say of every setting whose choice it is."""

from __future__ import annotations

import os
import re
import tomllib
from importlib import resources
from pathlib import Path
from string import Template

import pytest

from asal.build import Project
from asal.check import check
from asal.registry import Part
from asal.spec import Spec, load, parse

ROOT = Path(__file__).parents[1]
DEMO = Path(str(resources.files("asal").joinpath("demo.toml")))
SHIPPED = [*sorted((ROOT / "specs").glob("*.toml")), DEMO]
NAMES = [path.stem for path in SHIPPED]

# Settings that the paper gives: section 5.1, figures 3 and 4. What is not here has to be marked.
PAPER: dict[str, dict[str, object]] = {
    "mnist-two": {"protocol.batch": 10, "protocol.budget": 500},
    "mnist-ten": {"protocol.initial": 50, "protocol.batch": 50},
    "cifar-two": {"protocol.batch": 10},
}
CHOSEN = ("generator", "features", "learner", "protocol")  # the sections whose settings bear on a curve


def test_there_is_one_for_each_benchmark() -> None:
    assert {"mnist-two", "mnist-ten", "cifar-two", "demo"} <= set(NAMES)


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_it_fits_the_parts_as_they_are(path: Path) -> None:
    spec = load(path)
    tables = check(spec)
    assert {"random", "uncertainty"} <= set(tables) and any(table.kind == "asal" for table in tables.values())
    assert any(table.kind == "subset" for table in tables.values()), "the baseline that the paper leaves out"
    assert spec.name == (path.stem if path != DEMO else "digits")


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_it_comes_back_as_it_was(path: Path) -> None:
    spec = load(path)
    assert parse(spec.model_dump(mode="json")) == spec


def unmarked(text: str, paper: dict[str, object]) -> list[str]:
    """Return the settings that are neither the paper's nor marked as our choice."""
    said = tomllib.loads(text)
    if "every setting here is our choice" in text.lower():
        return []
    section, covered, missing = "", False, []
    for line in text.splitlines():
        if head := re.match(r"\[(.+)\]", line):
            section, covered = head[1], "our choice" in line
        elif (setting := re.match(r"(\w+) *=", line)) and section.split(".")[0] in CHOSEN:
            name = f"{section}.{setting[1]}"
            covered = covered or (setting[1] == "kind" and "our choice" in line)
            value: object = said
            for step in name.split("."):
                value = value[step]  # type: ignore[index]
            if setting[1] != "kind" and "our choice" not in line and not covered and paper.get(name) != value:
                missing.append(name)
    return missing


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_what_is_not_the_papers_is_marked_as_our_choice(path: Path) -> None:
    assert not unmarked(path.read_text(encoding="utf-8"), PAPER.get(path.stem, {}))


def test_the_check_of_marks_can_fail() -> None:
    text = '[protocol]\nbatch = 10\nbudget = 500\n[learner]\nkind = "linear"\nl2 = 0.1\n'
    assert unmarked(text, PAPER["mnist-two"]) == ["learner.l2"]
    assert unmarked(text.replace("0.1", "0.1  # our choice"), PAPER["mnist-two"]) == []
    assert unmarked(text.replace("500", "600"), PAPER["mnist-two"]) == ["protocol.budget", "learner.l2"]


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_asal_as_in_the_paper_is_the_papers(path: Path) -> None:
    spec = load(path)
    papers = [table for table in spec.strategies.values() if table.kind == "asal" and table.options.get("paper")]
    assert papers or path == DEMO
    for table in papers:
        assert set(table.options) == {"paper"}, "the paper's with an option of ours"
        assert table.features and spec.features[table.features].dimensions == 50
    assert spec.protocol.score == "entropy" or path == DEMO


def test_the_template_of_init_is_a_spec() -> None:
    text = resources.files("asal").joinpath("templates/asal.toml").read_text(encoding="utf-8")
    filled = Template(text).substitute(name="x", path='"/images"', size=64, gray="false", rate="some", test="test = 20")
    spec = parse(tomllib.loads(filled))
    assert set(check(spec)) == {"asal", "random", "subset"}
    commented = re.sub(r"^# (\w+ = )", r"\1", filled, flags=re.MULTILINE)  # what is offered can be taken
    assert check(parse(tomllib.loads(commented))) and parse(tomllib.loads(commented)).pool.keep == ("cat", "dog")


def test_every_option_of_a_shipped_spec_is_one_of_its_part() -> None:
    """A misspelt option is caught: without this the tests above would prove little."""
    from asal.check import REGISTRIES

    for path in SHIPPED:
        spec: Spec = load(path)
        assert spec.generator
        part: Part = REGISTRIES["generators"][spec.generator.kind]
        assert set(spec.generator.options) <= set(part.parameters)


@pytest.mark.skipif("ASAL_DATA_DIR" not in os.environ, reason="ASAL_DATA_DIR does not say where the data sets are")
@pytest.mark.parametrize("name", ["mnist-two", "cifar-two", "mnist-ten"])
def test_its_split_is_in_the_data(name: str, tmp_path: Path) -> None:
    from asal.ingest import Split, divide
    from asal.sources import sources

    spec = Project(tmp_path, load(ROOT / "specs" / f"{name}.toml")).spec
    source = sources[spec.source.kind].make(**spec.source.options)
    parts = divide(source, Split(**spec.pool.split.model_dump()), spec.pool.keep)
    sizes = {part: len(found.rows) for part, found in parts.items()}
    expected = {
        "mnist-two": {"test": 892 + 1028}, "cifar-two": {"pool": 10_000, "test": 2_000},
        "mnist-ten": {"pool": 50_000, "validation": 10_000, "test": 10_000},
    }  # fmt: skip
    assert expected[name].items() <= sizes.items()
    assert len(parts["pool"].classes) == (10 if name == "mnist-ten" else 2)
