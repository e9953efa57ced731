"""Class names that stand in a file's own metadata, and the columns of labels that the source `hub` reads by them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from asal.data.sources.class_names import name_of, names_in
from asal.data.sources.hub import Hub
from asal.errors import UserError

GRADES = ["1", "2", "3", "4", "5"]


def png(value: int) -> bytes:
    data = io.BytesIO()
    Image.new("L", (4, 4), value).save(data, "PNG")
    return data.getvalue()


def metadata(features: dict[str, Any]) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write(file: Path, labels: Any, names: list[str] | None = None) -> Path:
    images = [{"bytes": png(row), "path": f"{row}.png"} for row in range(len(labels))]
    table = pa.table({"image": images, "label": labels})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(metadata(features))
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file.parent


def named(source: Hub) -> list[str | None]:
    labels = source.labels("train")
    assert labels is not None
    return [source.classes[label] if label >= 0 else None for label in labels.tolist()]


def test_numbers_have_the_names_of_the_files_metadata(tmp_path: Path) -> None:
    folder = write(tmp_path / "set" / "train.parquet", pa.array([0, 1, 2, 3, 4, 1]), GRADES)
    assert named(Hub(str(folder))) == ["1", "2", "3", "4", "5", "2"]


def test_a_number_without_a_name_is_no_label(tmp_path: Path) -> None:
    folder = write(tmp_path / "set" / "train.parquet", pa.array([0, -1, 5, None, 4, 99]), GRADES)
    assert named(Hub(str(folder))) == ["1", None, None, None, "5", None]


def test_a_dictionary_column_is_read_by_its_values(tmp_path: Path) -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([2, 0, None, 1, 2], pa.int8()), ["low", "mid", "3"], ordered=True)
    folder = write(tmp_path / "set" / "train.parquet", values)
    assert named(Hub(str(folder))) == ["3", "low", None, "mid", "3"]


def test_files_that_number_the_classes_differently_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.parquet", pa.array([0, 1]), ["cat", "dog"])
    folder = write(tmp_path / "set" / "test.parquet", pa.array([0, 1]), ["dog", "cat"])
    with pytest.raises(UserError, match="name the classes of 'label' differently"):
        _ = Hub(str(folder)).classes


def test_names_are_found_wherever_the_metadata_have_them() -> None:
    label = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    features = {
        "label": label, "feature": label, "file_name": {"dtype": "string", "_type": "Value"},
        "many": {"feature": label, "_type": "Sequence"}, "list": {"feature": label, "length": -1, "_type": "List"},
        "seen": {"by": {"dtype": "string", "_type": "Value"}, "as": label}, "old": [{"kind": label}],
        "objects": {"feature": {"category": label, "area": {"dtype": "int64", "_type": "Value"}}, "_type": "Sequence"},
    }  # fmt: skip
    found = names_in(metadata(features))
    assert set(found) == {"label", "feature", "many", "list", "seen.as", "old.kind", "objects.category"}
    assert all(names == ["cat", "dog"] for names in found.values())


def test_the_library_itself_writes_what_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=GRADES)
    features = datasets.Features(
        {"label": label, "both": [label], "seen": {"as": label}, "objects": datasets.List({"category": label})}
    )
    row = {"label": "5", "both": ["1"], "seen": {"as": "2"}, "objects": [{"category": "3"}]}
    datasets.Dataset.from_list([row], features=features).to_parquet(tmp_path / "x.parquet")
    found = names_in(pq.read_schema(tmp_path / "x.parquet").metadata)
    assert found == dict.fromkeys(["label", "both", "seen.as", "objects.category"], GRADES)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_other_metadata_under_the_same_key_name_nothing(features: Any) -> None:
    assert names_in({b"huggingface": json.dumps({"info": {"features": features}}).encode()}) == {}
    assert names_in({b"huggingface": json.dumps(features).encode()}) == {}


def test_only_a_number_that_has_a_name_is_a_class() -> None:
    assert [name_of(number, GRADES) for number in (0, 4, 2.0, -1, None)] == ["1", "5", "3", None, None]
    for number in (5, -2, 1.5, True, "1", float("nan")):
        with pytest.raises(ValueError, match="has no name"):
            name_of(number, GRADES)
