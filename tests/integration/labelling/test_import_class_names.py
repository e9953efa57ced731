"""Class names that a file carries itself: no number is taken for a name, none lands on another class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import export_projects as exchanges

from asal.errors import UserError
from asal.labelling.class_command import change
from asal.labelling.exchange.imports import Imported, ImportOptions, import_labels
from asal.labelling.exchange.readers import Columns
from asal.project.project import Project
from asal.session.class_changes import ClassChange

GRADES = ("1", "2", "3", "4", "5")
FILES = [f"eye{i}.png" for i in range(8)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("eyes")
    return exchanges.photos(home, {name: 20 * i for i, name in enumerate(FILES)}, classes=GRADES)


@pytest.fixture
def project(base: Project) -> Project:
    return exchanges.again(base)


def labels_of(project: Project) -> dict[str, str]:
    answers = exchanges.state_of(project).answers
    keys = project.pool.keys(pd.Index(sorted(answers)).to_numpy())
    return {key: GRADES[answers[image]] for key, image in zip(keys, sorted(answers), strict=True)}


def outcomes(done: Imported) -> list[str]:
    return list(pd.read_csv(done.report)["outcome"])


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def grades(names: Sequence[str] = GRADES) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


def test_a_class_label_is_read_by_the_names_in_the_file(project: Project, tmp_path: Path) -> None:
    numbers = [i % 5 for i in range(8)]
    file = write(tmp_path / "g.parquet", {"file_name": FILES, "label": numbers}, {"label": grades()})
    done = import_labels(project, file, ImportOptions())
    assert labels_of(project) == {name: GRADES[n] for name, n in zip(FILES, numbers, strict=True)}
    assert done.lines[-1] == "Assumed: the classes of the column 'label' are named in the file: 1, 2, 3, 4, 5."


def test_the_files_own_order_of_names_counts(project: Project, tmp_path: Path) -> None:
    file = write(tmp_path / "g.parquet", {"file_name": FILES[:3], "label": [0, 1, 2]}, {"label": grades("531")})
    import_labels(project, file, ImportOptions())
    assert labels_of(project) == {"eye0.png": "5", "eye1.png": "3", "eye2.png": "1"}


def test_a_number_without_a_name_is_no_label(project: Project, tmp_path: Path) -> None:
    numbers = [0, -1, 5, None, 4, 99]
    file = write(tmp_path / "g.parquet", {"file_name": FILES[:6], "label": numbers}, {"label": grades()})
    assert outcomes(import_labels(project, file, ImportOptions())) == ["new", *["unreadable"] * 3, "new", "unreadable"]
    assert labels_of(project) == {"eye0.png": "1", "eye4.png": "5"}


def test_columns_inside_others_have_names_too(project: Project, tmp_path: Path) -> None:
    columns = {
        "image": [{"bytes": b"", "path": name} for name in FILES[:2]],
        "seen": [{"grade": 1}, {"grade": 0}], "both": [[2], [3, 4]],
    }  # fmt: skip
    features = {"image": {"_type": "Image"}, "seen": {"grade": grades()},
                "both": {"feature": grades(), "_type": "List"}}  # fmt: skip
    file = write(tmp_path / "g.parquet", columns, features)
    import_labels(project, file, ImportOptions(columns=Columns(label="seen.grade")))
    assert labels_of(project) == {"eye0.png": "2", "eye1.png": "1"}
    fresh = exchanges.again(project)
    assert outcomes(import_labels(fresh, file, ImportOptions(columns=Columns(label="both")))) == ["new", "unreadable"]
    assert labels_of(fresh) == {"eye0.png": "3"}


@pytest.mark.parametrize("ordered", [False, True])
def test_a_categorical_is_read_by_its_values(project: Project, tmp_path: Path, ordered: bool) -> None:
    values = ["5", "1", None, "3"]
    frame = pd.DataFrame({"file": FILES[:4], "label": pd.Categorical(values, ["5", "3", "1"], ordered=ordered)})
    frame.to_parquet(tmp_path / "c.parquet")
    assert pa.types.is_dictionary(pq.read_schema(tmp_path / "c.parquet").field("label").type)
    import_labels(project, tmp_path / "c.parquet", ImportOptions())
    assert labels_of(project) == {"eye0.png": "5", "eye1.png": "1", "eye3.png": "3"}


def test_numbers_without_names_are_names_if_nothing_else_fits(project: Project, tmp_path: Path) -> None:
    pd.DataFrame({"file": FILES[:3], "label": [1.0, 5.0, None]}).to_parquet(tmp_path / "n.parquet")
    done = import_labels(project, tmp_path / "n.parquet", ImportOptions())
    assert labels_of(project) == {"eye0.png": "1", "eye1.png": "5"}
    assert list(done.assumed) == ['the labels are numbers, read as names: 1 is the class "1"']


def test_numbers_that_may_be_positions_are_refused_until_somebody_says(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "n.jsonl"
    file.write_text("".join(json.dumps({"file": name, "label": i}) + "\n" for i, name in enumerate(FILES[:5])))
    with pytest.raises(UserError, match="may be names or positions"):
        import_labels(project, file, ImportOptions())
    assert exchanges.state_of(project).answers == {}
    done = import_labels(project, file, ImportOptions(numbers="positions"))
    assert labels_of(project) == dict(zip(FILES, GRADES, strict=False))
    assert list(done.assumed) == ['the labels are numbers, read as positions: 0 is the class "1"']
    names = exchanges.again(project)
    assert outcomes(import_labels(names, file, ImportOptions(numbers="names"))) == ["unknown class", *["new"] * 4]
    with pytest.raises(UserError, match="no meaning of numbers is called 'ids'"):
        import_labels(names, file, ImportOptions(numbers="ids"))  # type: ignore[arg-type]


def test_positions_are_refused_where_classes_were_merged(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "n.csv"
    file.write_text("file,label\neye0.png,3\n")
    change(project.folder, ClassChange("merge", ("2",), "1"))
    before = exchanges.state_of(project).seq
    with pytest.raises(UserError, match=r"merged or dropped.*names of the classes"):
        import_labels(project, file, ImportOptions(numbers="positions"))
    assert exchanges.state_of(project).seq == before


def test_a_saved_data_set_is_read_by_its_names(project: Project, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"file": datasets.Value("string"), "label": datasets.ClassLabel(names=list("54321"))})
    rows = {"file": FILES[:3], "label": [0, -1, 4]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    assert outcomes(import_labels(project, tmp_path / "saved", ImportOptions())) == ["new", "unreadable", "new"]
    assert labels_of(project) == {"eye0.png": "5", "eye2.png": "1"}


def test_a_bare_name_that_a_held_out_file_has_too_is_no_image_of_the_pool(tmp_path: Path) -> None:
    names = {f"train/{n}.png": 20 * n for n in range(4)} | {f"test/{n}.png": 100 + 20 * n for n in (0, 1)}
    project = exchanges.photos(tmp_path, names)
    table = tmp_path / "test.csv"
    table.write_text("file,label\n0.png,cat\n1.png,dog\n")
    with pytest.raises(UserError, match="a held-out image of the source is called so, too"):
        import_labels(project, table, ImportOptions())
    table.write_text("file,label\n0.png,cat\n2.png,dog\n")
    assert outcomes(import_labels(project, table, ImportOptions())) == ["may be of another folder", "new"]
    assert import_labels(project, table, ImportOptions(by_names=True)).written == 1
