"""Labels out: every form holds what was answered, nothing escapes its folder, and nothing of others' is overwritten."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import export_projects as exchanges
from support.commands import Command

from asal.errors import UserError
from asal.labelling.exchange.export import export
from asal.labelling.exchange.filenames import folders, safe
from asal.labelling.exchange.records import COLUMNS
from asal.labelling.exchange.writers import FORMS
from asal.project.project import Project
from asal.session.events import Event
from asal.session.synthetic_pool import encoded

ROWS = {"csv": "labels.csv", "jsonl": "labels.jsonl", "parquet": "labels.parquet"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return exchanges.digits(tmp_path_factory.mktemp("digits") / "project")


@pytest.fixture
def project(base: Project) -> Project:
    return exchanges.again(base)


def table(folder: Path, form: str = "csv") -> list[dict[str, Any]]:
    file = folder / ROWS[form]
    if form == "csv":
        with file.open(encoding="utf-8", newline="") as text:
            return list(csv.DictReader(text))
    if form == "jsonl":
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return list(pq.read_table(file).to_pylist())


def conflicts(folder: Path) -> list[dict[str, str]]:
    with (folder / "conflicts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("form", ROWS)
def test_a_table_has_a_row_a_label_with_all_that_is_known(project: Project, tmp_path: Path, form: str) -> None:
    session = exchanges.labelled(project, 20, skip=2)
    done = export(project, tmp_path / "out", form)
    assert (done.labelled, done.cant_tell, done.missing) == (18, 2, 0)
    rows = table(tmp_path / "out", form)
    assert [int(row["id"]) for row in rows] == sorted((*session.state.answers, *session.state.skips))
    answers = {int(row["id"]): row["label"] for row in rows if row["status"] == "labelled"}
    assert answers == {image: str(label) for image, label in session.state.answers.items()}
    first = rows[0]
    assert tuple(first) == COLUMNS
    assert first["key"] == project.pool.keys(np.array([int(first["id"])]))[0]
    assert (first["by"], first["strategy"], int(first["round"]), float(first["score"])) == ("Ada", "random", 0, 0.0)
    assert int(first["seen"]) == 0 and str(first["made"]).lower() == "false" and first["at"].endswith("+00:00")
    assert not any(row["label"] for row in rows if row["status"] == "can't tell")


def test_json_and_parquet_keep_numbers_and_nothing(project: Project, tmp_path: Path) -> None:
    exchanges.labelled(project, 5, skip=1)
    for form in ("jsonl", "parquet"):
        export(project, tmp_path / form, form)
        rows = table(tmp_path / form, form)
        assert {type(row["id"]) for row in rows} == {int} and {type(row["made"]) for row in rows} == {bool}
        assert [row["number"] for row in rows if row["status"] == "can't tell"] == [None]
        assert rows[0]["seconds"] is None and rows[0]["votes"] is None


def test_class_folders_hold_the_pools_pixels(project: Project, tmp_path: Path) -> None:
    session = exchanges.labelled(project, 20, skip=2)
    export(project, tmp_path / "out", "folders")
    files = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").glob("*/*.png")}
    assert len(files) == 18
    for path in files:
        image = int(path.name.partition("-")[0])
        assert int(path.parts[0]) == session.state.answers[image]
        assert np.array_equal(
            np.asarray(Image.open(tmp_path / "out" / path)), project.pool.read(np.array([image]))[0, ..., 0]
        )
    with (tmp_path / "out" / "index.csv").open() as file:
        assert {row["file"] for row in csv.DictReader(file)} == {path.as_posix() for path in files}


def test_originals_are_the_sources_own_files(tmp_path: Path) -> None:
    project = exchanges.photos(tmp_path, {"a/1.jpg": 10, "b/1.jpg": 200, "b/2.png": 90})
    session = project.session("random")
    session.tell(dict.fromkeys(session.ask(3).ids.tolist(), "cat"))
    (tmp_path / "photos" / "b" / "2.png").unlink()
    done = export(project, tmp_path / "out", "folders", originals=True)
    assert done.missing == 1 and any("source" in line for line in done.lines)
    files = sorted((tmp_path / "out" / "cat").iterdir())
    assert [path.name for path in files] == ["000000000-1.jpg", "000000001-1.jpg", "000000002-2.png"]
    assert files[0].read_bytes() == (tmp_path / "photos" / "a" / "1.jpg").read_bytes()
    assert np.asarray(Image.open(files[2])).mean() == 90


def test_originals_are_refused_where_there_are_none(project: Project, tmp_path: Path) -> None:
    exchanges.labelled(project, 5)
    for form in ("folders", "csv"):
        with pytest.raises(UserError, match="leave --originals out"):
            export(project, tmp_path / "out", form, originals=True)
    assert not (tmp_path / "out").exists()


NASTY = (
    "../x",
    "a/b",
    "..",
    ".hidden",
    "CON",
    "nul.txt",
    "a\\b",
    "x\0y",
    "Größe",
    "=1+1",
    "a" * 300,
    " x ",
    "Cat",
    "cat",
    "%",
)


def test_no_class_leaves_its_folder(tmp_path: Path) -> None:
    project = exchanges.photos(tmp_path, {f"{n}.png": n for n in range(len(NASTY))}, NASTY)
    session = project.session("random")
    session.tell({image: int(image) for image in session.ask(len(NASTY)).ids})
    export(project, tmp_path / "deep" / "out", "folders")
    found = sorted((tmp_path / "deep" / "out").glob("*/*.png"))
    assert len(found) == len(NASTY)
    assert {path.parent.parent for path in found} == {tmp_path / "deep" / "out"}
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["out"]
    for form in FORMS:
        assert export(project, tmp_path / form, form).labelled == len(NASTY)


@settings(deadline=None)
@given(st.lists(st.text(min_size=0, max_size=200), unique=True, max_size=20))
def test_names_are_safe_and_stay_different(names: list[str]) -> None:
    made = [safe(name) for name in names]
    assert len(set(made)) == len(made)
    told = folders(names)
    assert len({name.casefold() for name in told.values()}) == len(names)
    for name in (*made, *told.values()):
        assert name and name not in (".", "..") and not name.startswith(".") and not set(name) & set('/\\:*?"<>|\0')
        assert len(name.encode()) <= 200 and safe(name.replace("%", "")) is not None


def test_a_data_set_has_images_and_class_labels(project: Project, tmp_path: Path) -> None:
    import datasets

    session = exchanges.labelled(project, 12, skip=2)
    export(project, tmp_path / "out", "datasets")
    data = datasets.load_from_disk(str(tmp_path / "out"))
    assert data.features["label"].names == list(project.classes) and isinstance(data.features["image"], datasets.Image)
    assert {row["id"]: row["label"] for row in data} == dict(session.state.answers)
    assert np.array_equal(np.asarray(data[0]["image"]), project.pool.read(np.array([data[0]["id"]]))[0, ..., 0])
    everything = b"".join(exchanges.contents(tmp_path / "out").values())
    assert str(tmp_path).encode() not in everything and str(project.root).encode() not in everything


def test_the_loader_opens_what_lies_beside_it(project: Project, tmp_path: Path) -> None:
    import torch

    session = exchanges.labelled(project, 12, skip=2)
    export(project, tmp_path / "out", "torch")
    names = runpy.run_path(str(tmp_path / "out" / "load.py"))
    images = names["Labelled"](transform=lambda image: torch.tensor(np.asarray(image)))
    assert isinstance(images, torch.utils.data.Dataset) and len(images) == 10
    for batch, labels in torch.utils.data.DataLoader(images, batch_size=10):
        assert labels.tolist() == [session.state.answers[image] for image in sorted(session.state.answers)]
        assert np.array_equal(batch.numpy(), project.pool.read(np.array(sorted(session.state.answers)))[..., 0])
    data = names["as_dataset"]()
    assert data.features["label"].names == list(project.classes)
    assert data["label"][:] == images.targets
    assert np.array_equal(np.asarray(data[3]["image"]), np.asarray(images[3][0]))


def test_made_up_images_come_along(project: Project, tmp_path: Path) -> None:
    exchanges.labelled(project, 3)
    first, pixels = len(project.pool), np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    body = {"ids": [first], "scores": [0.5], "n": 1, "strategy": "gaal", "images": encoded(pixels), "group": 1}
    exchanges.write(project, Event("asked", 1, body=body), Event("answered", 1, first, 7, "Bo"))
    for form in FORMS:
        assert export(project, tmp_path / form, form).labelled == 4
    row = table(tmp_path / "csv")[-1]
    assert (row["id"], row["key"], row["made"], row["strategy"]) == (str(first), "", "true", "gaal")
    (made,) = (tmp_path / "folders" / "7").glob(f"{first:09d}-*.png")
    assert np.array_equal(np.asarray(Image.open(made)), pixels[0, ..., 0])


def test_what_people_disagree_on_is_told(project: Project, tmp_path: Path) -> None:
    session = project.session("random")
    one, two, three, four, *waiting = session.ask(7).ids.tolist()
    exchanges.write(
        project,
        Event("answered", 0, one, 3, "Ada", {"seconds": 1.5}),
        Event("voted", 0, one, 5, "Bo"),  # late, and otherwise
        Event("voted", 0, two, 3, "Ada", {"seconds": 2.5}),
        Event("voted", 0, two, 3, "Bo", {"seconds": 3.5}),
        Event("answered", 0, two, 3, "Bo", {"votes": 2}),  # settles two who agree
        Event("answered", 0, three, 1, "Ada"),
        Event("withdrawn", 0, three, None, "Ada"),
        Event("answered", 0, three, 2, "Ada"),
        Event("voted", 0, four, None, "Ada"),
        Event("voted", 0, four, None, "Bo"),
        Event("skipped", 0, four, None, "Bo", {"votes": 2}),
        Event("corrected", 0, four, 4, "Bo"),
        Event("voted", 0, waiting[0], 1, "Ada"),
        Event("voted", 0, waiting[1], 1, "Ada"),
        Event("voted", 0, waiting[1], 2, "Bo"),
    )
    done = export(project, tmp_path / "out")
    rows = {int(row["id"]): row for row in table(tmp_path / "out")}
    assert json.loads(rows[one]["votes"]) == {"Ada": "3", "Bo": "5"}
    assert json.loads(rows[two]["votes"]) == {"Ada": "3", "Bo": "3"}
    assert (rows[one]["seconds"], rows[two]["seconds"], rows[two]["by"]) == ("1.5", "3.5", "Bo")
    assert (rows[three]["label"], rows[three]["votes"]) == ("2", "")
    told = {int(row["id"]): (row["conflict"], json.loads(row["opinions"])) for row in conflicts(tmp_path / "out")}
    assert told == {
        one: ("people disagree", {"Ada": "3", "Bo": "5"}),
        four: ("a vote differs from the label", {"Ada": None, "Bo": None}),
        waiting[1]: ("people disagree", {"Ada": "1", "Bo": "2"}),
    }
    assert dict(done.conflicts) == {"people disagree": 2, "a vote differs from the label": 1}
    assert "conflicts.csv" in " ".join(done.lines)


def test_images_that_wait_for_an_answer_are_counted_and_are_no_conflict(project: Project, tmp_path: Path) -> None:
    session = project.session("random")
    first, *_ = session.ask(6).ids.tolist()
    exchanges.write(project, Event("answered", 0, first, 3, "Ada"))
    done = export(project, tmp_path / "out")
    assert not done.conflicts and not conflicts(tmp_path / "out") and done.waiting == 5
    assert "5 images are chosen and not answered yet" in done.lines and "onflict" not in " ".join(done.lines)


def test_an_export_replaces_an_export_and_nothing_else(project: Project, tmp_path: Path) -> None:
    exchanges.labelled(project, 5)
    out = tmp_path / "out"
    for form in (*FORMS, *FORMS):
        export(project, out, form)
    once = exchanges.contents(out)
    export(project, out, "torch")
    assert exchanges.contents(out) == once

    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"no export wrote notes\.txt"):
        export(project, out)
    (out / "notes.txt").unlink()
    (out / "classes.json").write_text("[]")
    with pytest.raises(UserError, match=r"classes\.json was changed"):
        export(project, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_others_is_left_alone(project: Project, tmp_path: Path) -> None:
    exchanges.labelled(project, 5)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("theirs")
    (tmp_path / "file").write_text("theirs")
    for out in (tmp_path / "theirs", tmp_path / "file", project.root, project.root.parent, project.root / "pool"):
        with pytest.raises(UserError):
            export(project, out)
    assert (tmp_path / "theirs" / "file").read_text() == (tmp_path / "file").read_text() == "theirs"
    (tmp_path / "empty").mkdir()
    assert export(project, tmp_path / "empty").labelled == 5


def test_no_export_among_the_images(tmp_path: Path) -> None:
    project = exchanges.photos(tmp_path, {"1.png": 1, "2.png": 2})
    session = project.session("random")
    session.tell(dict.fromkeys(session.ask(2).ids.tolist(), "dog"))
    with pytest.raises(UserError, match="among the source images"):
        export(project, tmp_path / "photos" / "out", "folders")


def test_a_cut_export_leaves_no_half_of_one(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges.labelled(project, 5)
    export(project, tmp_path / "out")
    before = exchanges.contents(tmp_path / "out")
    exchanges.labelled(project, 5)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("asal.labelling.exchange.export.write_table", cut)
        with pytest.raises(KeyboardInterrupt):
            export(project, tmp_path / "out")
    assert exchanges.contents(tmp_path / "out") == before
    assert export(project, tmp_path / "out").labelled == 10
    assert len(table(tmp_path / "out")) == 10


def test_without_labels_there_is_nothing_to_export(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no labels"):
        export(project, tmp_path / "out")
    assert not project.spec.labelling.place(project.root).exists()  # type: ignore[union-attr]
    with pytest.raises(UserError, match="did you mean 'csv'"):
        export(project, tmp_path / "out", "cvs")


def test_another_pools_record_is_refused(project: Project, tmp_path: Path) -> None:
    exchanges.labelled(project, 5)
    other = exchanges.photos(tmp_path, {"1.png": 1, "2.png": 2})
    record = project.spec.labelling.place(project.root)
    Path(other.spec.labelling.place(other.root)).write_bytes(Path(record).read_bytes())
    with pytest.raises(UserError, match="are of the pool"):
        export(other, tmp_path / "out")


@settings(max_examples=20, deadline=None)
@given(key=st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_whatever_a_key_is_a_table_keeps_it(key: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    from asal.labelling.exchange.columns import Columns
    from asal.labelling.exchange.readers import read_rows
    from asal.labelling.exchange.writers import ExportData

    row = {**dict.fromkeys(COLUMNS), "id": 1, "key": key, "label": key, "status": "labelled", "made": False}
    for form, name in ROWS.items():
        folder = tmp_path_factory.mktemp("keys")
        FORMS[form](ExportData([key], [row], lambda ids: np.zeros((len(ids), 1, 1, 1), np.uint8)), folder)
        (back,) = read_rows(folder / name, form, Columns())
        assert (back.image, back.key, back.label) == (1, key, key)


def test_the_command_tells_what_it_wrote(tiny: Path, tmp_path: Path, asal: Command) -> None:
    exchanges.labelled(Project.open(tiny), 5, skip=1)
    said = asal("export", tiny, tmp_path / "out", "--as", "jsonl")
    assert said.code == 0 and "4 labels" in said.out and "1 answered with" in said.out
    assert len(table(tmp_path / "out", "jsonl")) == 5
    asal("export", tiny, tmp_path / "out", "--as", "jsonnl").refused("did you mean 'jsonl'")
    asal("export", tmp_path, tmp_path / "out").refused("asal.toml")
