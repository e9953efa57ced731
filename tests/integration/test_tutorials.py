"""The tutorials can be followed, and the messages of the troubleshooting page are real."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, page_commands
from support.page_commands import blocks
from typer.testing import CliRunner

from asal.cli.main import app

TROUBLES = ROOT / "docs/how-to/troubleshooting.md"


def write_digits(folder: Path) -> None:
    """Write the folder of images that the tutorial's first block writes, and an unprepared project."""
    exec(blocks(ROOT / "docs/tutorials/first-labelling-session.md", "python")[0], {})
    assert len(list((folder / "digit-images").rglob("*.png"))) == 1797


def asal(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output or result.exception
    return result.output


def answer_as_a_person(project: str, wanted: int) -> None:
    """Give the answers that the tutorial's reader gives, as the page's server would."""
    from asal import Project

    opened = Project.open(project)
    session = opened.session("spread")
    while len(session.labelled) < wanted:
        for image in session.ask(10 if len(session.labelled) else 20).ids:
            session.tell({image: opened.pool.keys([image])[0].split("/")[0]}, by="reader")


def test_the_tutorial_on_labelling_ends_with_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs/tutorials/first-labelling-session.md"
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path)
    init, prepare, label, export = [shlex.split(block.strip())[1:] for block in blocks(page, "console")]
    asal(*init)
    Path("my-digits/asal.toml").write_text(blocks(page, "toml")[0])
    asal(*prepare)
    assert label == ["label", "my-digits"]  # what its page does is tested in tests/system/web
    answer_as_a_person("my-digits", 60)
    asal(*export)
    assert len(Path("labels/labels.csv").read_text().splitlines()) == 61


def test_the_tutorial_on_experiments_ends_with_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs/tutorials/first-experiment.md"
    monkeypatch.chdir(tmp_path)
    first, more = blocks(page, "toml")
    Path("digits.toml").write_text(first.replace("budget = 200", "budget = 30"))
    run, report = [shlex.split(block.strip())[1:] for block in blocks(page, "console")]
    asal(*run[:-1], "2", "--jobs", "1")
    asal(*report)
    (python,) = blocks(page, "python")
    names: dict[str, Any] = {}
    exec(python.replace("seeds=5", "seeds=2"), names)  # goes on in the same folder, where all is done
    assert names["results"].table() is not None
    assert {"random", "margin", "entropy"} <= set(
        re.findall(r"^\| (\w+) \|", Path("run-digits/summary.md").read_text(), re.M)
    )
    Path("digits.toml").write_text(first + more)
    from asal.project import validate
    from asal.project.spec import load

    assert "asal" in validate.check(load(Path("digits.toml")), None).strategies


def test_the_tutorial_on_strategies_runs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs/tutorials/your-own-strategy.md"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_strategies.py").write_text(blocks(page, "python")[0])
    (spec,) = blocks(ROOT / "docs/tutorials/first-experiment.md", "toml")[:1]
    Path("digits.toml").write_text(spec.replace("budget = 200", "budget = 30") + blocks(page, "toml")[0])
    run, report = [shlex.split(line) for line in blocks(page, "console")[0].splitlines()]
    assert run[:2] == ["PYTHONPATH=.", "asal"]
    asal(*[word if word != "5" else "1" for word in run[2:]], "--jobs", "1")
    asal(*report[1:])
    assert "| doubtful |" in Path("run-doubtful/summary.md").read_text()


def test_the_messages_of_troubleshooting_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ASAL_WRITE_DOCS=1` writes them into the page instead."""
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path)
    spec = blocks(ROOT / "docs/tutorials/first-experiment.md", "toml")[0].replace("budget = 200", "budget = 30")
    Path("digits.toml").write_text(spec)
    asal("run", "digits.toml", "--out", "run-digits", "--seeds", "1", "--jobs", "1", "--strategies", "random")
    for project in ("not-prepared", "my-digits"):
        asal("init", "--no-estimate", project, "--images", "digit-images", "--size", "8", "--gray")
        toml = blocks(ROOT / "docs/tutorials/first-labelling-session.md", "toml")[0].replace("my-digits", project)
        Path(project, "asal.toml").write_text(toml)
    asal("prepare", "my-digits")
    text = TROUBLES.read_text(encoding="utf-8")
    found = list(page_commands.blocks_of(text, tmp_path))
    assert len(found) >= 10
    for match, said in found:
        assert said.startswith("error: "), match["command"]
    if os.environ.get("ASAL_WRITE_DOCS"):
        for match, said in reversed(found):
            text = text[: match.start("output")] + said + text[match.end("output") :]
        TROUBLES.write_text(text, encoding="utf-8")
    else:
        assert [match["output"] for match, _ in found] == [said for _, said in found]
