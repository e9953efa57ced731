"""Results print well, with pandas and without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.run_folders import results_of

from asal.experiments.table import SHOWN, Table

COLUMNS = ["strategy", "seed", "round", "labels", "accuracy", "mean_score", "evaluations", "generated", "seconds"]


def test_a_table_of_results_is_pandas_where_that_is_installed(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = results_of(tmp_path, {"random": [[0.5, 0.6]], "asal": [[0.5, 0.75]]}).table()
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == COLUMNS
    assert frame.groupby("strategy").accuracy.max().to_dict() == {"random": 0.6, "asal": 0.75}


def test_without_pandas_it_is_a_list_that_prints_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = results_of(tmp_path, {"random": [[0.5, 0.6]]}).table()
    assert isinstance(rows, Table) and rows.columns == COLUMNS
    assert (rows[1]["labels"], rows[1]["accuracy"], rows[1]["mean_score"]) == (20, 0.6, None)
    head, first, _ = str(rows).splitlines()
    assert head.split() == COLUMNS and first.split()[:5] == ["random", "0", "1", "10", "0.5"]
    assert rows._repr_html_().startswith("<table><tr><th>strategy</th>")


def test_a_long_table_shows_both_ends() -> None:
    lines = str(Table({"n": n} for n in range(SHOWN + 10))).splitlines()
    assert len(lines) == SHOWN + 2 and "… 10 more rows …" in lines and lines[-1].strip() == str(SHOWN + 9)
    assert str(Table()) == "an empty table"
