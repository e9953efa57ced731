"""Images that were made up: in the record, under their ids, and through a whole session."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import Features, Ids, Images, Labels, Model, Round, Selection, as_ids
from asal.errors import DamageError, UserError
from asal.session.events import Record
from asal.session.session import Session
from asal.session.state import SyntheticImage
from asal.session.synthetic_pool import PoolWithSynthetic, decoded, encoded
from asal.testing.toy_sessions import PLAN, WORLD, again, begin, play

SHAPE = WORLD.pool.shape
FIRST = len(WORLD.pool)  # the id of the first image that is made up


def brightened(now: Round, n: int, rng: np.random.Generator) -> Selection:
    """Make up n images: the negatives of random ones."""
    ids = now.candidates.sample(n, rng)
    images = 255 - now.pool.read(ids)
    notes = [{"of": int(image), "before": len(now.origins)} for image in ids]
    return Selection.of_synthetic(now, images, np.arange(n, dtype=float), notes)


def in_threes(now: Round, n: int, rng: np.random.Generator) -> Selection:
    """Make up n groups of three images."""
    images = rng.integers(256, size=(3 * n, *SHAPE)).astype(np.uint8)
    notes = [{"line": i // 3, "place": i % 3} for i in range(3 * n)]
    return Selection.of_synthetic(now, images, np.zeros(3 * n), notes, group=3)


def answer(session: Session, label: int | None = 1) -> None:
    """Answer the open batch."""
    batch = session.ask(1)
    session.tell(dict.fromkeys(batch.ids.tolist(), label))


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record.open(tmp_path / "labels.db") as opened:
        yield opened


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_an_image_comes_back_to_the_bit(height: int, width: int, channels: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(256, size=(2, height, width, channels)).astype(np.uint8)
    texts = encoded(images)
    json.dumps(texts)
    for text, image in zip(texts, images, strict=True):
        assert np.array_equal(decoded(text, image.shape), image)


@pytest.mark.parametrize("text", ["", "?", "aGVsbG8=", encoded(np.zeros((1, 3, 3, 1), np.uint8))[0][:40]])
def test_a_damaged_image_is_said(text: str) -> None:
    with pytest.raises(DamageError, match="synthetic image"):
        decoded(text, (3, 3, 1))


def test_an_image_of_another_shape_is_damage() -> None:
    with pytest.raises(DamageError, match=r"\(3, 4, 1\)"):
        decoded(encoded(np.zeros((1, 3, 4, 1), np.uint8))[0], (3, 3, 1))


def test_a_joined_pool_reads_both_in_any_order_and_is_as_long_as_the_pool() -> None:
    images = np.random.default_rng(0).integers(256, size=(2, *SHAPE)).astype(np.uint8)
    made = {FIRST + i: SyntheticImage(text, {}, 1.0) for i, text in enumerate(encoded(images))}
    joined = PoolWithSynthetic(WORLD.pool, made)
    found = joined.read(as_ids([FIRST + 1, 3, FIRST, 3]))
    expected = np.stack([images[1], WORLD.pool.read(as_ids([3]))[0], images[0], WORLD.pool.read(as_ids([3]))[0]])
    assert np.array_equal(found, expected)
    assert len(joined) == FIRST and joined.fingerprint == WORLD.pool.fingerprint and joined.shape == SHAPE
    with pytest.raises(UserError):
        joined.read(as_ids([FIRST + 2]))


def test_made_up_images_are_asked_answered_trained_on_and_survive_a_restart(record: Record) -> None:
    seen: list[tuple[Images, Labels]] = []

    class Watched:
        def fit(self, images: Images, labels: Labels, classes: int, rng: Any) -> Model:
            seen.append((images, labels))
            return WORLD.learner.fit(images, labels, classes, rng)

    session = play(begin(record, strategy=brightened, name="brightened", learner=Watched()), 1, 6)
    batch = session.ask(4)
    assert batch.ids.tolist() == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    shown = session.images(batch.ids)
    originals = WORLD.pool.read(as_ids([note["of"] for note in batch.notes]))
    assert np.array_equal(shown, 255 - originals)
    session.tell({FIRST: 0, FIRST + 1: None, FIRST + 2: "one", FIRST + 3: 2})

    other = again(session)
    assert np.array_equal(other.images(batch.ids), shown)
    assert other.labelled.tolist() == session.labelled.tolist() and other.skipped.tolist() == [FIRST + 1]
    following = other.ask(2)
    assert following.ids.tolist() == [FIRST + 4, FIRST + 5], "ids go on where they were"
    assert {note["before"] for note in following.notes} == {4}, "a strategy sees how the others were made"
    images, labels = seen[-1]
    assert np.array_equal(images[-3:], shown[[0, 2, 3]]) and labels[-3:].tolist() == [0, 1, 2]
    other.correct({FIRST: 2})
    assert other.labels[other.labelled == FIRST].tolist() == [2]
    assert other.left == 40 - 6, "what was made up takes nothing from the pool"


def test_a_classifier_of_features_is_trained_on_those_of_synthetic_images(record: Record) -> None:
    read: list[Features] = []

    class Reader:
        def read(self, ids: Ids) -> Features:
            assert (ids < FIRST).all(), "nothing is stored of synthetic images"
            return WORLD.tools.vectors.read(ids)

        def extract(self, images: Images) -> Features:
            return WORLD.tools.extractor(images)

    class Recording:
        def fit(self, inputs: Features, labels: Labels, classes: int, rng: Any) -> Model:
            read.append(inputs)
            return WORLD.learner.fit(inputs, labels, classes, rng)

    def choose(now: Round, n: int, rng: np.random.Generator) -> Selection:
        assert np.array_equal(now.inputs(now.labelled), read[-1])
        return brightened(now, n, rng)

    session = play(begin(record, strategy=choose, learner=Recording(), features=Reader()), 1, 6)
    answer(session)
    session.ask(1)
    expected = WORLD.tools.extractor(session.images(session.labelled))
    assert (session.labelled >= FIRST).any() and np.array_equal(read[-1], expected)
    assert np.array_equal(session.inputs(as_ids([FIRST, 3])), WORLD.tools.extractor(session.images(as_ids([FIRST, 3]))))


def test_a_batch_may_follow_that_is_real_again(record: Record) -> None:
    session = play(begin(record, strategy=brightened), 1, 6)
    answer(session)
    mixed = again(session, strategy=PLAN.strategy)
    batch = mixed.ask(5)
    assert (batch.ids < FIRST).all() and not np.isin(batch.ids, mixed.labelled).any()


def test_what_counts_as_an_annotation(record: Record) -> None:
    session = begin(record, strategy=in_threes)
    first = session.ask(6)
    session.tell({int(i): None if k == 0 else int(WORLD.truth[i]) for k, i in enumerate(first.ids)})
    assert session.state.spent == 5, "a real image that nobody could tell counts nothing"
    lines = session.ask(2)
    assert len(lines) == 6 and session.state.rounds[-1].group == 3
    session.tell({int(image): label for image, label in zip(lines.ids, [0, 0, 1, None, None, None], strict=True)})
    assert session.state.spent == 7, "a line counts once, told or not"
    assert len(session.labelled) == 8


WRONG: dict[str, tuple[Any, str]] = {
    "ids of the pool": (
        lambda now, n, rng: Selection(np.arange(n), np.zeros(n), images=np.zeros((n, *SHAPE), np.uint8)),
        "these are no ids of new images: 0, 1, 2",
    ),
    "ids with a gap": (
        lambda now, n, rng: Selection(np.arange(n) + FIRST + 1, np.zeros(n), images=np.zeros((n, *SHAPE), np.uint8)),
        "chose",
    ),
    "images of another size": (
        lambda now, n, rng: Selection.of_synthetic(now, np.zeros((n, 9, 9, 1), np.uint8), np.zeros(n), [{}] * n),
        r"made uint8 images of the shape \(9, 9, 1\)",
    ),
    "images of another type": (
        lambda now, n, rng: Selection.of_synthetic(now, np.zeros((n, *SHAPE)), np.zeros(n), [{}] * n),
        "made float64",
    ),
    "too few": (lambda now, n, rng: brightened(now, n - 1, rng), "chose 2 where 3 images were"),
    "too few groups": (lambda now, n, rng: in_threes(now, n - 1, rng), "chose 6 where 9 images were"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_strategy_that_breaks_the_contract_is_stopped(what: str, record: Record) -> None:
    strategy, said = WRONG[what]
    session = play(begin(record, strategy=strategy), 1, 6)
    before = len(record.read())
    with pytest.raises(UserError, match=said):
        session.ask(3)
    assert len(record.read()) == before, "nothing of it was written"


def test_a_selection_holds_an_image_an_id_and_whole_groups() -> None:
    images = np.zeros((4, *SHAPE), np.uint8)
    with pytest.raises(ValueError, match="one image for each id"):
        Selection(np.arange(3), np.zeros(3), images=images)
    with pytest.raises(ValueError, match="complete groups of 3"):
        Selection(np.arange(4), np.zeros(4), images=images, group=3)


def test_damage_in_the_record_is_said_when_the_image_is_read(record: Record) -> None:
    session = play(begin(record, strategy=brightened), 1, 6)
    ids = session.ask(2).ids
    with sa.create_engine(f"sqlite:///{record.name}").begin() as connection:
        (text,) = connection.execute(sa.text("select body from events where kind = 'asked' and round = 1")).one()
        body = json.loads(text)
        body["images"][1] = body["images"][1][:40]
        connection.execute(
            sa.text("update events set body = :b where kind = 'asked' and round = 1"), {"b": json.dumps(body)}
        )
    other = again(session)
    assert np.array_equal(other.images(ids[:1]), session.images(ids[:1]))
    with pytest.raises(DamageError, match="restore a copy"):
        other.images(ids)


def test_an_event_that_is_not_as_it_was_written_is_damage(record: Record) -> None:
    session = play(begin(record, strategy=brightened), 1, 6)
    session.ask(2)
    engine = sa.create_engine(f"sqlite:///{record.name}")
    query = "select body from events where kind = 'asked' and round = 1"
    with engine.connect() as connection:
        (text,) = connection.execute(sa.text(query)).one()
    for change in ({"images": ["x"]}, {"group": 0}, {"ids": None}, {"surprise": 1}):
        with engine.begin() as connection:
            broken = json.dumps({**json.loads(text), **change})
            connection.execute(sa.text("update events set body = :b where kind = 'asked' and round = 1"), {"b": broken})
        with pytest.raises(DamageError, match="contradicts"):
            again(session)


def test_records_of_before_there_were_made_up_images_are_read(record: Record) -> None:
    session = play(begin(record), 2)
    with sa.create_engine(f"sqlite:///{record.name}").begin() as connection:
        (text,) = connection.execute(sa.text("select body from events where kind = 'opened'")).one()
        old = json.dumps({**json.loads(text), "format": 1})
        connection.execute(sa.text("update events set body = :b where kind = 'opened'"), {"b": old})
    assert again(session).labelled.tolist() == session.labelled.tolist()


def test_a_learner_of_lines_is_told_how_images_were_made(record: Record) -> None:
    told: list[list[dict[str, Any]]] = []

    class Lines:
        def fit_with_origins(
            self, images: Images, labels: Labels, origins: Sequence[Any], classes: int, rng: Any
        ) -> Model:
            told.append([dict(origin) for origin in origins])
            return WORLD.learner.fit(images, labels, classes, rng)

    session = play(begin(record, strategy=in_threes, learner=Lines(), from_lines=True), 1, 6)
    answer(session)
    session.model()
    assert told[-1][:6] == [{}] * 6, "real images have no origin"
    assert told[-1][6:] == [{"line": 0, "place": place} for place in range(3)]
    assert replace(PLAN).from_lines is False
