"""How the command line reports errors."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from asal.errors import PluginWarning, UserError

errors = Console(stderr=True)
Misuse: Any = typer.BadParameter.__mro__[1]  # typer keeps the name of its usage errors to itself
INTERRUPTED = 130  # what a shell calls a command that Ctrl-C ended


def print_error(error: UserError) -> None:
    """Print an error: what happened, the rule where there is one, and a hint."""
    for word, text in (("error", error.got), ("rule", error.rule), ("hint", error.hint)):
        if text:
            label = (f"{word}:".ljust(7), "bold red" if word == "error" else "dim")
            errors.print(Text.assemble(label, " ".join(text.split())), soft_wrap=True)


@contextmanager
def _one_line_a_plugin() -> Iterator[None]:
    """Print one line for each plug-in that cannot be imported; other warnings look as usual."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if not issubclass(category, PluginWarning):
                usual(message, category, *rest, **more)
                return
            label = ("warning: ", "bold yellow")
            errors.print(Text.assemble(label, " ".join(str(message).split())), soft_wrap=True)

        warnings.showwarning = show
        yield


def run_and_exit(app: typer.Typer) -> None:
    """Run the command line and exit; errors that a user can put right are printed in three lines at most."""
    with _one_line_a_plugin():
        _run_and_exit(app)


def _run_and_exit(app: typer.Typer) -> None:
    try:
        code = app(standalone_mode=False, prog_name="asal")
        if code == INTERRUPTED:
            errors.print("stopped; run the same command again to go on")
        sys.exit(code)
    except Misuse as error:
        if message := error.format_message():  # none where no command was given: the help has been printed
            place = error.ctx.command_path if error.ctx else "asal"
            print_error(UserError(message, hint=f"see `{place} --help`"))
        sys.exit(2)
    except UserError as error:
        if os.environ.get("ASAL_DEBUG"):
            raise
        print_error(error)
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("ASAL_DEBUG"):
            raise
        last_line = str(error).strip().rpartition("\n")[2]
        got = f"asal stopped at an error that it does not know ({type(error).__name__}: {last_line})"
        print_error(UserError(got, hint="run `asal --debug …` to see where it happened, and report it as a bug"))
        sys.exit(1)
