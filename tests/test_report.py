"""The report: that it is whole, says what the numbers say, and can be read by everyone."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from test_evaluate import write_experiment, write_facts, write_run

from asal.errors import DamageError, UserError
from asal.evaluate import Estimate, Summary, load, summarise
from asal.plots import DARK, FAINT, HUES, NIGHT, PAPER, inline, pens, spread
from asal.report import Paths, report, toml
from asal.tables import verdict

LONG = "asal-autoencoder-reranked-k=20"
VOID = {"meta", "link", "br", "img", "input", "hr"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The report of three strategies over five seeds, one run of them cut."""
    place = write_experiment(
        tmp_path_factory.mktemp("runs"), {"random": 0.0, LONG: 0.6, "subset <M=100>": 0.5}, rounds=8
    )
    cut = place / "subset <M=100>" / "seed-4" / "rows.jsonl"
    cut.write_text(cut.read_text()[:700])
    return report(place)


@pytest.fixture(scope="module")
def folder(paths: Paths) -> Path:
    return paths.page.parent


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


class Outline(HTMLParser):
    """What a page holds; refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_file_is_written_and_named(paths: Paths) -> None:
    pictures = {f"{name}.{form}" for name in ("curves", "entropy", "times", "pairs") for form in ("svg", "png")}
    assert next(iter(paths)) == paths.page
    assert {path.name for path in paths} == pictures | {"report.html", "rows.csv", "summary.csv"}
    assert all(path.stat().st_size > 100 for path in paths.files)
    assert paths.curves.read_bytes().startswith(b"\x89PNG")


def test_again_it_gives_the_same_bytes_and_touches_no_global_setting(paths: Paths, folder: Path) -> None:
    files, settings = {path: path.read_bytes() for path in paths}, matplotlib.rcParams.copy()
    assert files == {path: path.read_bytes() for path in report(folder)}
    assert matplotlib.rcParams.copy() == settings


def test_numbers_alone_need_no_matplotlib() -> None:
    code = "import sys, asal.evaluate; sys.exit(bool({'matplotlib', 'torch', 'scipy.stats'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


def test_the_page_needs_no_other_file_and_no_script(page: str) -> None:
    for tag, attrs in Outline(page).tags:
        assert tag not in {"script", "link", "iframe", "object"}
        links = [attrs.get(name) or "" for name in ("src", "href", "xlink:href")]
        assert all(link.startswith(("data:", "#")) for link in links if link), links
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_page_can_be_read_without_seeing_it(page: str) -> None:
    tags = Outline(page).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    aimed = [
        attrs[name] for _, attrs in tags for name in ("href", "xlink:href") if (attrs.get(name) or "").startswith("#")
    ]
    assert {str(link)[1:] for link in aimed} <= set(ids)
    pictures = [attrs for tag, attrs in tags if tag == "svg" and attrs.get("aria-hidden") != "true"]
    assert len(pictures) == 8  # four, wide and narrow
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in pictures)
    assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in tags if tag == "th")
    assert sum(tag == "caption" for tag, _ in tags) == sum(tag == "table" for tag, _ in tags) == 5
    assert ("html", {"lang": "en"}) in tags
    assert "width=device-width" in page


def test_names_are_text_never_markup(page: str) -> None:
    assert "<M=100>" not in page
    assert "subset &lt;M=100&gt;" in page


def test_unfinished_runs_are_named_and_count_in_no_table(folder: Path, page: str) -> None:
    assert "1 of 15 runs are not finished" in page
    assert re.search(r"subset &lt;M=100&gt;, seed 4: \d+ of 80 labels", page)
    with (folder / "summary.csv").open() as file:
        seeds = {row["strategy"]: row["seeds"] for row in csv.DictReader(file) if row["measure"] == "area"}
    assert seeds == {"random": "5", LONG: "5", "subset <M=100>": "4"}


def test_the_tables_beside_the_page_hold_every_number(folder: Path) -> None:
    results = load(folder)
    with (folder / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(run.labels) for run in results.runs)
    assert [float(row["accuracy"]) for row in rows[:8]] == results.runs[0].accuracy.tolist()
    assert rows[7]["mean_score"] == ""
    assert float(rows[0]["labelled_5"]) == 5
    with (folder / "summary.csv").open() as file:
        told = {(row["strategy"], row["measure"]): row for row in csv.DictReader(file)}
    summary = summarise(results, [20, 40, 60, 80], "random")[1]
    assert summary.gain is not None
    found = told[LONG, "area_difference"]
    assert float(found["mean"]) == summary.gain.estimate.mean
    assert float(found["low"]) == summary.gain.estimate.low
    assert (found["interval"], found["wins"]) == ("t-interval", "5")
    assert float(told[LONG, "accuracy_at_40"]["mean"]) == summary.accuracy[40].mean


def test_chosen_budgets_and_baseline_are_used_and_checked(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.5}, seeds=2, rounds=4)
    text = report(tmp_path, budgets=[35, 15], baseline="asal").page.read_text()
    assert text.index("at 15 labels") < text.index("at 35 labels")
    assert "Difference to asal" in text
    with pytest.raises(UserError, match="10 to 40 labels"):
        report(tmp_path, budgets=[5])
    with pytest.raises(UserError, match="'rando' is none"):
        report(tmp_path, baseline="rando")


def test_there_is_no_report_before_the_first_round(tmp_path: Path) -> None:
    write_facts(tmp_path, ["random"], seeds=1, rounds=3)
    with pytest.raises(UserError, match="at least one trained classifier"):
        report(tmp_path)


def test_a_first_round_alone_makes_a_report(tmp_path: Path) -> None:
    write_facts(tmp_path, ["random", "asal"], seeds=2, rounds=3, reference=None)
    write_run(tmp_path, "random", 0, [0.5], finished=False)
    text = report(tmp_path).page.read_text()
    assert "nothing to compare yet" in text
    assert "asal, seed 1: not begun" in text
    assert "Results" not in text


def test_many_classes_and_a_score_without_unit_fit(tmp_path: Path) -> None:
    names = [f"kind {i}" for i in range(30)]
    write_experiment(tmp_path, {"random": 0.0}, seeds=1, rounds=3, classes=names)
    facts = json.loads((tmp_path / "run.json").read_text())
    facts["protocol"]["score"] = "margin"
    (tmp_path / "run.json").write_text(json.dumps(facts))
    text = report(tmp_path).page.read_text()
    assert ">fewest<" in text
    assert "Mean margin of new picks" in text
    assert "kind 29</th>" not in text


def test_damaged_pairs_are_named(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"asal": 0.5}, seeds=1, rounds=3)
    path = tmp_path / "asal" / "seed-0" / "pairs.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamageError, match=r"pairs\.npz"):
        report(tmp_path)


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> list[Summary]:
    saved = {"random": 0.0, "a": 0.5, "b": 0.4, "c": 0.3}
    return summarise(load(write_experiment(tmp_path_factory.mktemp("sums"), saved, rounds=4)), [], "random")


def differing(summary: Summary, low: float, high: float) -> Summary:
    assert summary.gain is not None
    return replace(summary, gain=replace(summary.gain, estimate=Estimate((low + high) / 2, low, high, "t-interval", 5)))


def test_the_verdict_claims_what_the_intervals_show(summaries: list[Summary]) -> None:
    random, a, b, c = summaries
    told = verdict([random, differing(a, 0.1, 0.2), differing(b, 0.2, 0.4), differing(c, -0.1, 0.3)], "random")
    assert told.startswith("Over 5 paired seeds, b and a beat random; c cannot be told apart from random (in area")
    assert "a does worse than random" in verdict([random, differing(a, -0.2, -0.1)], "random")
    assert verdict([random, differing(a, 0.0, 0.1)], "random").count("cannot be told apart") == 1  # it touches zero
    assert "nothing to compare" in verdict([random], "random")
    assert "nothing to compare" in verdict([], "random")


def test_one_seed_supports_no_claim(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.9}, seeds=1, rounds=4)
    told = verdict(summarise(load(tmp_path), [], "random"), "random")
    assert "no interval" in told
    assert "beat" not in told


@pytest.mark.parametrize("name", ["curves", "entropy", "times", "pairs"])
def test_every_colour_of_a_picture_has_a_dark_twin(folder: Path, name: str) -> None:
    text = re.sub(r"<style.*?</style>", "", (folder / f"{name}.svg").read_text(), flags=re.DOTALL)
    colours = set(re.findall(r"(?:fill|stroke): (#\w+)", text))
    assert colours <= DARK.keys()
    assert "prefers-color-scheme: dark" in (folder / f"{name}.svg").read_text()
    assert not re.search(r"<dc:date>|Matplotlib v", text)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("light", sorted(DARK.keys() - {FAINT}))
def test_lines_and_words_stand_out_from_both_papers(light: str) -> None:
    needed = 3 if light in HUES else 4.5
    assert contrast(light, PAPER) >= needed
    assert contrast(DARK[light], NIGHT) >= needed


def test_twelve_strategies_look_different() -> None:
    looks = pens([f"s{i}" for i in range(11)] + ["random"], "random")
    assert len({(pen.colour, str(pen.dashes)) for pen in looks.values()}) == 12


@pytest.mark.parametrize("places", [[0.5] * 12, [0.0, 0.99, 0.995, 1.0], [0.2, 0.5, 0.9], [-0.2, 0.5, 1.3], [0.4]])
def test_labels_are_moved_apart_and_keep_their_order(places: list[float]) -> None:
    moved = spread(np.array(places), 0.05)
    assert (np.diff(moved) >= 0.05 - 1e-12).all()
    assert moved.max() <= 1
    assert moved.min() >= 0
    if places == [0.2, 0.5, 0.9]:
        assert moved.tolist() == places


def test_an_inlined_picture_shares_no_id_with_another() -> None:
    head = '<?xml?><svg width="3pt" height="2pt" viewBox="0 0 3 2">'
    svg = f'{head}<style>*{{}}</style><path id="a"/><use xlink:href="#a"/></svg>'
    one = inline(svg, "x", 'a "quoted" text')
    assert 'id="x-a"' in one
    assert '"#x-a"' in one
    assert "<style" not in one
    assert one.startswith('<svg viewBox="0 0 3 2" role="img" aria-label="a &quot;quoted&quot; text">')


def test_a_spec_reads_back() -> None:
    spec = {"name": "two", "pool": {"keep": [5, 7], "deep": {"x": 1e-4, "y": True}}, "none": None, "empty": {}}
    assert tomllib.loads(toml(spec)) == {key: value for key, value in spec.items() if value is not None}


def test_bars_of_intervals_lie_inside_their_column(page: str) -> None:
    places = [float(x) for x in itertools.chain(*re.findall(r'<line class="span" x1="([^"]+)" x2="([^"]+)"', page))]
    assert len(places) == 4
    assert all(0 <= x <= 120 for x in places)
