"""`asal classes`: what the command line shows and changes of a project's classes, also while people label."""

from __future__ import annotations

from collections.abc import Sequence

from asal.errors import UserError, counted
from asal.labelling.class_service import class_events, sentences, to_json, write_change
from asal.labelling.consensus import OverlapRules
from asal.project.classes import check_strategy, write_classes
from asal.project.folder import ProjectFolder
from asal.session.class_changes import ClassChange
from asal.session.classes import ClassList
from asal.session.events import Event
from asal.session.opening import opening_body
from asal.session.state import State, fold

ARGUMENTS = {"add": "NAME …", "rename": "OLD NEW", "merge": "FROM INTO", "drop": "NAME", "restore": "NAME"}


def wanted(action: str, names: Sequence[str], to: str = "", skipped: bool = False) -> ClassChange:
    """Return the change that a command line means.

    Raises:
        UserError: it has too few or too many names, or an option that the action does not take.
    """
    if action not in ARGUMENTS:
        raise UserError(
            f"'{action}' is nothing that can be done with classes",
            rule=f"it is list, {', '.join(ARGUMENTS)}",
            hint="for example: asal classes PROJECT add NAME",
        )
    number = len(ARGUMENTS[action].split())
    if (not names if action == "add" else len(names) != number) or ((to or skipped) and action != "drop"):
        options = " [--to CLASS | --cant-tell]" if action == "drop" else ""
        raise UserError(
            f"{action} does not take {counted(len(names), 'name')} and these options",
            hint=f"asal classes PROJECT {action} {ARGUMENTS[action]}{options}",
        )
    if to and skipped:
        raise UserError("both --to and --cant-tell are given", hint="give one of them")
    if action in ("rename", "merge"):
        return ClassChange(action, (names[0],), names[1])
    return ClassChange(action, tuple(names), to or None, skipped)


def change(project: ProjectFolder, wish: ClassChange, by: str | None = None) -> list[str]:
    """Make a change in a project's record and in its asal.toml, and return what was done as sentences.

    Raises:
        UserError: the change is not possible, or nothing is prepared yet.
        BusyError: others were writing all the time, and nothing of this was written.
    """
    spec, check, pool = project.spec, check_strategy(project), project.pool  # before a record is begun
    rules = OverlapRules(spec.labelling.overlap, spec.labelling.share)
    with project.record() as record:

        def events(state: State) -> list[Event]:
            # What asal.toml lists is not compared: a command that puts it right must not be refused because of it.
            begin = [] if state.opened else [Event("opened", body=opening_body(pool, project.classes, 0))]
            changes = class_events(fold(state, begin), wish, rules, by)
            check([*fold(state, [*begin, *changes]).classes.numbers])
            return [*begin, *changes] if changes else []

        state, written = write_change(
            lambda: fold(State(), record.read()), lambda at, new: record.append(new, after=at.seq), events
        )
        classes = fold(State(), record.read()).classes
    lines = sentences(state, written) or ["Nothing to change: it is so already."]
    if settled := sum(event.kind in ("answered", "skipped") for event in written):
        lines.append(f"{counted(settled, 'open image')} had votes that agree by now: answered.")
    if classes.names and write_classes(project.root, classes):
        lines.append("asal.toml names the same classes.")
    return lines


def table(project: ProjectFolder) -> list[tuple[str, str, str, str]]:
    """Return (number, name, labels, note) for each class, also for those that were merged or dropped.

    Raises:
        UserError: neither the record nor the images nor asal.toml name classes.
    """
    state = State()
    if project.has_record:
        with project.record() as record:
            state = fold(State(), record.read())
    if state.opened is None:
        return [(str(number), name, "0", "") for number, name in enumerate(project.classes)]
    facts, classes = to_json(state), state.classes
    rows = [(str(each["number"]), each["name"], f"{each['labels']:,}", "") for each in facts["classes"]]
    for each in facts["hidden"]:
        into = "dropped" if each["into"] is None else f"counts as {classes.name(each['into'])}"
        rows.append((str(each["number"]), each["name"], f"({each['labels']:,})", into))
    return rows + [("", name, "", "in asal.toml; the next session adds it") for name in _unknown(project, classes)]


def _unknown(project: ProjectFolder, classes: ClassList) -> list[str]:
    known = {name for number in range(len(classes.names)) for name in classes.named(number)}
    return [name for name in project.spec.labelling.classes if name not in known]
