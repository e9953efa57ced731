"""The classes of a project that people label: those of its record, and the list in asal.toml that follows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array

from asal.errors import UserError
from asal.project.folder import ProjectFolder
from asal.project.spec import FILE
from asal.project.validate import check
from asal.runtime import artifacts
from asal.session.classes import ClassList


def check_strategy(project: ProjectFolder, strategy: str = "") -> Callable[[Sequence[str]], None]:
    """Return a function that refuses classes which a project's strategy cannot tell apart.

    Args:
        strategy: the one that people label with; by default the spec's for labelling.
    """
    spec = project.spec
    chosen = strategy or spec.default_strategy
    return check(spec, [chosen]).strategies[chosen].check_classes


def write_classes(root: Path, classes: ClassList) -> bool:
    """Bring the list of classes in asal.toml up to date, if it has one; return whether anything was written.

    Comments and the order of lines stay. Names that the record does not know stay, too: the next session adds them.

    Raises:
        UserError: the file cannot be read or written.
    """
    path = root / FILE
    if not path.exists():
        return False
    with artifacts.explain_disk_errors(path):
        content = path.read_bytes()
    try:
        document = tomlkit.parse(content.decode("utf-8-sig"))
        listed = document.get("labelling", {}).get("classes")
    except (TOMLKitError, UnicodeDecodeError, AttributeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}", hint="correct that line") from None
    if not isinstance(listed, Array) or not len(listed):
        return False
    _update(listed, classes)
    text = tomlkit.dumps(document).encode()
    if content.startswith(b"\xef\xbb\xbf"):
        text = b"\xef\xbb\xbf" + text
    if text == content:
        return False
    with artifacts.explain_disk_errors(path):
        artifacts.write(path, text)
    return True


def _update(listed: Array, classes: ClassList) -> None:
    """Rename and remove names in place, and append those that are missing."""
    for place in reversed(range(len(listed))):
        name = str(listed[place])
        numbers = [number for number in range(len(classes.names)) if name in classes.named(number)]
        if name in classes.numbers or not numbers:
            continue
        now = [classes.live[number] for number in numbers if number in classes.live]
        if len(now) == 1 and now[0] not in listed.unwrap():
            listed[place] = now[0]
        else:
            del listed[place]
    for name in classes.numbers:
        if name not in listed.unwrap():
            listed.append(name)
