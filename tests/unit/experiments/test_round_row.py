"""A row is written as it always was, and rows of any age are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asal.experiments.round_row import NOT_A_ROW, RoundRow

LINE = (
    '{"strategy": "asal", "seed": 1, "round": 2, "labels": 30, "accuracy": 0.8125, "mean_score": 0.5, '
    '"class_counts": [14, 16], "evaluations": 100, "generated": 40, '
    '"seconds": {"train": 0.5, "generate": 0.25, "match": 0.0, "score": 0.125, "io": 0.0}, '
    '"index": {"queries": 10, "missed": 0}, "last": false, "spec_hash": "0123456789ab", "commit": null, '
    '"validation": 0.75, "look": {"labels": 30, "answers": "ab"}, "of_a_newer_asal": [1]}'
)


def test_a_row_is_written_back_byte_for_byte() -> None:
    row = RoundRow.from_json(json.loads(LINE))
    assert (row.round, row.class_counts, row.extra) == (2, (14, 16), {"of_a_newer_asal": [1]})
    assert json.dumps(row.to_json()) == LINE


@pytest.mark.parametrize("key", ["generated", "index", "last", "validation", "look", "of_a_newer_asal"])
def test_a_key_that_an_older_row_lacks_stays_absent(key: str) -> None:
    older = {name: value for name, value in json.loads(LINE).items() if name != key}
    assert RoundRow.from_json(older).to_json() == older


def test_rows_of_before_there_were_hashes_are_read() -> None:
    oldest = {name: value for name, value in json.loads(LINE).items() if name not in ("spec_hash", "commit")}
    row = RoundRow.from_json(oldest)
    assert row.spec_hash is None and row.to_json() == oldest


@pytest.mark.parametrize("key", ["strategy", "round", "labels", "accuracy", "mean_score", "class_counts", "seconds"])
def test_a_row_without_one_of_its_values_is_refused(key: str) -> None:
    facts = json.loads(LINE)
    del facts[key]
    with pytest.raises(KeyError, match=key):
        RoundRow.from_json(facts)


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": 50.0}, {"accuracy": float("nan")}, {"accuracy": "high"}, {"round": "2"}, {"labels": None},
        {"class_counts": "ab"}, {"class_counts": 5}, {"seconds": {"train": 0.5}}, {"mean_score": "low"},
        {"generated": "many"}, {"class_counts": [float("inf"), 1]}, {"mean_score": float("inf")},
        {"mean_score": float("nan")}, {"index": [1]}, {"index": "none"}, {"index": None}, {"labels": True},
        {"seconds": dict.fromkeys(("train", "generate", "match", "score", "io"), float("inf"))},
    ],
)  # fmt: skip
def test_a_row_whose_values_are_none_of_its_kind_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NOT_A_ROW):
        RoundRow.from_json(json.loads(LINE) | change)
