"""A table of results: pandas' where it is installed, and a list that prints well where it is not."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

SHOWN = 40  # rows that are printed; of more, the first and the last ones


class Table(list[dict[str, Any]]):
    """Rows by column name; every row has the same columns.

    >>> Table([{"strategy": "random", "accuracy": 0.5}, {"strategy": "asal", "accuracy": 0.8125}])
    strategy  accuracy
    random         0.5
    asal        0.8125
    """

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self[0]) if self else []

    def __repr__(self) -> str:
        rows = [self.columns, *([_text(row[name]) for name in self.columns] for row in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = {name for name in self.columns if any(isinstance(row[name], str) for row in self)}
        lines = [
            "  ".join(
                text.ljust(width) if name in left else text.rjust(width)
                for name, text, width in zip(self.columns, row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        if len(self) > SHOWN:
            lines[1 + SHOWN // 2 : -SHOWN // 2] = [f"… {len(self) - SHOWN:,} more rows …"]
        return "\n".join(lines) if self else "an empty table"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(_text(value))}</td>' for value in row.values())}</tr>" for row in self
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: object) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def table(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return a pandas.DataFrame of these rows where pandas is installed, else a `Table`."""
    listed = Table(dict(row) for row in rows)
    if importlib.util.find_spec("pandas") is None:
        return listed
    import pandas

    return pandas.DataFrame.from_records(listed)
