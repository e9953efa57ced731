"""Several benchmarks on one page."""

from __future__ import annotations

import csv
import itertools
import shutil
from pathlib import Path

import pytest
from support.page_checks import check_alone, check_readable
from support.run_folders import write_experiment

from asal.errors import UserError
from asal.reports.benchmarks import compare
from asal.reports.page import Paths


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three benchmarks: two of one name, and one that lacks a strategy and has one of its own."""
    place = tmp_path_factory.mktemp("runs")
    return [
        write_experiment(place / "one", {"random": 0.0, "asal": 0.9, "subset": 0.8}, rounds=6, name="twins"),
        write_experiment(place / "two", {"random": 0.0, "asal": 0.9, "subset": 0.0}, rounds=6, name="twins"),
        write_experiment(place / "three", {"random": 0.0, "asal": -0.5, "own <i>": 0.8}, rounds=6, reference=None),
    ]


@pytest.fixture(scope="module")
def paths(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Paths:
    cut = folders[1] / "subset" / "seed-4" / "rows.jsonl"
    cut.write_text(cut.read_text()[:700])
    return compare(folders, tmp_path_factory.mktemp("out") / "deep" / "all")


def csv_lines(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_file_is_written_and_named(paths: Paths, folders: list[Path]) -> None:
    assert [path.name for path in paths] == ["compare.html", "matrix.svg", "matrix.png", "matrix.csv", "pairs.csv"]
    assert paths.picture.read_bytes().startswith(b"\x89PNG")
    assert {path: path.read_bytes() for path in paths} == {
        path: path.read_bytes() for path in compare(folders, paths.page.parent)
    }


def test_the_page_is_self_contained_and_readable(paths: Paths) -> None:
    page = paths.page.read_text()
    check_alone(page)
    check_readable(page, pictures=2, tables=2)
    assert "own &lt;i&gt;" in page and "own <i>" not in page


def test_the_matrix_counts_what_the_pairs_say(paths: Paths) -> None:
    pairs, matrix = csv_lines(paths.page.parent / "pairs.csv"), csv_lines(paths.page.parent / "matrix.csv")
    for cell in matrix:
        verdicts = [p["verdict"] for p in pairs if (p["row"], p["column"]) == (cell["row"], cell["column"])]
        assert len(verdicts) == int(cell["benchmarks"])
        for verdict in ("beats", "ties", "loses"):
            assert int(cell[verdict]) == verdicts.count(verdict)
    counts = {(cell["row"], cell["column"]): cell["benchmarks"] for cell in matrix}
    assert counts["asal", "random"] == "3"
    assert counts["asal", "subset"] == "2"
    assert counts["own <i>", "random"] == "1"
    assert ("own <i>", "subset") not in counts
    wins = {(cell["row"], cell["column"]): (cell["beats"], cell["loses"]) for cell in matrix}
    assert wins["asal", "random"] == ("2", "1")


def test_the_verdict_counts_benchmarks(paths: Paths) -> None:
    page = paths.page.read_text()
    assert "Against random, over 3 benchmarks: own &lt;i&gt; beats it on 1 of 1" in page
    assert "asal beats it on 2 and loses to it on 1 of 3" in page
    assert "1 runs" not in page and "1 run is not finished" in page


def test_benchmarks_of_one_name_are_shown_with_their_folders(paths: Paths, folders: list[Path]) -> None:
    titles = {pair["benchmark"] for pair in csv_lines(paths.page.parent / "pairs.csv")}
    assert titles == {f"twins ({folders[0]})", f"twins ({folders[1]})", "synthetic"}


def test_another_baseline_can_be_chosen(folders: list[Path], tmp_path: Path) -> None:
    page = compare(folders, tmp_path / "out", baseline="asal").page.read_text()
    assert "Difference to asal" in page and "Against asal, over 3 benchmarks" in page
    with pytest.raises(UserError, match="did you mean 'random'"):
        compare(folders, tmp_path / "out", baseline="randon")


def test_folders_that_cannot_be_compared_are_refused(folders: list[Path], tmp_path: Path) -> None:
    other = write_experiment(tmp_path / "other", {"x": 0.0, "y": 0.5}, seeds=2, rounds=3)
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"is the only run folder named.*two run folders or more"):
        compare(folders[:1], out)
    with pytest.raises(UserError, match=r"named twice.*counts once"):
        compare([folders[0], folders[0].parent / "two" / ".." / "one"], out)
    with pytest.raises(UserError, match=r"shares no strategy with another folder: it has x, y"):
        compare([*folders, other], out)
    with pytest.raises(UserError, match=r"holds a run\.json"):
        compare([*folders, tmp_path], out)
    with pytest.raises(UserError, match="is a run folder"):
        compare(folders, other)
    assert not out.exists()


def test_fewer_than_two_finished_seeds_are_refused(folders: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in folders[:2]]
    for copy, name in itertools.product(copies, ["random", "asal", "subset"]):
        for seed in range(1, 5):
            (copy / name / f"seed-{seed}" / "rows.jsonl").unlink()
    with pytest.raises(UserError, match="let `asal run` finish more seeds"):
        compare(copies, tmp_path / "out")


def test_one_benchmark_in_two_folders_is_refused(folders: list[Path], tmp_path: Path) -> None:
    one = write_experiment(tmp_path / "one", {"random": 0.0, "asal": 0.5}, name="same", pool="abc")
    again = write_experiment(tmp_path / "again", {"random": 0.0, "asal": 0.5}, rounds=6, name="same", pool="abc")
    with pytest.raises(UserError, match="both same, with the same images"):
        compare([one, again], tmp_path / "out")


def test_a_comparison_below_a_run_folder_is_refused(folders: list[Path]) -> None:
    with pytest.raises(UserError, match="is a run folder"):
        compare(folders, folders[0] / "deep" / "out")
