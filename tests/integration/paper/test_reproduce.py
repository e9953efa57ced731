"""`asal reproduce`, each kind of exhibit from end to end: the shipped specs, small, over local images."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import small_specs as shrunk
from support.page_checks import check_alone, check_readable

from asal.experiments.metrics import curve
from asal.experiments.results import load
from asal.paper import costs, curves, timings
from asal.paper.context import ExhibitContext
from asal.paper.exhibits import EXHIBITS
from asal.paper.reproduce import reproduce
from asal.project.project import Project
from asal.project.spec import load as load_spec
from asal.project.spec import shipped
from asal.runtime import artifacts

Stages = set[str]
TWO = ("mnist-two", "mnist-ten")
GENERATOR, ENCODER = "train the generator wgan-gp", "make the extractor autoencoder"
TRAINED = re.compile(r"(\d+ of \d+: )?(train the |make the extractor autoencoder)")  # what such a line begins with


class Noted:
    """A progress function that remembers the stages, a step without its number."""

    def __init__(self) -> None:
        self.stages: Stages = set()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if total:
            self.stages.add(re.sub(r"^\d+ of \d+: ", "", stage))

    @property
    def trained(self) -> Stages:
        """The stages in which something was trained."""
        return {stage for stage in self.stages if TRAINED.match(stage)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `specs`, small ones, and the faces that four of them are about."""
    folder = tmp_path_factory.mktemp("reproduced")
    specs = (shrunk.two_digits(), shrunk.ten_digits(), *shrunk.faces(folder / "faces"))
    shrunk.write(folder / "specs", *specs)
    return folder


@pytest.fixture(scope="module")
def again(home: Path, start: Any) -> Callable[..., str]:
    """Return a function that reproduces an exhibit by the command line and returns its output."""

    def run(name: str, *words: object) -> str:
        output = start("reproduce", name, "--out", home / "out", "--specs", home / "specs", "--jobs", 1, *words).wait()
        assert output.code == 0, output.err
        return str(output.out)

    return run


def csv_lines(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_folder(folder: Path, pictures: tuple[str, ...] = ("picture",), tables: int = 0) -> str:
    """Check an exhibit's files, and return its page, on which tables stand in the place of as many pictures."""
    name = folder.name
    images = {f"{picture}.{form}" for picture in pictures for form in ("svg", "png")}
    assert {path.name for path in folder.iterdir()} == {f"{name}.html", f"{name}.csv", "claims.csv", *images}
    page = (folder / f"{name}.html").read_text(encoding="utf-8")
    check_alone(page)
    check_readable(page, pictures=2 * (len(pictures) - tables), tables=tables)
    for claim in csv_lines(folder / "claims.csv"):
        assert list(claim) == ["panel", "says", "where", "measured", "verdict"]
        assert claim["verdict"] in {"agrees", "disagrees", "undecided", "not measured"} and claim["measured"]
        assert f'class="{claim["verdict"].split()[0]}"' in page
    return page


def rows_of(runs: Path) -> dict[Path, bytes]:
    """Return what the runs wrote."""
    return {path: path.read_bytes() for path in sorted(runs.rglob("rows.jsonl"))}


def prepared(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return every file that a preparation wrote, and when."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


# Curves


@pytest.fixture(scope="module")
def fig3a(again: Callable[..., str]) -> str:
    """Return the output of figure 3a with two seeds of all strategies."""
    return again("fig3a", "--seeds", 2)


def check_curves(folder: Path, runs: Path, scores: bool = False) -> None:
    """Check that an exhibit's CSV holds the run folder's numbers, and nothing else."""
    results = load(runs)
    lines = csv_lines(folder / f"{folder.name}.csv")
    assert list(lines[0]) == ["panel", "strategy", "labels", "mean", "low", "high", "seeds"]
    for panel in EXHIBITS[folder.name].panels:
        for strategy in panel.strategies:
            line = curve(results, strategy, scores=scores)
            assert line is not None
            found = [row for row in lines if (row["panel"], row["strategy"]) == (results.facts["name"], strategy)]
            assert [int(row["labels"]) for row in found] == line.labels.tolist()
            for column in ("mean", "low", "high"):
                np.testing.assert_allclose([float(row[column]) for row in found], getattr(line, column), atol=1e-6)
            assert {row["seeds"] for row in found} == {str(line.seeds)}
    (full,) = [row for row in lines if row["strategy"] == "fully supervised"] or [None]
    assert (full is None) == scores
    if full and results.reference:
        assert (float(full["mean"]), int(full["labels"])) == (results.reference.accuracy, results.reference.labels)


def test_a_figure_of_curves(fig3a: str, home: Path) -> None:
    out, runs = home / "out", home / "out" / "runs" / "mnist-two"
    page = check_folder(out / "fig3a")
    check_curves(out / "fig3a", runs)
    assert next(line for line in fig3a.splitlines() if line.startswith("/")).endswith("fig3a/fig3a.html")
    assert {row["strategy"] for row in csv_lines(out / "fig3a" / "fig3a.csv")} == {
        *EXHIBITS["fig3a"].panels[0].strategies, "fully supervised",
    }  # fmt: skip
    facts = json.loads((runs / "run.json").read_text())
    assert facts["seeds"] == [0, 1] and f"<dt>seeds</dt><dd>{len(facts['seeds'])}</dd>" in page
    for claim in EXHIBITS["fig3a"].panels[0].claims:
        assert claim.says in page.replace("&#39;", "'")


def test_claims_beyond_the_budget_are_not_measured(fig3a: str, home: Path) -> None:
    by = {claim["says"]: claim for claim in csv_lines(home / "out" / "fig3a" / "claims.csv")}
    for says, claim in by.items():
        late = "98.5%" in says or "500" in says or "350" in says or "quickly" in says
        assert (claim["verdict"] == "not measured") == late, claim
    assert by["random sampling requires 500 labelled samples"]["measured"] == "the runs end at 20 labels"
    assert "2 seeds" in by["ASAL outperforms random sampling"]["measured"]


def test_another_exhibit_of_a_benchmark_takes_its_runs(fig3a: str, again: Callable[..., str], home: Path) -> None:
    runs, project = home / "out" / "runs" / "mnist-two", home / "out" / "projects" / "mnist-two"
    before = rows_of(runs), prepared(project)
    said = again("fig3b", "--seeds", 1)
    assert (rows_of(runs), prepared(project)) == before, "nothing is run or prepared again"
    assert not [line for line in said.splitlines() if TRAINED.match(line)]
    check_curves(home / "out" / "fig3b", runs, scores=True)
    page = check_folder(home / "out" / "fig3b")
    assert "The dashed line" not in page
    (claim,) = csv_lines(home / "out" / "fig3b" / "claims.csv")
    assert {row["seeds"] for row in csv_lines(home / "out" / "fig3b" / "fig3b.csv")} == {"2"}, (
        "none that is there is hidden"
    )
    assert re.search(r"random’s: asal-pixels [\d.]+ \(", claim["measured"])


def test_again_it_gives_the_same_page(fig3a: str, again: Callable[..., str], home: Path) -> None:
    before = {path: path.read_bytes() for path in (home / "out" / "fig3a").iterdir()}
    again("fig3a", "--seeds", 2)
    assert {path: path.read_bytes() for path in (home / "out" / "fig3a").iterdir()} == before


def test_more_seeds_are_added(fig3a: str, again: Callable[..., str], home: Path) -> None:
    runs = home / "out" / "runs" / "mnist-two"
    before = rows_of(runs)
    again("fig3b", "--seeds", 3)
    added = rows_of(runs)
    assert before.items() <= added.items() and len(added) - len(before) == len(EXHIBITS["fig3b"].panels[0].strategies)
    assert {row["seeds"] for row in csv_lines(home / "out" / "fig3b" / "fig3b.csv")} == {"3"}


def test_another_budget_has_separate_runs(fig3a: str, again: Callable[..., str], home: Path) -> None:
    runs = home / "out" / "runs"
    before = rows_of(runs / "mnist-two"), prepared(home / "out" / "projects" / "mnist-two")
    again("fig3b", "--seeds", 1, "--budget", 15)
    assert (rows_of(runs / "mnist-two"), prepared(home / "out" / "projects" / "mnist-two")) == before
    assert load(runs / "mnist-two-15").facts["protocol"]["budget"] == 15
    assert {row["labels"] for row in csv_lines(home / "out" / "fig3b" / "fig3b.csv")} == {"10"}, (
        "picks of the only round"
    )
    (panel,) = EXHIBITS["fig3b"].panels
    folders = {n: curves.run_folder(panel, context(home, Noted(), budget=n)).name for n in (None, 15, 20)}
    assert folders == {None: "mnist-two", 15: "mnist-two-15", 20: "mnist-two"}, "20 is the spec's own"


# One generator for four benchmarks


def test_four_benchmarks_of_one_pool_share_what_is_prepared(again: Callable[..., str], home: Path) -> None:
    said = again("fig5", "--seeds", 1)
    projects = [home / "out" / "projects" / name for name in shrunk.CELEBA]
    for pattern in (
        "parts/wgan-gp-*/weights.safetensors",
        "parts/autoencoder-*/*",
        "features/*/vectors/*",
        "indexes/*/*/*.npy",
    ):
        files = [sorted(project.glob(pattern)) for project in projects]
        assert files[0], pattern
        for others in files[1:]:
            assert [path.stat().st_ino for path in others] == [path.stat().st_ino for path in files[0]], pattern
    assert len({project.joinpath("pool", "labels.npy").read_bytes() for project in projects}) == 4, "but the labels"
    assert not list(home.glob("out/projects/*/*/.*-*")), "nothing is left half-made"
    for stage in (GENERATOR, "compute the features 'autoencoder'"):
        ends = re.findall(rf"^\d+ of \d+: {stage}: ([\d,]+) of \1 in", said, re.MULTILINE)
        assert len(ends) == 1, f"{stage} is made once"
    page = check_folder(home / "out" / "fig5", shrunk.CELEBA)
    for title in ("(a) Wearing Hat", "(b) Blond Hair", "(c) Bangs", "(d) Eyeglasses"):
        assert f"<h2>{title}</h2>" in page
    lines = csv_lines(home / "out" / "fig5" / "fig5.csv")
    assert {row["panel"] for row in lines} == set(shrunk.CELEBA)
    assert {row["panel"] for row in lines if row["strategy"] == "asal-classifier"} == {"celeba-eyeglasses"}


def test_a_generator_that_was_trained_elsewhere_is_taken(again: Callable[..., str], home: Path, tmp_path: Path) -> None:
    if not (home / "out" / "projects" / "mnist-two").exists():
        again("fig3b", "--seeds", 1)
    shutil.copytree(home / "out" / "projects" / "mnist-two" / "parts", tmp_path / "parts")
    noted = Noted()
    project = Project(tmp_path, load_spec(home / "specs" / "mnist-two.toml"), progress=noted)
    project.prepare(["asal-autoencoder"])
    assert not noted.trained and "compute the features 'autoencoder'" in noted.stages


def test_other_images_are_not_taken_over(home: Path, tmp_path: Path) -> None:
    projects = [
        Project(tmp_path / name, load_spec(home / "specs" / f"{name}.toml")) for name in ("mnist-two", "mnist-ten")
    ]
    for project in projects:
        project.ingest()
    projects[0].prepare(["asal-pixels"])
    curves.adopt(projects[1], projects[0])
    assert not (tmp_path / "mnist-ten" / "parts").exists()
    assert artifacts.is_complete(next((tmp_path / "mnist-two" / "parts").glob("wgan-gp-*")))


# Pictures and seconds, on ten digits


def context(home: Path, progress: Noted, **more: Any) -> ExhibitContext:
    """Return the settings of an exhibit without runs, in this process."""
    return ExhibitContext(home / "out", 1, progress, specs=home / "specs", **more)


@pytest.fixture(scope="module")
def fig2(home: Path) -> Stages:
    """Return the stages of figure 2, from nothing."""
    noted = Noted()
    reproduce("fig2", context(home, noted, budget=60))
    return noted.stages


def test_the_figure_of_pairs(fig2: Stages, home: Path) -> None:
    page = check_folder(home / "out" / "fig2")
    lines = csv_lines(home / "out" / "fig2" / "fig2.csv")
    project = Project(home / "out" / "projects" / "mnist-ten", load_spec(home / "specs" / "mnist-ten.toml"))
    for space in ("pixels", "autoencoder", "discriminator", "classifier"):
        mine = [row for row in lines if row["space"] == space]
        ids = np.array([int(row["id"]) for row in mine])
        assert len(ids) == len(set(ids.tolist())) == 100, "every match is another image"
        names = [project.oracle("pool").classes[label] for label in project.oracle("pool").answer(ids)]
        assert [row["class"] for row in mine] == names
        made = [float(row["entropy_of_synthetic"]) for row in mine]
        assert made == sorted(made, reverse=True), "the most uncertain first"
    assert len({row["entropy_of_synthetic"] for row in lines}) <= 100, "the same in every space"
    assert "<dt>labels of the classifier</dt><dd>60</dd>" in page
    assert len(csv_lines(home / "out" / "fig2" / "claims.csv")) == 4
    assert {GENERATOR, ENCODER} <= fig2 and list(project.root.glob("parts/teacher-*/weights.safetensors"))


def test_a_pool_too_small_for_figure_2_is_refused(fig2: Stages, home: Path, asal: Any) -> None:
    said = asal("reproduce", "fig2", "--out", home / "out", "--specs", home / "specs", "--budget", 201)
    said.refused(
        "100 matches are images", "201 labels leave too few images in a pool of 300", "lower --budget to 200 or less"
    )


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time one selection each, from three pools."""
    monkeypatch.setattr(timings, "REPEATS", 1)
    monkeypatch.setattr(costs, "HALVINGS", 2)


def test_the_figure_of_seconds(fig2: Stages, home: Path, hasty: None) -> None:
    noted, before = Noted(), prepared(home / "out" / "projects" / "mnist-ten")
    reproduce("fig6", context(home, noted, budget=1_000))
    assert prepared(home / "out" / "projects" / "mnist-ten") == before
    check_folder(home / "out" / "fig6", ("picture", "transition"))
    lines = csv_lines(home / "out" / "fig6" / "fig6.csv")
    assert list(lines[0]) == list(costs.HEADS)
    for name in costs.COMPARED:
        mine = [row for row in lines if row["strategy"] == name]
        assert [int(row["images"]) for row in mine] == [250, 500, 1_000]
        assert all(0 <= float(row["matching"]) <= float(row["seconds"]) + 1e-6 for row in mine)
        assert all(float(row["seconds"]) > 0 and row["predicted"] == "False" for row in mine)
    evaluations = {(row["strategy"], row["images"]): int(row["evaluations"]) for row in lines if row["evaluations"]}
    assert [evaluations["maximum entropy", str(n)] for n in (250, 1_000)] == [150, 900]
    assert evaluations["subset of 1,000", "1000"] == 900
    assert len({evaluations["asal, k-d tree", str(n)] for n in (250, 500, 1_000)}) == 1
    once = {row["strategy"] for row in lines if "once" in row["strategy"]}
    assert once == {
        "generator (once, by its rate)",
        "auto-encoder (once, by its rate)",
        "features (once)",
        "k-d tree (once)",
    }
    assert {"timings", "features"} <= noted.stages and not noted.trained


def test_the_table_of_seconds(fig2: Stages, home: Path, hasty: None) -> None:
    noted = Noted()
    reproduce("table2", context(home, noted, budget=400))
    page = check_folder(home / "out" / "table2", tables=1)
    lines = csv_lines(home / "out" / "table2" / "table2.csv")
    assert [row["strategy"] for row in lines] == list(costs.COMPLEXITY)
    assert {row["images"] for row in lines} == {"400"}
    by = {row["strategy"]: int(row["evaluations"]) for row in lines}
    assert by["random"] == 0 and by["maximum entropy"] == by["learning loss"] == 300 and by["core-set"] == 400
    assert "400 images, 10 of them selected" in page
    assert len(csv_lines(home / "out" / "table2" / "claims.csv")) == 3
    assert not noted.trained


def test_a_pool_too_small_to_be_timed_is_refused(fig2: Stages, home: Path, asal: Any) -> None:
    words = ("--out", home / "out", "--specs", home / "specs")
    asal("reproduce", "fig6", *words, "--budget", 1_000).refused("--budget 1000 is too small", "take 4,000 or more")
    asal("reproduce", "table2", *words, "--budget", 100).refused("--budget 100 is too small", "take 250 or more")


def test_what_takes_too_long_is_predicted(fig2: Stages, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "PATIENCE", 0.0)
    project = Project(home / "out" / "projects" / "mnist-ten", load_spec(home / "specs" / "mnist-ten.toml"))
    first, last = timings.measure(project, [300, 900], ["maximum entropy"], Noted()).timings
    assert (first.predicted, last.predicted) == (False, True)
    assert last.seconds == pytest.approx(3 * first.seconds) and last.evaluations == 3 * first.evaluations


def test_the_table_of_set_ups_needs_no_data(asal: Any, tmp_path: Path) -> None:
    said = asal("reproduce", "table1", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    page = check_folder(tmp_path / "out" / "table1", tables=1)
    lines = csv_lines(tmp_path / "out" / "table1" / "table1.csv")
    assert [row["benchmark"] for row in lines][:2] == ["MNIST, two classes", "CIFAR-10, two classes"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"table1"}
    assert "Columns marked (paper) are the paper" in page


# Refusals in the first second


def test_missing_data_are_refused_before_any_work(asal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("lmdb", reason="the extra `lsun` is not installed")
    begun = time.monotonic()
    asal("reproduce", "fig4d", "--out", "out").refused("one database per category", "bedroom_train_lmdb.zip")
    text = shipped("celeba-bangs").read_text().replace("# path", "path").replace("Bangs", "Wearing_Hat")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "celeba-wearing-hat.toml").write_text(text)
    asal("reproduce", "fig5", "--out", "out", "--specs", "specs").refused("img_align_celeba", "celeba")
    assert time.monotonic() - begun < 5, "seconds, on a busy machine"
    assert not list(tmp_path.glob("out/**/parts")) and not list(tmp_path.glob("out/runs"))


def test_what_a_later_panel_lacks_is_refused_before_the_first_one_is_trained(
    home: Path, asal: Any, tmp_path: Path
) -> None:
    shutil.copytree(home / "specs", tmp_path / "specs")
    last = tmp_path / "specs" / "celeba-eyeglasses.toml"
    last.write_text(last.read_text().replace("[strategies.asal-classifier]", "[strategies.another]"))
    words = ("--out", tmp_path / "out", "--specs", tmp_path / "specs")
    asal("reproduce", "fig5", *words).refused("is called 'asal-classifier'")
    assert not list(tmp_path.glob("out/**/parts"))


def test_impossible_settings_are_refused(home: Path, asal: Any, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "out", "--specs", home / "specs")
    asal("reproduce", "fig3a", *words, "--budget", 10).refused("begins with 10 labels", "take 15 or more")
    asal("reproduce", "fig3a", *words, "--budget", 100_000).refused("a budget is at most the pool", "lower `budget`")
    asal("reproduce", "fig3a", *words, "--seeds", 0).refused("--seeds")
    asal("reproduce", "fig3a", "--out", tmp_path / "out", "--specs", tmp_path / "x").refused(
        "x is not a folder", "copy"
    )
    asal("reproduce").refused("see `asal reproduce --help`")


def test_the_help_teaches(asal: Any) -> None:
    said = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", asal("reproduce", "--help").out))
    for name in EXHIBITS:
        assert name in said, name
    for word in ("--out", "--seeds", "--budget", "--jobs", "--projects", "--specs", "specs/README.md", "it goes on"):
        assert word in said, word
