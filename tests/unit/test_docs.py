"""What the documents show can be run, and what they name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.page_commands import blocks
from typer.testing import CliRunner

from asal.cli.main import app
from asal.paper.exhibits import EXHIBITS
from asal.project.validate import REGISTRIES

pytestmark = pytest.mark.slow

ROOT_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md")
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ROOT_PAGES),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("specs", "benchmarks")),
    ]
)


@pytest.mark.slow
def test_the_readmes_python_labels_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for number in range(220):
        folder = tmp_path / "images" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(100, size=(8, 8), dtype=np.uint8) + 100 * (number % 2)).save(
            folder / f"{number}.png"
        )
    monkeypatch.chdir(tmp_path)
    started = CliRunner().invoke(
        app, ["init", "--no-estimate", "my-project", "--images", "images", "--size", "8", "--gray"]
    )
    assert started.exit_code == 0, started.output
    spec = tmp_path / "my-project" / "asal.toml"
    assert 'kind = "cnn"' in spec.read_text()
    spec.write_text(spec.read_text().replace('kind = "cnn"', 'kind = "linear"'))
    prepared = CliRunner().invoke(app, ["prepare", "my-project"])
    assert prepared.exit_code == 0, prepared.output

    def show_and_ask(picture: Any) -> str | None:
        return "cat" if picture.mean() > 100 else "dog"

    (block,) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {"show_and_ask": show_and_ask}
    exec(block.replace("200", "40"), names)
    assert len(names["session"].labelled) == 40
    assert {key.split("/")[0] for key in names["keys"]} == {"cat", "dog"}


HELPERS = {"make", "cp", "mkdir", "pip", "pytest"}  # what a command line may begin with, beside asal


def wrong(line: str) -> str:
    """Say what is wrong with a command line of a document; nothing where it can be typed."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    if not words:
        return ""
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "" if words[1] in targets else f"the Makefile has no {words[1]}"
    if words[0] == "python":
        return "" if (ROOT / words[1]).is_file() else f"there is no {words[1]}"
    if words[0] != "asal":
        return "" if words[0] in HELPERS else f"{words[0]} is not asal's"
    group = words[1] in {one.typer_instance.info.name for one in app.registered_groups if one.typer_instance}
    shown = CliRunner().invoke(app, [*words[1 : 3 if group else 2], "--help"])
    said = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    unknown = [word for word in words if word.startswith("--") and word not in said]
    if words[1] == "reproduce" and words[2] not in EXHIBITS:
        unknown.append(words[2])
    unknown += [word for word in words if re.fullmatch(r"specs/.*\.toml", word) and not (ROOT / word).exists()]
    return f"asal {words[1]} is no command" if shown.exit_code else ", ".join(unknown)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_document_exist(document: Path) -> None:
    for line in "\n".join(blocks(document, "console")).splitlines():
        assert not wrong(line), f"{wrong(line)}: {line}"


def test_the_check_of_commands_can_fail() -> None:
    assert "README.md" in {path.name for path in DOCUMENTS if blocks(path, "console")}
    assert not wrong("asal run specs/mnist-two.toml --out x --seeds 3  # --nonsense") and not wrong("A=b make test")
    assert not wrong("asal label-studio push x --url y")
    assert wrong("asal label-studio push x --uri y") and wrong("asal label-studio posh")
    for line in ("asal rum x", "asal run x --sed 3", "asal reproduce fig7", "make nothing", "sudo asal run"):
        assert wrong(line), line
    assert wrong("asal run specs/no.toml") == "specs/no.toml"


def test_the_guide_tells_of_every_exhibit() -> None:
    table = (ROOT / "docs/how-to/reproduce-the-paper.md").read_text(encoding="utf-8")
    rows = {row[0]: row for row in re.findall(r"^\| `(\w+)` \| .* \| (.*) \| (.*) \| .* \|$", table, re.MULTILINE)}
    assert set(rows) == set(EXHIBITS)
    for name, it in EXHIBITS.items():
        _, needs, seeds = rows[name]
        assert seeds in ((str(it.seeds),) if it.panels else ("–", "1"))
        if it.panels and name not in ("fig3b", "fig5"):
            assert needs.startswith(f"{it.panels[0].spec}: ")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_list_shows_every_part() -> None:
    shown = CliRunner().invoke(app, ["list"]).output
    for registry in REGISTRIES.values():
        for name in registry:
            assert name in shown
            assert registry[name].summary, f"{name} has no docstring"


def test_nothing_is_left_to_be_filled_in() -> None:
    for document in DOCUMENTS:
        assert "@@" not in document.read_text()
