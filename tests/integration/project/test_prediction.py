"""Predictions for new images: those that they would get in the pool; nothing of the project changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.classified_projects import CLASSES, SMALL, answer, classified, new_files
from support.kills import bytes_of
from support.photographs import draw

from asal.data.sources.folder import Folder
from asal.errors import UserError
from asal.models.learners.linear import Linear
from asal.project.classifier import classifier_of
from asal.project.kept_model import KeptModel
from asal.project.prediction import Predictor
from asal.project.project import Project
from asal.session.class_changes import ClassChange

TAKEN_IN = {"head on photographs": 1e-5, "hidden layer on half the bytes": 5e-3, "head on pixels": 1e-5, "cnn": 1e-5}


@pytest.mark.parametrize("kind", TAKEN_IN)
def test_they_are_what_the_images_would_get_in_the_pool(kind: str, tmp_path: Path) -> None:
    project = classified(tmp_path, kind)
    names = [file.name for file in new_files(tmp_path / "new")]
    for deep in (tmp_path / "new").glob("deep.*"):  # an addition gets a range of its own, where the pool has none
        deep.unlink()
        names.remove(deep.name)
    found = project.predict(tmp_path / "new")
    assert len(found) == len(names) and found.classes == CLASSES
    project.add(Folder(str(tmp_path / "new"), label="none"))
    project.prepare()
    grown = Project.open(project.root)
    session = grown.session("random")
    keys = dict(zip(grown.pool.keys(np.arange(24, len(grown.pool))), range(24, len(grown.pool)), strict=True))  # type: ignore[union-attr]
    ids = np.array([keys[Path(name).name] for name in found.names])
    np.testing.assert_allclose(found.probs, session.model().predict(session.inputs(ids)), atol=TAKEN_IN[kind])


def test_a_file_its_bytes_and_its_pixels_are_the_same_image(tmp_path: Path) -> None:
    project, files = classified(tmp_path, "linear"), new_files(tmp_path / "new")
    file = next(file for file in files if file.name == "gray.png")  # of a JPEG, less is decoded than its pixels
    pixels = np.asarray(Image.open(file))
    found = project.predict([str(file), file, file.read_bytes(), pixels])
    assert found.names == [str(file), str(file), "2", "3"]
    for probs in (found.probs, project.predict(pixels).probs, project.predict(np.stack([pixels, pixels])).probs):
        np.testing.assert_allclose(probs, np.repeat(found.probs[:1], len(probs), axis=0), atol=1e-6)
    assert found.labels == [CLASSES[int(found.probs[0].argmax())]] * 4
    assert project.predict([]).probs.shape == (0, 2) and project.predict([]).labels == []
    with pytest.raises(UserError, match="image 1 is a float"):
        project.predict([file, 1.5])  # type: ignore[list-item]


def test_the_order_and_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = classified(tmp_path, "linear")
    files = sorted((tmp_path / "images").rglob("*.png"))
    whole = project.predict(files)
    monkeypatch.setattr("asal.project.prediction.CHUNK", 5)
    in_chunks = project.predict(files)
    assert in_chunks.names == whole.names == [str(file) for file in files]
    np.testing.assert_allclose(in_chunks.probs, whole.probs, atol=1e-6)
    assert len({tuple(row) for row in whole.probs.round(6).tolist()}) > 12, "a mix-up would be seen"


def test_what_cannot_be_read_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    project, files = classified(tmp_path, "head on pixels"), new_files(tmp_path / "new")
    (tmp_path / "new" / "broken.jpg").write_bytes(files[0].read_bytes()[:200])
    (tmp_path / "new" / "text.png").write_text("no image")
    found = project.predict(tmp_path / "new")
    assert sorted(Path(name).name for name in found.unreadable) == ["broken.jpg", "text.png"]
    assert all(found.unreadable.values()) and len(found) == len(files)
    assert project.predict(tmp_path / "new" / "text.png").unreadable.keys() == {str(tmp_path / "new" / "text.png")}
    with pytest.raises(UserError, match="there is nothing at"):
        project.predict(tmp_path / "nowhere")


def test_images_of_another_shape_are_named_where_the_pools_are_not_scaled(tmp_path: Path) -> None:
    project = classified(tmp_path, "linear", pool={})
    Image.new("RGB", (20, 30)).save(tmp_path / "other.png")
    (why,) = project.predict(tmp_path / "other.png").unreadable.values()
    assert why == "it has 30 × 20 pixels, and the pool's images have 60 × 90"


def test_the_record_and_the_project_stay_as_they_are(tmp_path: Path) -> None:
    project, files = classified(tmp_path, "linear"), new_files(tmp_path / "new")
    before = bytes_of(project.root)
    project.predict(files)
    list(Predictor.of(project).of_pool())
    assert bytes_of(project.root) == before


def test_the_kept_classifier_is_used_if_it_is_of_the_present_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, files = classified(tmp_path, "linear"), new_files(tmp_path / "new")
    session = project.session("random")
    expected = session.model()
    KeptModel(project, "random", 0).keep(session.trained)
    session.record.close()

    def refuse(*_: Any) -> Any:
        raise AssertionError("it is trained again")

    with monkeypatch.context() as patched:
        patched.setattr(Linear, "fit", refuse)
        found = project.predict(files)
        np.testing.assert_array_equal(
            classifier_of(project).model.predict(project.pool.read(np.arange(5))),
            expected.predict(project.pool.read(np.arange(5))),
        )
    answer(project.session("random"), 6)
    assert not np.allclose(Project.open(project.root).predict(files).probs, found.probs), "of the labels by now"


def test_names_are_those_of_the_classes_by_now(tmp_path: Path) -> None:
    project, files = (
        classified(tmp_path, "linear", labelling={"classes": ["cat", "dog", "hound"]}),
        new_files(tmp_path / "n"),
    )
    session = project.session("random")
    session.change_classes(ClassChange("merge", ("hound",), "dog"))
    session.change_classes(ClassChange("rename", ("cat",), "tiger"))
    session.record.close()
    assert Project.open(project.root).predict(files).classes == ("tiger", "dog")


def test_the_pools_images_without_a_label(tmp_path: Path) -> None:
    draw(tmp_path / "images", [f"cat/{image:02d}.png" for image in range(1, 24, 2)])
    for number in range(12):  # so that some answered image has a copy
        source = tmp_path / "images" / "cat" / f"{2 * number + 1:02d}.png"
        shutil.copy(source, source.with_name(f"copy{number:02d}.png"))
    project = classified(tmp_path, "linear", labels=20)
    session, predictor = project.session("random"), Predictor.of(project)
    blocks = list(predictor.of_pool())
    ids = np.concatenate([block.ids for block in blocks if block.ids is not None])
    copies, n = project.copies.of(session.labelled), len(project.pool)
    assert len(copies) and ids.tolist() == sorted(set(range(n)) - set(session.labelled.tolist()) - set(copies.tolist()))
    probs = np.concatenate([block.probs for block in blocks])
    np.testing.assert_array_equal(probs, session.model().predict(session.inputs(ids)))
    assert [name for block in blocks for name in block.names] == project.pool.keys(ids)  # type: ignore[union-attr]
    everything = np.concatenate([block.ids for block in predictor.of_pool(labelled=True) if block.ids is not None])
    assert everything.tolist() == list(range(n))


def test_the_pool_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = classified(tmp_path, "head on pixels")
    whole = np.concatenate([block.probs for block in Predictor.of(project).of_pool(labelled=True)])
    monkeypatch.setattr("asal.project.prediction.BYTES", 5 * 10 * 4)
    reports: list[tuple[int, int]] = []
    pieces = list(
        Predictor.of(project).of_pool(
            labelled=True, progress=lambda _, done, total, note="": reports.append((done, total))
        )
    )
    assert [len(piece) for piece in pieces] == [5, 5, 5, 5, 4] and reports[-1] == (24, 24)
    np.testing.assert_allclose(np.concatenate([piece.probs for piece in pieces]), whole, atol=1e-6)


def test_without_labels_or_with_one_class_there_is_no_classifier(tmp_path: Path) -> None:
    project = classified(tmp_path, "linear", labels=0)
    with pytest.raises(UserError, match="there are no labels in"):
        project.predict(tmp_path / "images")
    session = project.session("random")
    (image,) = session.ask(1).ids.tolist()
    session.tell({image: "cat"})
    session.record.close()
    with pytest.raises(UserError, match="only one class is labelled yet"):
        project.predict(tmp_path / "images")


def test_features_that_are_not_prepared_are_missed(tmp_path: Path) -> None:
    project = classified(tmp_path, "head on pixels")
    shutil.rmtree(project.root / "features")
    with pytest.raises(UserError, match="asal prepare"):
        Project.open(project.root).predict(tmp_path / "images")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("head on photographs", "reads stored features"),
        ("cnn", "reads images of the shape"),
        ("linear", "of the shape"),
    ],
)
def test_the_classifier_alone_says_what_it_reads(kind: str, words: str, tmp_path: Path) -> None:
    project = classified(tmp_path, kind, pool=SMALL)
    model = project.session("random").model()
    with pytest.raises(UserError, match=words) as caught:
        model.predict(np.zeros((2, 300, 200, 3), np.uint8))
    assert "project.predict(images)" in caught.value.hint


def test_few_images_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, taken = classified(tmp_path, "linear"), 0
    monkeypatch.setattr("asal.project.prediction.CHUNK", 4)
    monkeypatch.setattr("asal.project.prediction.cores", lambda: 2)

    def items() -> Iterator[tuple[str, Any]]:
        nonlocal taken
        for number in range(400):
            taken += 1
            yield str(number), np.full((16, 16, 3), number % 256, np.uint8)

    done = 0
    for block in Predictor.of(project).of_images(items()):
        done += len(block)
        assert taken <= done + 4 * 4, "as many chunks as are worked on, and no more"
    assert done == taken == 400


def test_a_program_that_predicts_again_and_again_trains_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, files = classified(tmp_path, "linear"), new_files(tmp_path / "new")
    trainings, fit = [], Linear.fit

    def counted(self: Linear, *arguments: Any) -> Any:
        trainings.append(self)
        return fit(self, *arguments)

    monkeypatch.setattr(Linear, "fit", counted)
    first = [project.predict(file).probs for file in files[:3]]
    assert len(trainings) == 1
    answer(Project.open(project.root).session("random"), 6)
    trainings.clear()  # choosing these took one
    assert not np.allclose(project.predict(files[0]).probs, first[0]) and len(trainings) == 1
