"""How the command line says what went wrong."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from asal.errors import UserError

errors = Console(stderr=True)
Misuse: Any = typer.BadParameter.__mro__[1]  # typer keeps the name of its usage errors to itself
INTERRUPTED = 130  # what a shell calls a command that Ctrl-C ended


def print_error(error: UserError) -> None:
    """Print an error: what happened, the rule where there is one, and a hint."""
    for word, text in (("error", error.got), ("rule", error.rule), ("hint", error.hint)):
        if text:
            label = (f"{word}:".ljust(7), "bold red" if word == "error" else "dim")
            errors.print(Text.assemble(label, " ".join(text.split())), soft_wrap=True)


def run_to_its_end(app: typer.Typer) -> None:
    """Run the command line; errors that a user can put right are printed in three lines at most."""
    try:
        code = app(standalone_mode=False, prog_name="asal")
        if code == INTERRUPTED:
            errors.print("stopped; the same command goes on from here")
        sys.exit(code)
    except Misuse as error:
        if said := error.format_message():  # nothing, where no command was given and the help stands there already
            place = error.ctx.command_path if error.ctx else "asal"
            print_error(UserError(said, hint=f"see `{place} --help`"))
        sys.exit(2)
    except UserError as error:
        if os.environ.get("ASAL_DEBUG"):
            raise
        print_error(error)
        sys.exit(2)
    except Exception as error:
        if os.environ.get("ASAL_DEBUG"):
            raise
        got = f"{type(error).__name__}: {str(error).strip().rpartition(chr(10))[2]}"
        print_error(UserError(got, hint="this is a bug: run `asal --debug …` to see where it happened, and report it"))
        sys.exit(1)
