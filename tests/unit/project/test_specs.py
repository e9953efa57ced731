"""The shipped specs can be run as they are, and mark every setting that is not the paper's."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
from support import ROOT

from asal.paper.exhibits import EXHIBITS
from asal.project.project import Project
from asal.project.spec import Spec, load, parse
from asal.project.validate import check
from asal.registry import Part

DEMO = Path(str(resources.files("asal.experiments").joinpath("demo.toml")))
RANKING = ("uncertainty", "subset", "asal")  # strategies that a score ranks for
SHIPPED = [*sorted((ROOT / "specs").glob("*.toml")), DEMO]
NAMES = [path.stem for path in SHIPPED]

# Settings that the paper gives, and where. All others have to be marked.
GRAY = {"pool.gray": (True, "section 4.1")}
SPLIT_OF_MNIST = {
    "pool.split.train": (50_000, "section 4.1"),
    "pool.split.validation": (10_000, "section 4.1"),
    "pool.split.test": ("test", "section 4.1: 10k"),
}
CELEBA = {
    "pool.size": (64, "section 4.1"),
    "pool.split.validation": ("validation", "section 4.1: 20k"),
    "pool.split.test": ("test", "section 4.1: 20k"),
}
PAPER: dict[str, dict[str, tuple[object, str]]] = {
    "mnist-two": {
        **GRAY, **SPLIT_OF_MNIST,
        "pool.keep": (["5", "7"], "section 4.1"),
        "protocol.budget": (500, "figure 3a, section 5.3"),
    },
    "mnist-ten": {
        **GRAY, **SPLIT_OF_MNIST,
        "features.wide-5.dimensions": (5, "figure 3d"),
        "features.wide-50.dimensions": (50, "figure 3d"),
        "features.wide-500.dimensions": (500, "figure 3d"),
    },
    "cifar-two": {
        "pool.keep": (["automobile", "horse"], "section 4.1"),
        "pool.split.test": ("test", "section 4.1"),
    },
    "cifar-ten": {"pool.split.test": ("test", "section 4.1: 10k")},
    "celeba-blond-hair": CELEBA, "celeba-wearing-hat": CELEBA, "celeba-bangs": CELEBA, "celeba-eyeglasses": CELEBA,
    "svhn": {"pool.split.test": ("test", "section 4.1: 26k")},
    "lsun": {"pool.size": (64, "section 4.1")},
}  # fmt: skip
CHOSEN = (
    "pool",
    "generator",
    "features",
    "learner",
    "reference",
    "protocol",
)  # the sections whose settings influence a curve


def test_there_is_one_for_each_benchmark() -> None:
    assert {*PAPER, "demo"} == set(NAMES)


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_it_fits_the_parts_as_they_are(path: Path) -> None:
    spec = load(path)
    tables = check(spec).tables
    assert {"random", "uncertainty"} <= set(tables) and any(table.kind == "asal" for table in tables.values())
    assert any(table.kind == "subset" for table in tables.values()), "the baseline that the paper leaves out"
    assert spec.name == (path.stem if path != DEMO else "digits")


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_it_can_be_written_and_read_back(path: Path) -> None:
    spec = load(path)
    assert parse(spec.model_dump(mode="json")) == spec


def unmarked(text: str, paper: dict[str, tuple[object, str]]) -> list[str]:
    """Return the settings that are neither the paper's nor marked as our choice."""
    spec = tomllib.loads(text)
    if "every setting here is our choice" in text.lower():
        return []
    section, covered, missing = "", False, []
    for line in text.splitlines():
        if head := re.match(r"\[(.+)\]", line):
            section, covered = head[1], "our choice" in line
        elif (setting := re.match(r"(\w+) *=", line)) and section.split(".")[0] in CHOSEN:
            name = f"{section}.{setting[1]}"
            covered = covered or (setting[1] == "kind" and "our choice" in line)
            value: object = spec
            for step in name.split("."):
                value = value[step]  # type: ignore[index]
            given = name in paper and paper[name][0] == value
            if setting[1] != "kind" and "our choice" not in line and not covered and not given:
                missing.append(name)
    return missing


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_a_setting_that_is_not_the_papers_is_marked_as_our_choice(path: Path) -> None:
    assert not unmarked(path.read_text(encoding="utf-8"), PAPER.get(path.stem, {}))


def test_the_check_of_marks_can_fail() -> None:
    text = '[protocol]\nbatch = 10\nbudget = 500\n[learner]\nkind = "linear"\nl2 = 0.1\n'
    assert unmarked(text, PAPER["mnist-two"]) == ["protocol.batch", "learner.l2"]
    marked = text.replace("= 0.1", "= 0.1  # our choice").replace("= 10", "= 10  # our choice")
    assert unmarked(marked, PAPER["mnist-two"]) == []
    assert unmarked(marked.replace("500", "600"), PAPER["mnist-two"]) == ["protocol.budget"]


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_asal_as_in_the_paper_has_no_option_of_ours(path: Path) -> None:
    spec = load(path)
    papers = [table for table in spec.strategies.values() if table.kind == "asal" and table.options.get("paper")]
    assert papers or path == DEMO
    for table in papers:
        assert table.options == {"paper": True, "score": table.options["score"]}, "it has an option of ours"
        assert table.features and spec.features[table.features].dimensions in (5, 50, 500)  # 5 and 500 in figure 3d
    assert spec.protocol.score == "entropy" or path == DEMO


def test_the_exhibits_strategies_name_the_papers_score() -> None:
    """So that the paper's claims are about the same strategies whatever the default is."""
    named = [
        (panel.spec, name, load(ROOT / "specs" / f"{panel.spec}.toml").strategies[name])
        for exhibit in EXHIBITS.values()
        for panel in exhibit.panels
        for name in panel.strategies
    ]
    given = [(spec, name, table.options.get("score")) for spec, name, table in named if table.kind in RANKING]
    assert len(given) > 50 and {score for *_, score in given} == {"entropy"}, given


def test_every_option_of_a_shipped_spec_is_one_of_its_part() -> None:
    """A misspelt option is caught: without this the tests above would prove little."""
    from asal.project.validate import REGISTRIES

    for path in SHIPPED:
        spec: Spec = load(path)
        assert spec.generator
        part: Part = REGISTRIES["generators"][spec.generator.kind]
        assert set(spec.generator.options) <= set(part.parameters)


@pytest.mark.skipif("ASAL_DATA_DIR" not in os.environ, reason="ASAL_DATA_DIR does not say where the data sets are")
@pytest.mark.parametrize("name", ["mnist-two", "cifar-two", "mnist-ten", "cifar-ten"])
def test_its_split_is_in_the_data(name: str, tmp_path: Path) -> None:
    from asal.data.sources import sources
    from asal.data.splits import Split, make_splits

    spec = Project(tmp_path, load(ROOT / "specs" / f"{name}.toml")).spec
    source = sources[spec.source.kind].make(**spec.source.options)
    parts = make_splits(source, Split(**spec.pool.split.model_dump()), spec.pool.keep)
    sizes = {part: len(found.rows) for part, found in parts.items()}
    expected = {
        "mnist-two": {"test": 892 + 1028}, "cifar-two": {"pool": 10_000, "test": 2_000},
        "mnist-ten": {"pool": 50_000, "validation": 10_000, "test": 10_000},
        "cifar-ten": {"pool": 50_000, "test": 10_000},
    }  # fmt: skip
    assert expected[name].items() <= sizes.items()
    assert len(parts["pool"].classes) == (10 if name.endswith("ten") else 2)


# specs/README.md

COLUMNS = ("mnist-two", "mnist-ten", "cifar-two", "cifar-ten", "celeba-blond-hair", "svhn", "lsun")  # one of four


def settings(name: str) -> dict[str, object]:
    """Return the settings that a spec gives in the sections that influence a curve: `protocol.batch` → 10."""
    spec = tomllib.loads((ROOT / "specs" / f"{name}.toml").read_text(encoding="utf-8"))

    def flat(path: str, table: dict[str, object]) -> dict[str, object]:
        flattened: dict[str, object] = {}
        for key, value in table.items():
            flattened |= flat(f"{path}.{key}", value) if isinstance(value, dict) else {f"{path}.{key}": value}
        return flattened

    everything = {}
    for section in CHOSEN:
        everything |= flat(section, spec.get(section, {}))
    return {key: value for key, value in everything.items() if not key.endswith(".kind")}


def cell(name: str, setting: str) -> str:
    given = settings(name)
    if setting not in given:
        return ""
    value = given[setting]
    shown = ", ".join(value) if isinstance(value, list) else f"{value:,}" if type(value) is int else f"{value}".lower()
    where = PAPER[name].get(setting, (None, ""))[1]
    return f"**{shown}**" if where else shown


def settings_table() -> str:
    """Return the table of settings as specs/README.md has to show it."""
    rows = {key for name in COLUMNS for key in settings(name)}
    heads = ["celeba-…" if name.startswith("celeba") else name for name in COLUMNS]
    lines = ["| setting | " + " | ".join(heads) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in sorted(rows, key=lambda key: (CHOSEN.index(key.split(".")[0]), key)):
        lines.append(f"| `{row}` | " + " | ".join(cell(name, row) for name in COLUMNS) + " |")
    return "\n".join(lines)


def places() -> str:
    """Return the places in the paper of its settings, as specs/README.md has to show them."""
    lines = []
    for name in COLUMNS:
        by_place: dict[str, list[str]] = {}
        for setting, (_, where) in PAPER[name].items():
            by_place.setdefault(where, []).append(f"`{setting}`")
        parts = "; ".join(f"{', '.join(names)} ({where})" for where, names in by_place.items())
        lines.append(f"- {'celeba-…' if name.startswith('celeba') else name}: {parts}")
    return "\n".join(lines)


@pytest.mark.parametrize("part", [settings_table, places], ids=["table", "places"])
def test_the_readme_of_the_specs_agrees_with_them(part: Callable[[], str]) -> None:
    expected = part()
    assert expected in (ROOT / "specs/README.md").read_text(encoding="utf-8"), f"put this there:\n{expected}"


def test_the_readme_of_the_specs_names_them_all() -> None:
    text = (ROOT / "specs/README.md").read_text(encoding="utf-8")
    for name in PAPER:
        assert f"[{name}]({name}.toml)" in text, name


def test_the_four_of_celeba_differ_in_their_attribute_alone() -> None:
    specs = [load(ROOT / "specs" / f"{name}.toml") for name in PAPER if name.startswith("celeba")]
    attributes = {spec.source.options["attribute"] for spec in specs}
    assert attributes == {"Blond_Hair", "Wearing_Hat", "Bangs", "Eyeglasses"}  # section 4.1
    alike = [spec.model_dump(exclude={"name"}) | {"source": None} for spec in specs]
    for spec in alike:  # figure 5d alone compares the classifier's own features
        spec["features"].pop("classifier", None)
        spec["strategies"].pop("asal-classifier", None)
    assert all(other == alike[0] for other in alike)
