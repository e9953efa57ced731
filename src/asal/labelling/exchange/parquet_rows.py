"""Rows of a Parquet file, with the class names that stand in the file itself.

A column of numbers whose names stand in the metadata (a ClassLabel of the Hugging Face hub) is read by these names; a
dictionary-encoded column (a categorical of pandas) by its values. What lies inside a struct is called `column.field`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from asal.data.sources.class_names import name_of, names_in
from asal.labelling.exchange.rows import Assume, Row

BLOCK = 4096  # rows held at once


def parquet_columns(path: Path) -> list[str]:
    """Return the names of the columns that hold one value a row, or a list of values; no images."""
    import pyarrow.parquet as pq

    return [name for field in pq.read_schema(path) for name in _plain(field.name, field.type)]


def parquet_rows(path: Path, wanted: Collection[str], assume: Assume) -> Iterator[Row]:
    """Yield the rows with these columns alone; class names come as `Named`."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        named = {name: names for name, names in names_in(file.schema_arrow.metadata).items() if name in wanted}
        for name, names in named.items():
            assume(f"the classes of the column '{name}' are named in the file: {', '.join(names)}")
        line = 0
        for batch in file.iter_batches(BLOCK, columns=list(wanted)):
            for stored in batch.to_pylist():
                line += 1
                yield _row(line, {name: _value(stored, name) for name in wanted}, named)


class Named(str):
    """A class name that the file itself defines."""

    __slots__ = ()


def with_names(values: Mapping[str, Any], named: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return values with the names of those that are numbers of named classes.

    Raises:
        ValueError: a number has no name, or a list has not one label.
    """
    result = {name: _only(value) for name, value in values.items()}
    for name, names in named.items():
        found = name_of(result.get(name), names)
        result[name] = None if found is None else Named(found)
    return result


def _row(line: int, values: Mapping[str, Any], named: Mapping[str, list[str]]) -> Row:
    try:
        return line, with_names(values, named), ""
    except ValueError as error:
        return line, None, str(error)


def _only(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) > 1:
        raise ValueError(f"it has {len(value)} labels")
    return value[0] if value else None


def _value(stored: Mapping[str, Any], name: str) -> Any:
    """Return the value of a column, or of `column.field`."""
    if name in stored:
        return stored[name]
    first, _, rest = name.partition(".")
    inner = stored.get(first)
    return _value(inner, rest) if isinstance(inner, dict) and rest else None


def _plain(name: str, kind: Any) -> Iterator[str]:
    import pyarrow as pa

    types = pa.types
    if types.is_struct(kind):
        for field in kind:
            yield from _plain(f"{name}.{field.name}", field.type)
    elif types.is_list(kind) or types.is_large_list(kind):
        if not types.is_nested(kind.value_type) and not _is_bytes(kind.value_type):
            yield name
    elif not types.is_nested(kind) and not _is_bytes(kind):
        yield name


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))
