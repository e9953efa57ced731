"""The choices of a Label Studio project, which follow the classes of a record."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from asal.labelling.label_studio.client import CONTROL, hotkeys, label_config
from asal.session.classes import ClassList


def are_of(choices: Sequence[str], classes: ClassList) -> bool:
    """Say whether choices are the classes of a record, now or at any time, maybe with further former names."""
    return all(map(classes.knows, choices)) and any(names <= set(choices) for names in classes.past)


def with_choices(config: str, names: Sequence[str]) -> str:
    """Return a labelling interface with these choices; all else in it stays.

    >>> print(with_choices('<View><Choices name="label"><Choice value="a"/></Choices></View>', ["cat"]))
    <View><Choices name="label"><Choice value="cat" hotkey="1" /></Choices></View>
    """
    try:
        view = ElementTree.fromstring(config)
    except ElementTree.ParseError:
        return label_config(names)
    found = view.find(f".//Choices[@name='{CONTROL}']")
    if found is None:
        return label_config(names)
    keys = hotkeys(names)
    for choice in found.findall("Choice"):
        found.remove(choice)
    for name in names:
        ElementTree.SubElement(found, "Choice", {"value": name} | ({"hotkey": keys[name]} if name in keys else {}))
    return ElementTree.tostring(view, encoding="unicode")
