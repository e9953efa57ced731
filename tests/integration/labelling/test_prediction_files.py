"""Predictions as files: the same in every form, complete or not there, and over nothing that asal did not write."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.classified_projects import CLASSES, classified, new_files
from support.commands import Command

from asal.errors import UserError
from asal.labelling.exchange import prediction_files
from asal.labelling.exchange.prediction_files import write_predictions
from asal.project.prediction import Predictions, Predictor
from asal.project.project import Project


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a project, whose classifier is linear, and new images; to be read."""
    home = tmp_path_factory.mktemp("classified")
    classified(home, "linear", labelling={"classes": [*CLASSES, 'a "fox", or not']})
    new_files(home / "new")
    return home


@pytest.fixture
def project(home: Path) -> Project:
    return Project.open(home / "project")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file with all columns, whatever its form."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [dict(row) for row in csv.DictReader(file)]
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        {key: value for key, value in row.items() if key != "probabilities"}
        | {f"p_{name}": prob for name, prob in row["probabilities"].items()}
        for row in rows
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("of", ["new", "pool"])
def test_every_form_has_every_image_with_all_probabilities(
    form: str, of: str, project: Project, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"found.{form}"
    written = write_predictions(project, out, [home / "new"] if of == "new" else [], labelled=True)
    rows = rows_of(out)
    if of == "new":
        expected = project.predict(home / "new")
        assert [row["file"] for row in rows] == expected.names
    else:
        expected = next(Predictor.of(project).of_pool(labelled=True))
        assert expected.ids is not None and [int(row["id"]) for row in rows] == expected.ids.tolist()
        assert [row["key"] for row in rows] == expected.names
    assert written.images == len(rows) == len(expected) and sum(written.likeliest.values()) == len(rows)
    assert [row["prediction"] for row in rows] == expected.labels
    probs = np.array([[float(row[f"p_{name}"]) for name in expected.classes] for row in rows])
    np.testing.assert_allclose(probs, expected.probs, atol=1e-6)
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], expected.probs.max(1), atol=1e-6)
    assert not (tmp_path / "found.unreadable.csv").exists()


def test_parquet_has_row_groups(project: Project, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_files.ParquetTable, "ROWS", 4)
    monkeypatch.setattr("asal.project.prediction.CHUNK", 3)
    write_predictions(project, tmp_path / "some.parquet", [home / "new"])
    assert pq.ParquetFile(tmp_path / "some.parquet").num_row_groups > 2


def test_where_nothing_can_be_read_an_earlier_table_stays(project: Project, home: Path, tmp_path: Path) -> None:
    out, empty = tmp_path / "found.csv", tmp_path / "empty"
    write_predictions(project, out, [home / "new"])
    before = out.read_bytes()
    empty.mkdir()
    with pytest.raises(UserError, match="there are no images in"):
        write_predictions(project, out, [empty])
    (empty / "broken.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"none of 1 file in .* could be read: .*broken\.jpg: it is not an image"):
        write_predictions(project, out, [empty])
    assert out.read_bytes() == before and not list(tmp_path.glob("*.partial"))


def test_what_cannot_be_read_is_listed_until_it_can(project: Project, tmp_path: Path) -> None:
    files = new_files(tmp_path / "new")
    (tmp_path / "new" / "broken.jpg").write_text("no image")
    out, listed = tmp_path / "found.csv", tmp_path / "found.unreadable.csv"
    lines = write_predictions(project, out, [tmp_path / "new"]).lines
    assert len(rows_of(out)) == len(files) and any("1 file could not be read" in line for line in lines)
    (row,) = rows_of(listed)
    assert row == {"file": f"{tmp_path / 'new'}/broken.jpg", "reason": "it is not an image, but text"}
    (tmp_path / "new" / "broken.jpg").unlink()
    write_predictions(project, out, [tmp_path / "new"])
    assert not listed.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_what_was_there(
    error: type[BaseException], project: Project, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "found.csv"
    write_predictions(project, out, [home / "new"])
    before = out.read_bytes()
    whole = Predictor.of_images

    def cut(self: Predictor, items: Any) -> Iterator[Predictions]:
        yield next(iter(whole(self, items)))
        raise error

    monkeypatch.setattr(Predictor, "of_images", cut)
    with pytest.raises(error):
        write_predictions(project, out, [home / "new"])
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv"] and out.read_bytes() == before


def test_other_files_are_not_overwritten_and_other_endings_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id,label\n1,cat\n")
    with pytest.raises(UserError, match="it is no table of predictions"):
        write_predictions(project, tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "id,label\n1,cat\n"
    with pytest.raises(UserError, match=r"'found.xlsx' ends in none of"):
        write_predictions(project, tmp_path / "found.xlsx")
    for form in prediction_files.KINDS:
        for _ in range(2):
            write_predictions(project, tmp_path / f"found{form}")


def test_it_is_no_file_of_labels(project: Project, tmp_path: Path, asal: Command) -> None:
    write_predictions(project, tmp_path / "found.csv")
    asal("import", project.root, tmp_path / "found.csv").refused("label")


def test_the_command(asal: Command, project: Project, home: Path, tmp_path: Path) -> None:
    said = asal("predict", project.root, "--out", tmp_path / "rest.csv")
    assert said.code == 0 and len(rows_of(tmp_path / "rest.csv")) == 12
    assert f"12 images: {tmp_path / 'rest.csv'}" in said.out and "likeliest: " in said.out
    several = sorted((home / "new").glob("*.jpg"))
    said = asal("predict", project.root, *several, "--out", tmp_path / "new.jsonl")
    assert said.code == 0 and [row["file"] for row in rows_of(tmp_path / "new.jsonl")] == list(map(str, several))
    assert len(rows_of(tmp_path / "rest.csv")) == 12
    asal("predict", project.root, "--all", "--out", tmp_path / "all.parquet")
    assert len(rows_of(tmp_path / "all.parquet")) == 24
    asal("predict", project.root, tmp_path / "nowhere", "--out", tmp_path / "x.csv").refused("there is nothing at")
    asal("predict", project.root, "--strategy", "randon", "--out", tmp_path / "x.csv").refused("random")
