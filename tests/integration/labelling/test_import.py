"""Labels in: what is new is written once and whole, what disagrees is told, and no row goes to a wrong image."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import databases
from support import export_projects as exchanges
from support.commands import Command

from asal.core import Ids
from asal.errors import BusyError, NoRowTakenError, UserError
from asal.labelling.exchange import imports
from asal.labelling.exchange.choosing import ELSEWHERE, UNKNOWN
from asal.labelling.exchange.columns import Columns
from asal.labelling.exchange.export import export
from asal.labelling.exchange.imports import Imported, ImportOptions, import_labels
from asal.labelling.exchange.matching import PoolImages, match_rows
from asal.labelling.exchange.rows import LabelRow
from asal.labelling.exchange.writers import FORMS
from asal.project.project import Project
from asal.session.events import Event, Record


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return exchanges.digits(tmp_path_factory.mktemp("digits") / "project")


@pytest.fixture
def project(base: Project) -> Project:
    return exchanges.again(base)


def sheet(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


OWN = ImportOptions(own_ids=True)


def cells(done: Imported, column: str) -> list[str]:
    with done.report.open(encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


def report(done: Imported) -> list[tuple[str, str]]:
    with done.report.open(encoding="utf-8", newline="") as file:
        return [(row["line"], row["outcome"]) for row in csv.DictReader(file)]


def keys(project: Project, *images: int) -> list[str]:
    return list(project.pool.keys(np.array(images)))


@pytest.mark.parametrize("form", FORMS)
def test_what_was_exported_is_imported_into_a_fresh_project(project: Project, tmp_path: Path, form: str) -> None:
    session = exchanges.labelled(project, 20, skip=3)
    export(project, tmp_path / "out", form)
    fresh = exchanges.again(project)
    done = import_labels(fresh, tmp_path / "out", ImportOptions())
    state = exchanges.state_of(fresh)
    assert dict(state.answers) == dict(session.state.answers) and done.written == 17
    assert set(state.authors.values()) == ({"Ada"} if form != "folders" else {None})
    again = import_labels(fresh, tmp_path / "out", ImportOptions())
    assert again.written == 0 and again.outcomes["same as before"] == 17
    assert exchanges.state_of(fresh).seq == state.seq


def test_a_record_may_lie_in_postgresql(base: Project, tmp_path: Path, postgres: str) -> None:
    project = exchanges.again(base, databases.fresh(postgres))
    import_labels(
        project, sheet(tmp_path / "labels.csv", "id,label\n1,2\n3,4\n"), ImportOptions(by="Ada", own_ids=True)
    )
    assert export(project, tmp_path / "out").labelled == 2
    assert import_labels(project, tmp_path / "out", ImportOptions()).outcomes == {"same as before": 2}
    assert postgres.rpartition("/")[0] not in (tmp_path / "out" / "part.json").read_text()


@settings(max_examples=25, deadline=None)
@given(
    answers=st.dictionaries(st.integers(0, 299), st.integers(0, 9), min_size=1, max_size=30),
    form=st.sampled_from(["csv", "jsonl", "parquet", "folders"]),
)
def test_export_and_import_give_the_same_labels(
    base: Project, tmp_path_factory: pytest.TempPathFactory, answers: dict[int, int], form: str
) -> None:
    here, there, home = exchanges.again(base), exchanges.again(base), tmp_path_factory.mktemp("round")
    rows = "".join(f"{image},{label}\n" for image, label in answers.items())
    import_labels(here, sheet(home / "first.csv", "id,label\n" + rows), OWN)
    assert dict(exchanges.state_of(here).answers) == answers
    export(here, home / "out", form)
    import_labels(there, home / "out", ImportOptions())
    assert dict(exchanges.state_of(there).answers) == answers


def test_every_row_is_told_of(project: Project, tmp_path: Path) -> None:
    session = exchanges.labelled(project, 2)
    (same, label), (other, before) = session.state.answers.items()
    waiting, can_not = session.ask(2).ids.tolist()
    new, twice, split, never = np.setdiff1d(np.arange(300), [same, other, waiting, can_not])[:4].tolist()
    named = dict(zip((same, other, waiting, can_not, new, twice, split, never),
                     keys(project, same, other, waiting, can_not, new, twice, split, never), strict=True))  # fmt: skip
    wrong = (before + 1) % 10
    lines = [
        f"{named[new]},4,", f"{named[same]},{label},", f"{named[other]},{wrong},", f"{named[waiting]},7,",
        f"{named[can_not]},,can't tell", f"{named[twice]},1,", f"{named[twice]},1,", f"{named[split]},1,",
        f"{named[split]},2,", "train/nowhere,1,", f"{named[never]},eleven,", f"{named[never]},,can't tell", "1,2,3,4,5",
        "", ",5,", f"{named[never]},,",
    ]  # fmt: skip
    file = sheet(tmp_path / "labels.csv", "key,label,status\n" + "\n".join(lines) + "\n")
    done = import_labels(project, file, ImportOptions(by="Bo"))
    assert report(done) == [
        ("2", "new"), ("3", "same as before"), ("4", "conflicts with the record"), ("5", "answers an open image"),
        ("6", "can't tell an open image"), ("7", "new"), ("8", "same as an earlier row"),
        ("9", "conflicts within the file"), ("10", "conflicts within the file"), ("11", "unknown image"),
        ("12", "unknown class"), ("13", "can't tell, and was never asked"), ("14", "unreadable"),
        ("16", "unreadable"), ("17", "unreadable"),
    ]  # fmt: skip
    state = exchanges.state_of(project)
    assert done.written == 4 and "9 rows were not taken" in done.lines[1]
    assert (state.answers[new], state.answers[waiting], state.answers[twice]) == (4, 7, 1)
    assert state.answers[other] == before and split not in state.answers and can_not in state.skips
    assert state.authors[new] == "Bo"
    with Record.open(project.spec.labelling.place(project.root)) as record:
        last = record.read()[-4:]
    assert [event.kind for event in last] == ["imported", "answered", "skipped", "imported"]
    assert [event.round for event in last[1:3]] == [1, 1] and last[0].body == {"file": "labels.csv"}


def test_a_conflict_becomes_a_correction_where_that_is_wanted(project: Project, tmp_path: Path) -> None:
    session = exchanges.labelled(project, 2)
    (one, before), (two, _) = session.state.answers.items()
    text = f"id,label,status\n{one},{(before + 1) % 10},\n{two},,can't tell\n"
    file = sheet(tmp_path / "labels.csv", text)
    with pytest.raises(NoRowTakenError, match=r"record: 2; the first: it was .*--replace writes them as corr"):
        import_labels(project, file, OWN)
    done = import_labels(project, file, ImportOptions(replace=True, by="Bo", own_ids=True))
    state = exchanges.state_of(project)
    assert done.outcomes == {"corrected": 2} and state.answers[one] == (before + 1) % 10 and two in state.skips
    assert import_labels(project, file, ImportOptions(replace=True, own_ids=True)).written == 0
    with pytest.raises(NoRowTakenError, match=r"conflicts within the file: 2.*keep one row for each image"):
        import_labels(project, sheet(file, f"id,label\n{one},1\n{one},2\n"), ImportOptions(replace=True, own_ids=True))
    assert exchanges.state_of(project).seq == state.seq


def test_an_id_that_is_another_images_does_not_count(project: Project, tmp_path: Path) -> None:
    (mine,) = keys(project, 5)
    file = sheet(tmp_path / "labels.csv", f"id,key,label\n6,{mine},3\n5,nowhere.png,3\n")
    done = import_labels(project, file, ImportOptions())
    assert dict(exchanges.state_of(project).answers) == {5: 3}
    assert [outcome for _, outcome in report(done)] == ["new", "unknown image"]
    assert cells(done, "detail")[0] == "its id is another image's here" and done.matched == {"whole key": 1}


def test_ids_alone_beside_ids_of_another_pool_are_refused(project: Project, tmp_path: Path) -> None:
    (mine,) = keys(project, 5)
    file = sheet(tmp_path / "labels.csv", f"id,key,label\n6,{mine},3\n7,,3\n")
    with pytest.raises(NoRowTakenError, match="nothing shows whose ids they are: 7 may be"):
        import_labels(project, file, ImportOptions())
    assert not exchanges.state_of(project).answers


def test_the_end_of_a_path_is_refused_where_others_lie_elsewhere(tmp_path: Path) -> None:
    names = ["a/1.png", "b/1.png", "b/2.png", "c/d/3.png"]
    project = exchanges.photos(tmp_path, dict.fromkeys(names, 9))
    given = {"1.png": "fits several images", "2.png": "may be of another folder", "x/2.png": "unknown image",
             "d/3.png": "may be of another folder", "/mnt/photos/a/1.png": "new", "b/1.png": "new"}  # fmt: skip
    file = sheet(tmp_path / "labels.csv", "file,class\n" + "".join(f"{name},cat\n" for name in given))
    done = import_labels(project, file, ImportOptions())
    assert [outcome for _, outcome in report(done)] == list(given.values())
    assert sorted(exchanges.state_of(project).answers) == [0, 1]
    assert done.matched == {"below '/mnt/photos/'": 1, "whole key": 1}


def test_class_folders_of_others_go_by_their_files_names(tmp_path: Path) -> None:
    project = exchanges.photos(tmp_path, dict.fromkeys(["1.png", "x/2.png", "cat/3.png", "y/2b.png"], 9))
    tree = tmp_path / "sorted"
    for name in ("cat/1.png", "dog/2.png", "cat/3.png", "bird/2b.png", "loose.png", ".DS_Store", "dog/9.png"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    done = import_labels(project, tree, ImportOptions(by_names=True))
    said = dict(zip(keys(project, 0, 1, 2, 3), range(4), strict=True))
    answers = exchanges.state_of(project).answers
    assert {key: answers.get(image) for key, image in said.items()} == {
        "1.png": 0, "x/2.png": 1, "cat/3.png": 0, "y/2b.png": None,
    }  # fmt: skip
    assert done.outcomes == {"new": 3, "unknown class": 1, "unknown image": 1, "unreadable": 1}


def test_a_file_moved_to_another_class_is_a_correction(project: Project, tmp_path: Path) -> None:
    session = exchanges.labelled(project, 5)
    image, label = next(iter(session.state.answers.items()))
    export(project, tmp_path / "out", "folders")
    (moved,) = (tmp_path / "out").glob(f"*/{image:09d}-*")
    moved.rename(tmp_path / "out" / str((label + 1) % 10) / moved.name)
    assert import_labels(project, tmp_path / "out", ImportOptions()).outcomes["conflicts with the record"] == 1
    import_labels(project, tmp_path / "out", ImportOptions(replace=True))
    assert exchanges.state_of(project).answers[image] == (label + 1) % 10


def test_a_class_whose_folder_has_another_name_comes_back(tmp_path: Path) -> None:
    classes = ("a/b", "..", "Cat", "cat", "%")
    project = exchanges.photos(tmp_path, {f"{n}.png": n for n in range(5)}, classes)
    session = project.session("random")
    session.tell({image: int(image) for image in session.ask(5).ids})
    export(project, tmp_path / "out", "folders")
    fresh = exchanges.again(project)
    assert import_labels(fresh, tmp_path / "out", ImportOptions()).outcomes == {"new": 5}
    assert dict(exchanges.state_of(fresh).answers) == dict(session.state.answers)


def test_columns_by_other_names(project: Project, tmp_path: Path) -> None:
    one, two = keys(project, 1, 2)
    file = sheet(tmp_path / "theirs.csv", f"photo,what,id\n{one},3,77\n{two},4,78\n")
    with pytest.raises(UserError, match="--label-column"):
        import_labels(project, file, ImportOptions())
    with pytest.raises(UserError, match="did you mean 'photo'"):
        import_labels(project, file, ImportOptions(columns=Columns("foto", "what")))
    import_labels(project, file, ImportOptions(columns=Columns("photo", "what")))
    assert dict(exchanges.state_of(project).answers) == {1: 3, 2: 4}  # their own ids are not ours


def test_a_label_is_a_name_and_never_a_place(tmp_path: Path) -> None:
    project = exchanges.photos(tmp_path, {"1.png": 1}, ("5", "7"))
    with pytest.raises(NoRowTakenError, match="the file has the labels '1', the classes are '5' and '7'"):
        import_labels(project, sheet(tmp_path / "labels.csv", "key,label\n1.png,1\n"), ImportOptions())


def test_what_is_no_text_is_told_by_its_line(project: Project, tmp_path: Path) -> None:
    one, two = keys(project, 1, 2)
    file = tmp_path / "labels.csv"
    file.write_bytes(
        f'\ufeffkey,label\r\n{one},3\r\nb\xe4h,4\r\n"{two}",5\r\n'.encode("latin-1", "replace").replace(
            b"?key", b"\xef\xbb\xbfkey"
        )
    )
    done = import_labels(project, file, ImportOptions())
    assert report(done) == [("2", "new"), ("3", "unreadable"), ("4", "new")]
    lines = [json.dumps({"key": one, "label": "3"}), "{broken", "[1]", "", json.dumps({"key": two, "label": "9"})]
    (tmp_path / "labels.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = import_labels(project, tmp_path / "labels.jsonl", ImportOptions())
    assert report(done) == [
        ("1", "same as before"), ("2", "unreadable"), ("3", "unreadable"), ("5", "conflicts with the record"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("no.txt", b"x"), ("no.parquet", b"x"), ("no.csv", b""), ("no.csv", b"a,b\n1,2\n"), ("no.jsonl", b"{}"),
        ("no.csv", b"\x00\xff\xfe"),
    ],
)  # fmt: skip
def test_what_holds_no_labels_is_refused(project: Project, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError):
        import_labels(project, tmp_path / name, ImportOptions())
    with pytest.raises(UserError, match="no file or folder"):
        import_labels(project, tmp_path / "nowhere.csv", ImportOptions())
    with pytest.raises(UserError, match="form of labels"):
        import_labels(project, tmp_path / name, ImportOptions(form="xml"))


def test_a_table_from_elsewhere_may_hold_images(project: Project, tmp_path: Path) -> None:
    (one,) = keys(project, 1)
    rows = pa.table({"image": [{"bytes": b"x" * 1000, "path": "p"}], "file_name": [one], "label": ["3"]})
    pq.write_table(rows, tmp_path / "labels.parquet")
    assert import_labels(project, tmp_path / "labels.parquet", ImportOptions()).written == 1


def test_a_data_set_of_splits_is_read_by_its_class_names(project: Project, tmp_path: Path) -> None:
    import datasets

    one, two = keys(project, 1, 2)
    names = datasets.ClassLabel(names=["9", "4"])
    features = datasets.Features({"key": datasets.Value("string"), "label": names})
    parts = {
        split: datasets.Dataset.from_dict({"key": [key], "label": [label]}, features)
        for split, key, label in (("train", one, 0), ("test", two, 1))
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    import_labels(project, tmp_path / "saved", ImportOptions())
    assert dict(exchanges.state_of(project).answers) == {1: 9, 2: 4}


def test_made_up_images_go_by_their_ids_and_only_where_they_were_made(project: Project, tmp_path: Path) -> None:
    from asal.session.synthetic_pool import encoded

    exchanges.labelled(project, 3)
    first = len(project.pool)
    picture = encoded(np.zeros((1, 8, 8, 1), np.uint8))
    body = {"ids": [first], "scores": [0.5], "n": 1, "strategy": "gaal", "images": picture, "group": 1}
    exchanges.write(project, Event("asked", 1, body=body), Event("answered", 1, first, 7, "Bo"))
    for form in ("csv", "jsonl", "parquet", "datasets", "folders"):
        export(project, tmp_path / form, form)
        assert import_labels(project, tmp_path / form, ImportOptions()).outcomes == {"same as before": 4}
        fresh = exchanges.again(project)
        assert import_labels(fresh, tmp_path / form, ImportOptions()).outcomes == {"new": 3, "unknown image": 1}


def test_a_report_goes_over_nothing_but_a_report(project: Project, tmp_path: Path) -> None:
    file = sheet(tmp_path / "labels.csv", "id,label\n1,2\n")
    theirs = sheet(tmp_path / "labels.csv.import.csv", "mine\n")
    with pytest.raises(UserError, match="not the report of an import"):
        import_labels(project, file, OWN)
    assert theirs.read_text() == "mine\n" and not exchanges.state_of(project).answers
    theirs.unlink()
    import_labels(project, file, OWN)
    import_labels(project, file, OWN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "labels.csv.import.csv"]


def test_what_others_write_meanwhile_is_weighed_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges.labelled(project, 2)
    image = next(n for n in range(300) if n not in exchanges.state_of(project).answers)
    file = sheet(tmp_path / "labels.csv", f"id,label\n{image},3\n")
    plain, calls = imports.write_report, []

    def meanwhile(*given: Any) -> None:
        plain(*given)
        if not calls:
            calls.append(1)
            exchanges.write(project, Event("imported", 1, image, 8, "Bo"))

    monkeypatch.setattr(imports, "write_report", meanwhile)
    with pytest.raises(NoRowTakenError, match="conflicts with the record: 1"):
        import_labels(project, file, OWN)
    assert exchanges.state_of(project).answers[image] == 8


def test_nothing_is_written_where_others_never_pause(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise BusyError("c", rule="r", hint="m")

    monkeypatch.setattr(Record, "append", busy)
    with pytest.raises(BusyError, match="nothing was imported"):
        import_labels(project, sheet(tmp_path / "labels.csv", "id,label\n1,2\n"), OWN)


def test_two_imports_at_once_double_nothing(project: Project, tmp_path: Path) -> None:
    exchanges.labelled(project, 1)
    images = [n for n in range(300) if n not in exchanges.state_of(project).answers][:200]
    text = "id,label\n" + "".join(f"{image},{image % 10}\n" for image in images)
    files = [sheet(tmp_path / f"{n}.csv", text) for n in range(4)]
    done: list[Imported] = []
    threads = [threading.Thread(target=lambda f=file: done.append(import_labels(project, f, OWN))) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(it.written for it in done) == [0, 0, 0, 200]


class Many:
    """A pool of so many keys, of which it tells how many were held at once."""

    def __init__(self, size: int) -> None:
        self.size, self.most = size, 0

    def __len__(self) -> int:
        return self.size

    def keys(self, ids: Ids) -> list[str]:
        self.most = max(self.most, len(ids))
        return [f"photos/{image // 1000}/{image}.jpg" for image in ids.tolist()]


def images_of(pool: Any, rows: Sequence[LabelRow]) -> list[int]:
    return [match.image for match in match_rows(PoolImages(pool, {}), rows)]


def test_a_large_pools_keys_are_read_block_by_block() -> None:
    pool = Many(1_000_000)
    rows = [LabelRow(1, key="photos/999/999999.jpg"), LabelRow(2, key="5.jpg", partial=True), LabelRow(3, key="x"),
            LabelRow(4, image=7, key="photos/0/7.jpg"), LabelRow(5, wrong="broken", key="5.jpg")]  # fmt: skip
    assert images_of(pool, rows) == [999_999, ELSEWHERE, UNKNOWN, 7, UNKNOWN]
    assert pool.most <= 2**16
    pool.most = 0
    assert images_of(pool, [rows[3]]) == [7] and pool.most == 1  # an id that fits its key costs no pass


def test_the_command_tells_what_it_took(tiny: Path, tmp_path: Path, asal: Command) -> None:
    file = sheet(tmp_path / "theirs.csv", "photo,label\ntrain/nowhere,3\n")
    said = asal("import", tiny, file, "--key-column", "photo", "--by", "Ada")
    assert said.code == 1 and "unknown image: 1" in said.err and "theirs.csv.import.csv" in said.err
    assert "the file has images such as 'train/nowhere'" in said.err and "nearest to 'train/nowhere' is" in said.err
    (key,) = Project.open(tiny).pool.keys(np.array([3]))
    sheet(file, f"photo,label\n{key},3\n")
    said = asal("import", tiny, file, "--key-column", "photo", "--by", "Ada")
    assert "1 label written" in said.out and "every row was taken" in said.out
    asal("import", tiny, tmp_path / "no.csv").refused("no file or folder")
    answers: Mapping[int, int] = exchanges.state_of(Project.open(tiny)).answers
    assert dict(answers) == {3: 3}
