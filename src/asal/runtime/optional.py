"""Libraries that not every installation has."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from asal.errors import UserError


def require(name: str, *, extra: str, why: str = "", hint: str = "") -> Any:
    """Import a library that an extra of asal brings, and return it.

    Args:
        name: of the module, such as "faiss" or "nltk.metrics.agreement".
        extra: of asal, as in `pip install 'asal[extra]'`.
        why: what needs it, as a sentence of plain English.
        hint: what else helps, behind the command, such as "or take the index 'exact'".

    Raises:
        UserError: it is not installed, or does not import.
    """
    library = name.partition(".")[0]
    command = ", ".join(part for part in (f"pip install 'asal[{extra}]'", hint) if part)
    try:
        return import_module(name)
    except Exception as error:  # a library that was built for another one raises whatever it meets
        if isinstance(error, ModuleNotFoundError) and find_spec(library) is None:
            raise UserError(f"{library} is not installed", rule=why, hint=command) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{library} does not import: {reason}", rule=why, hint=f"install it again: {command}") from None
