"""What the documents show can be run, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from asal.check import REGISTRIES
from asal.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), ROOT / "specs/README.md"]
)
TINY = """
[generator]
kind = "wgan-gp"
steps = 5
width = 4
latent_dim = 8

[features.autoencoder]
steps = 5
width = 4
code = 8

[index]
kind = "exact"

[learner]
kind = "linear"
"""


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def test_the_readmes_python_labels_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for number in range(220):
        folder = tmp_path / "images" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(100, size=(8, 8), dtype=np.uint8) + 100 * (number % 2)).save(
            folder / f"{number}.png"
        )
    monkeypatch.chdir(tmp_path)
    started = CliRunner().invoke(app, ["init", "my-project", "--images", "images", "--size", "8", "--gray"])
    assert started.exit_code == 0, started.output
    spec = tmp_path / "my-project" / "asal.toml"
    head, tail = spec.read_text().split("[generator]")
    spec.write_text(head + TINY + tail[tail.index("[protocol]") :])
    prepared = CliRunner().invoke(app, ["prepare", "my-project"])
    assert prepared.exit_code == 0, prepared.output

    def show_and_ask(picture: Any) -> str | None:
        return "cat" if picture.mean() > 100 else "dog"

    (block,) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {"show_and_ask": show_and_ask}
    exec(block.replace("200", "40"), names)
    assert len(names["session"].labelled) == 40
    assert {key.split("/")[0] for key in names["keys"]} == {"cat", "dog"}


def test_the_readmes_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in "\n".join(blocks(ROOT / "README.md", "console")).splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "make":
            assert words[1] in targets
        else:
            assert words[0] == "asal"
            shown = CliRunner().invoke(app, [words[1], "--help"])
            assert shown.exit_code == 0, line
            for option in (word for word in words if word.startswith("--")):
                assert option in re.sub(r"\x1b\[[0-9;]*m", "", shown.output), f"{option} in: {line}"


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
