"""The code blocks of a page, and its commands, run where they fail as the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from asal.cli.main import app
from asal.errors import UserError

BLOCK = re.compile(r"(?:<!-- (?P<change>.+?) -->\n\n)?```text\n\$ asal (?P<command>.+)\n(?P<output>(?:.*\n)*?)```")


def blocks(document: Path, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def message(command: str) -> str:
    """Return what a command prints about its error, or its lines that begin as those of an error do."""
    result = CliRunner().invoke(app, shlex.split(command))
    if isinstance(result.exception, UserError):
        error = result.exception
        lines = {"error: ": error.got, "rule:  ": error.rule, "hint:  ": error.hint}
        return "".join(f"{head}{text}\n" for head, text in lines.items() if text)
    found = re.findall(r"^(?:error|rule|hint):.*\n(?:(?!error|rule|hint|\S+: )\S.*\n)*", result.output, re.MULTILINE)
    return "".join(" ".join(lines.splitlines()) + "\n" for lines in found)


def changed(folder: Path, change: str) -> Iterator[None]:
    """Change a file as a page's comment says, and restore it: "FILE: OLD → NEW", or "damaged: FOLDER"."""
    name, _, what = change.partition(": ")
    if name == "damaged":
        path = min((folder / what / "images").glob("*.npy"))
        before = path.read_bytes()
        path.write_bytes(before[:-5] + bytes([before[-5] ^ 255]) + before[-4:])
    else:
        path = folder / name
        before = path.read_bytes()
        old, new = what.split(" → ")
        assert old.encode() in before, f"{name} has no {old}"
        path.write_bytes(before.replace(old.encode(), new.encode()))
    yield
    path.write_bytes(before)


def blocks_of(text: str, folder: Path) -> Iterator[tuple[re.Match[str], str]]:
    """Yield each block of a page that holds a command, with what the command says now; run in `folder`."""
    for match in BLOCK.finditer(text):
        change = changed(folder, match["change"]) if match["change"] else iter(())
        next(change, None)
        yield match, message(match["command"])
        next(change, None)
