"""What a record must agree with when it is opened: the pool, the seed, and the list of classes that asal.toml names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from asal.core import Pool
from asal.errors import UserError
from asal.session.events import FORMAT, Event
from asal.session.state import State, check_size

MOST = 3  # names in a hint


def opening_body(pool: Pool, classes: Sequence[str], seed: int) -> dict[str, Any]:
    """Return what the first event of a record says."""
    return {
        "format": FORMAT,
        "asal": _version(),
        "pool": pool.fingerprint,
        "images": len(pool),
        "classes": list(classes),
        "seed": seed,
    }


def _version() -> str:
    try:
        return metadata.version("asal")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def check_record(name: str, state: State, pool: Pool, seed: int) -> None:
    """Refuse a record of another pool or another seed.

    Raises:
        UserError: says which.
    """
    now = {"pool": pool.fingerprint, "seed": seed}
    recorded = state.opened or now  # a record without events fits
    for fact, here in now.items():
        if recorded[fact] != here:
            raise UserError(
                f"{name} was begun with {fact} = {recorded[fact]!r}, and this session has {here!r}",
                rule="a record belongs to one pool and one seed",
                hint=f"use the {fact} that it was begun with, or start a new record",
            )
    check_size(name, state, len(pool))


def new_classes(name: str, state: State, wanted: Sequence[str], project: str = "PROJECT") -> list[Event]:
    """Return the event that adds the classes which a list has and the record lacks; none where it lacks none.

    A list as the record's was at any time adds nothing: the record is ahead of it, since somebody has changed the
    classes from the page or the command line.

    Args:
        name: of the record.
        wanted: the classes that asal.toml names, or a program.
        project: the project's folder, as the hint names it.

    Raises:
        UserError: a class of the record is missing in the list, so that it may have been renamed, merged or dropped.
    """
    classes = state.classes
    if state.opened is None or frozenset(wanted) in classes.past:
        return []
    missing = [each for each in classes.numbers if each not in wanted]
    new = [each for each in wanted if each not in classes.numbers]
    before = [each for each in new if any(each in classes.named(number) for number in range(len(classes.names)))]
    if missing or before:
        changed = "" if list(state.opened["classes"]) == list(classes.numbers) else f", by now {list(classes.numbers)}"
        raise UserError(
            f"{name} was begun with classes = {state.opened['classes']!r}{changed}, and this session has {wanted!r}",
            rule="a list may add classes; what became of one that it lacks is said by a command",
            hint=f"say which: {' · '.join(_commands(project, missing, new, before))}",
        )
    return [Event("classes", state.number, body={"change": "added", "names": new})]


def _commands(project: str, missing: Sequence[str], new: Sequence[str], before: Sequence[str]) -> list[str]:
    """Return the commands, one of which makes a record's classes those of the list."""
    asal, commands = f"asal classes {project}", []
    for name in missing[:MOST]:
        commands += [f"{asal} rename '{name}' '{each}'" for each in new[:MOST] if each not in before]
        commands += [f"{asal} drop '{name}'", f"{asal} merge '{name}' INTO"]
    return [*commands, *(f"{asal} add '{name}'" for name in before[:MOST])]
