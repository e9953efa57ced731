"""What a person reads about why an image was chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from asal.core import Selection
from asal.labelling.reasons import SOURCES, STANDS, lines, sentence
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.testing.rounds import Setting, setting

SPREAD: dict[str, Any] = {"score": -0.031, "class_weight": 1.234, "gain": 12.345, "labelled_distance": 3.4567}


def test_the_notes_of_spread_are_read_as_words_and_round_numbers() -> None:
    assert lines(SPREAD, "margin") == [
        ("its two likeliest classes", "3% apart"),
        ("weight of its classes", "1.23 (few labels)"),
        ("uncertainty that it stands for", "12.3"),
        ("distance to the nearest labelled", "3.46"),
    ]
    assert sentence(SPREAD, "spread") == f"The classifier is less sure of this image than of most. {STANDS}"


def test_where_a_classifier_is_sure_of_everything_nothing_else_is_said() -> None:
    sure = {"score": -0.9998, "class_weight": 1.0, "gain": 0.0002}
    assert dict(lines(sure, "margin")) == {
        "its two likeliest classes": "more than 99% apart",
        "weight of its classes": "1.00",
        "uncertainty that it stands for": "less than 0.01",
    }
    assert "unsure" not in sentence(sure, "spread")


@pytest.mark.parametrize(
    ("more", "said", "line"),
    [
        ({"source": "random"}, "less sure of this image than of most that were drawn at random", "at random"),
        ({"source": "search", "start": 812, "distance": 0.5}, "A search in feature space found", "by a search"),
        ({"source": "neighbours"}, "a neighbour of labelled ones", "beside labelled images"),
        ({"source": "generator", "synthetic_score": -0.5}, "The generator made an image", "by the generator"),
    ],
)
def test_where_a_pick_came_from_is_said_first(more: dict[str, Any], said: str, line: str) -> None:
    notes = {**more, **SPREAD}
    assert said in sentence(notes, "asal") and sentence(notes, "asal").endswith(STANDS)
    assert lines(notes, "margin")[0][1].startswith(line)
    assert said in sentence(more, "asal") and STANDS not in sentence(more, "asal"), "of a batch by the score alone"


def test_a_distance_is_that_to_what_was_looked_for() -> None:
    searched = dict(lines({"source": "search", "start": 812, "distance": 0.12345}, "margin"))
    assert searched["the search began at"] == "image 812" and searched["distance to what was found"] == "0.123"
    old = dict(lines({"distance": 2.0, "synthetic_score": 0.69, "score": 0.5}, "entropy"))  # before there were sources
    assert old["distance to the synthetic image"] == "2" and old["entropy of its classes"] == "0.50 nats"
    assert old["of the synthetic image"] == "entropy of its classes: 0.69 nats"
    assert "The generator made an image" in sentence({"distance": 2.0, "synthetic_score": 0.69}, "asal")


def test_a_first_batch_says_that_there_was_no_classifier_and_what_was_chosen_instead() -> None:
    why = "nothing is labelled yet"
    assert sentence({}, "random", why).endswith("those of a first batch are: nothing is labelled yet.")
    assert sentence({}, "typiclust", why).endswith("typical of a group of images of which none, or few, are labelled.")
    assert "nobody has seen it" in sentence({"gap": 0.1}, "gaal", synthetic=True)


def test_an_image_that_was_drawn_at_random_has_no_high_score() -> None:
    assert sentence({}, "random") == "This image was drawn at random."
    assert "highest scores" in sentence({}, "subset")


def test_a_gain_is_one_of_uncertainty_only_where_there_is_any() -> None:
    assert lines({"gain": 9.19}) == [("what it stands for", "9.19")], "of max-herding, which knows no classifier"
    assert lines({"gain": 9.19, "uncertainty": 0.9})[0] == ("uncertainty that it stands for", "9.19")


def test_a_score_from_before_a_default_changed_is_shown_as_a_number() -> None:
    assert lines({"score": 1.49}, "margin") == [("score", "1.49")], "an entropy"
    assert lines({"score": 1.49}, "least-confidence") == [("score", "1.49")]


def test_notes_that_nobody_translated_are_shown_as_they_are() -> None:
    notes = {"my_number": 0.123456, "my_count": 12_345, "hashed": True, "text": "x" * 3, "latent": [0.1, 0.2]}
    assert lines(notes) == [("hashed", "yes"), ("my count", "12,345"), ("my number", "0.123")]
    assert lines({"source": 17, "line": 3}) == [("line", "3")], "of a line through latents: the image that it began at"
    assert lines({"score": 1.5}, "")[0] == ("score", "1.5")


@pytest.fixture(scope="module")
def at() -> Iterator[Setting]:
    with setting(strategies["asal"], images=90) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("spread", {"size": 30}), ("uncertainty", {"batch": "spread"}), ("seals", {"batch": "spread", "neighbours": 4}),
        ("asal", {"size": 40}), ("asal", {"search": "generator", "steps": 3}),
    ],
)  # fmt: skip
def test_every_note_of_these_strategies_is_translated(name: str, options: dict[str, Any], at: Setting) -> None:
    chosen: Selection = strategies[name].make(at.round(np.arange(6)), 6, stream(0, "reasons"), **options)
    for note in chosen.notes:
        plain = {key: value for key, value in note.items() if isinstance(value, int | float | str)}
        assert len(lines(plain, "margin")) == len(plain), plain
        assert not any(key.replace("_", " ") == what for key in plain for what, _ in lines(plain, "margin")), plain
        assert note.get("source", "random") in SOURCES
