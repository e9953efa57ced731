"""What mkdocs cannot do alone: pages from files beside docs/, the references, and links out of docs/."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from asal.cli.main import app

sys.path.insert(0, str(Path(__file__).parent))
import site_refusals  # mkdocs loads this file alone, without its folder on the path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "asal"
BESIDE = {  # pages of the site whose files lie outside docs/
    "index.md": "README.md",
    "specs/index.md": "specs/README.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
    "project/releasing.md": "RELEASING.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/benchmarks.md": "benchmarks/README.md",
}
PACKAGES = (  # in the order in which data passes through them
    *("core", "errors", "registry", "data", "models", "features", "index", "strategies", "session", "project"),
    *("experiments", "reports", "labelling", "paper", "testing", "web", "runtime"),
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the parts of the navigation that follow from what is there."""
    for entry in config.nav or []:
        (title,) = entry
        if title == "Results":
            entry[title] = ["results/README.md", *_pages("results")]
        elif title == "Decisions":
            entry[title] = ["decisions/index.md", *_pages("decisions")]
        elif title == "Reference":
            api = ["reference/api/index.md", *({name: f"reference/api/asal-{name}.md"} for name in PACKAGES)]
            entry[title] = [{"API": api} if "API" in one else one for one in entry[title]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated, or written from files outside docs/."""
    texts = {page: (ROOT / path).read_text(encoding="utf-8") for page, path in BESIDE.items()}
    texts |= {"reference/cli.md": cli_page(), "decisions/index.md": decisions_page(), **api_pages()}
    texts["reference/refusals.md"] = site_refusals.page()
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that lead out of docs/ into links of the site, or into plain text where the site has no such page."""
    here = page.file.src_uri
    place = BESIDE.get(here, f"docs/{here}")

    def rewritten(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        page_of = {path: name for name, path in BESIDE.items()}.get(path, path.removeprefix("docs/"))
        if page_of == path and path.startswith("docs/") is False and (ROOT / path).exists():
            return text  # a file of the repository that is no page
        if (ROOT / path).is_dir():
            page_of = {"how-to": "how-to/label.md", "results": "results/README.md"}.get(page_of, f"{page_of}/index.md")
        return f"[{text}]({posixpath.relpath(page_of, posixpath.dirname(here) or '.')}{anchor})"

    return re.sub(
        r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]+)?\)", rewritten, _pictures(markdown, here)
    )


def _pictures(markdown: str, here: str) -> str:
    return re.sub(r"(!\[[^\]]*\]\()docs/", r"\1", markdown) if here in BESIDE else markdown


def _pages(folder: str) -> list[str]:
    names = sorted(path.name for path in (ROOT / "docs" / folder).glob("*.md"))
    return [f"{folder}/{name}" for name in names if name != "README.md"]


def decisions_page() -> str:
    """Return the list of decisions, by their titles."""
    lines = [
        "# Decisions",
        "",
        "Why the code is built the way it is. Each page is one decision, with what was considered.",
        "",
    ]
    for name in _pages("decisions"):
        title = (ROOT / "docs" / name).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title.replace('. ', ': ', 1)}]({posixpath.basename(name)})")
    return "\n".join(lines)


def api_pages() -> dict[str, str]:
    """Return one page for each package, with the docstrings of all its public modules."""
    pages = {}
    rows = [
        "# API",
        "",
        "One page per package, from the docstrings. `import asal` offers the names that most programs need:",
        "",
    ]
    rows += ["::: asal", "    options: {show_root_heading: false, members: false}", ""]
    rows += ["| package | what it is |", "|---|---|"]
    for name in PACKAGES:
        modules = list(_modules(name))
        pages[f"reference/api/asal-{name}.md"] = "\n".join(
            [f"# asal.{name}", "", *(f"::: {module}\n" for module in modules)]
        )
        path = SOURCE / f"{name}.py" if (SOURCE / f"{name}.py").exists() else SOURCE / name / "__init__.py"
        first = re.match(r'"""(.*?)(?:"""|\n)', path.read_text(encoding="utf-8"))
        rows.append(f"| [`asal.{name}`](asal-{name}.md) | {first[1] if first else ''} |")
    return {"reference/api/index.md": "\n".join(rows), **pages}


def _modules(name: str) -> Iterator[str]:
    if (SOURCE / f"{name}.py").exists():
        yield f"asal.{name}"
        return
    for path in sorted((SOURCE / name).rglob("*.py")):
        steps = path.relative_to(SOURCE.parent).with_suffix("").parts
        if not {"templates", "migrations"} & set(steps):
            yield ".".join(steps[:-1] if steps[-1] == "__init__" else steps)


def cli_page() -> str:
    """Return the reference of the command line, from the help of each command."""
    group = typer.main.get_command(app)
    lines = ["# Command line", "", "What `asal COMMAND --help` prints, on one page.", "", group.help or "", ""]
    for path, command in _commands(group, ("asal",)):
        lines += [f"## {' '.join(path)}", "", _usage(path, command), "", re.sub(r"\f.*", "", command.help or ""), ""]
        lines += _options(command)
    return "\n".join(lines)


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _usage(path: tuple[str, ...], command: Any) -> str:
    context = click.Context(command, info_name=" ".join(path))
    return f"```text\n{' '.join([' '.join(path), *command.collect_usage_pieces(context)])}\n```"


def _options(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        argument = parameter.param_type_name == "argument"
        name = (
            parameter.metavar or parameter.name.upper()
            if argument
            else ", ".join([*parameter.opts, *parameter.secondary_opts])
        )
        default = parameter.default
        shown = (
            ""
            if default in (None, "", False, True) or callable(default) or not parameter.show_default
            else f" Default: `{default}`."
        )
        if parameter.name == "jobs":
            shown = " Default: the number of cores."
        text = re.sub(r"\s+", " ", parameter.help or "").strip().replace("|", "\\|")
        rows.append(f"| `{name}` | {text}{shown} |")
    return ["| argument or option | |", "|---|---|", *rows, ""] if rows else []


os.environ.setdefault("COLUMNS", "100")
