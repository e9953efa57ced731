"""The class names that a Parquet or Arrow file carries in its own metadata, as the `datasets` library writes them.

A ClassLabel of the Hugging Face hub is stored as a number. Its names stand in the schema's metadata, under the key
`huggingface`: {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KEY = b"huggingface"
ITEMS = ("feature", "list")  # where a sequence's own type stands, in the forms of several versions of `datasets`


def names_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the class names of each column that has them; what lies inside a column is called `column.field`.

    >>> info = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    >>> names_in({b"huggingface": json.dumps(info).encode()})
    {'label': ['cat', 'dog']}
    """
    try:
        features = json.loads((metadata or {}).get(KEY, b"{}"))["info"]["features"]
        return dict(_named("", features))
    except (ValueError, KeyError, TypeError, RecursionError):  # another tool's metadata under the same key
        return {}


def _named(path: str, feature: Any) -> Iterator[tuple[str, list[str]]]:
    if isinstance(feature, list):  # an old form of a sequence: [feature]
        feature = {"feature": feature[0], "_type": "Sequence"} if len(feature) == 1 else {}
    if not isinstance(feature, dict):
        return
    if feature.get("_type") == "ClassLabel":
        if isinstance(names := feature.get("names"), list) and path:
            yield path, [str(name) for name in names]
    elif (inner := next((feature[name] for name in ITEMS if _is_sequence(feature, name)), None)) is not None:
        yield from _named(path, inner)
    elif "_type" not in feature:
        for name, field in feature.items():
            yield from _named(f"{path}.{name}" if path else name, field)


def _is_sequence(feature: Mapping[str, Any], name: str) -> bool:
    return name in feature and feature.get("_type") in ("Sequence", "List", "LargeList")


def name_of(number: Any, names: Sequence[str]) -> str | None:
    """Return the name of a stored ClassLabel; None where it is empty or −1, which `datasets` writes for no label.

    Raises:
        ValueError: the number has no name.
    """
    if number is None or number == -1:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or number % 1 or not 0 <= number < len(names):
        raise ValueError(f"{number!r} has no name: the file names {len(names)} classes, by numbers from 0 on")
    return names[int(number)]
