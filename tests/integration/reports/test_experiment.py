"""The report: it is complete, agrees with the numbers, and everyone can read it."""

from __future__ import annotations

import csv
import html
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from support.page_checks import check_alone, check_readable
from support.run_folders import write_experiment, write_facts, write_run

from asal.errors import DamageError, UserError
from asal.experiments.metrics import Summary, summarise
from asal.experiments.results import load
from asal.experiments.statistics import Estimate
from asal.project.spec import to_toml
from asal.reports.csv_files import summary_md
from asal.reports.experiment import report
from asal.reports.page import Paths
from asal.reports.plots import spread
from asal.reports.sentences import verdict
from asal.reports.theme import DARK, FAINT, HUES, INK, NIGHT, PAPER, SHADES, Picture, inline, pens

LONG = "asal-autoencoder-reranked-k=20"
PICTURES = ("curves", "evaluations", "matrix", "entropy", "times", "pairs")


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


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace every picture by an empty one, for tests that read only the text of a page."""
    empty = Picture("<svg><style></style></svg>", "<svg><style></style></svg>", b"")
    monkeypatch.setattr("asal.reports.theme.render", lambda name, draw: empty)


def test_every_file_is_written_and_named(paths: Paths) -> None:
    pictures = {f"{name}.{form}" for name in PICTURES for form in ("svg", "png")}
    assert next(iter(paths)) == paths.page
    assert {path.name for path in paths} == pictures | {
        "report.html",
        "rows.csv",
        "summary.csv",
        "matrix.csv",
        "summary.md",
    }
    assert all(path.stat().st_size > 100 for path in paths.files)
    assert paths.picture.read_bytes().startswith(b"\x89PNG")


def test_again_it_gives_the_same_bytes_and_touches_no_global_setting(paths: Paths, folder: Path) -> None:
    files, settings = {path: path.read_bytes() for path in paths}, matplotlib.rcParams.copy()
    assert files == {path: path.read_bytes() for path in report(folder)}
    assert matplotlib.rcParams.copy() == settings


def test_numbers_alone_need_no_matplotlib() -> None:
    heavy = "{'matplotlib', 'torch', 'scipy.stats'}"
    code = f"import sys, asal.experiments.pairwise; sys.exit(bool({heavy} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


def test_the_page_needs_no_other_file_and_no_script(page: str) -> None:
    check_alone(page)


def test_the_page_can_be_read_without_seeing_it(page: str) -> None:
    check_readable(page, pictures=12, tables=7)  # six pictures, wide and narrow


def test_names_are_text_never_markup(page: str) -> None:
    assert "<M=100>" not in page
    assert "subset &lt;M=100&gt;" in page


def test_unfinished_runs_are_named_and_count_in_no_table(folder: Path, page: str) -> None:
    assert "1 of 15 runs is not finished" in page
    assert re.search(r"subset &lt;M=100&gt;, seed 4: \d+ of 80 labels", page)
    with (folder / "summary.csv").open() as file:
        seeds = {row["strategy"]: row["seeds"] for row in csv.DictReader(file) if row["measure"] == "area"}
    assert seeds == {"random": "5", LONG: "5", "subset <M=100>": "4"}


def test_the_csv_files_hold_every_number(folder: Path) -> None:
    results = load(folder)
    with (folder / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(run.labels) for run in results.runs)
    assert [float(row["accuracy"]) for row in rows[:8]] == results.runs[0].accuracy.tolist()
    assert rows[7]["mean_score"] == ""
    assert float(rows[0]["labelled_5"]) == 5
    with (folder / "summary.csv").open() as file:
        lines = {(row["strategy"], row["measure"]): row for row in csv.DictReader(file)}
    summary = summarise(results, [20, 40, 60, 80], "random")[1]
    assert summary.gain is not None
    gain = lines[LONG, "area_difference"]
    assert float(gain["mean"]) == summary.gain.estimate.mean
    assert float(gain["low"]) == summary.gain.estimate.low
    assert (gain["interval"], gain["wins"]) == ("t-interval", "5")
    assert float(lines[LONG, "accuracy_at_40"]["mean"]) == summary.accuracy[40].mean


def csv_lines(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the lines of a CSV file."""
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


def test_the_summary_holds_tests_and_labels_needed(folder: Path) -> None:
    lines = {(row["strategy"], row["measure"]): row for row in csv_lines(folder, "summary.csv")}
    summary = summarise(load(folder), [20, 40, 60, 80], "random")[1]
    assert summary.gain is not None
    gain = lines[LONG, "area_difference"]
    assert (float(gain["p"]), float(gain["p_holm"])) == (summary.gain.p, summary.holm)
    (target, needed), *_ = summary.needed.items()
    line = lines[LONG, f"labels_to_{target.accuracy:.4f}"]
    assert (float(line["median"]), int(line["reached"]), int(line["seeds"])) == (needed.median, needed.reached, 5)
    assert float(lines[LONG, "share_of_reference_at_40"]["mean"]) == summary.accuracy[40].mean / 0.989
    assert float(lines[LONG, "evaluations"]["mean"]) == summary.spent.mean


def test_the_matrix_file_holds_every_pair_in_both_directions(folder: Path) -> None:
    rows = {(row["row"], row["column"]): row for row in csv_lines(folder, "matrix.csv")}
    assert len(rows) == 6
    for (one, other), row in rows.items():
        back = rows[other, one]
        assert (row["wins"], row["losses"], row["seeds"]) == (back["losses"], back["wins"], back["seeds"])
        assert float(row["mean"]) == -float(back["mean"])
        assert {row["verdict"], back["verdict"]} in ({"beats", "loses"}, {"ties"})
        assert (row["verdict"] == "beats") == (float(row["low"]) > 0)


def test_the_page_says_when_seeds_are_too_few(page: str) -> None:
    assert "With 5 seeds p is at least 0.0625, even if all of them agree" in page
    assert "no difference can be significant at 0.05 here" in page
    assert (
        "With so few seeds no difference can be significant in Wilcoxon’s signed-rank test, corrected for 2 comparisons"
        in page
    )


@pytest.mark.usefixtures("without_pictures")
def test_the_page_asks_for_no_more_seeds_than_are_needed(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0, "a": 0.9, "b": 0.8}, seeds=8, rounds=6)
    text = report(tmp_path).page.read_text()
    assert "Wilcoxon’s signed-rank test, corrected for 2 comparisons (Holm), finds the same at 5%" in text
    assert "Run more seeds" not in text


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_does_not_reach_a_target_is_reported(tmp_path: Path) -> None:
    write_facts(tmp_path, ["random", "asal"], seeds=3, rounds=3)
    for seed, last in enumerate([0.7, 0.7, 0.9]):
        write_run(tmp_path, "random", seed, [0.5, 0.6, last])
        write_run(tmp_path, "asal", seed, [0.5, 0.7, last])
    text = html.unescape(report(tmp_path, targets=[0.8, 0.5, 0.65]).page.read_text())
    cells = re.findall(r"<td>([^<]*)<small>(\d of 3 seeds[^<]*)</small></td>", text)
    assert cells == [
        ("≤ 10", "3 of 3 seeds, mean 10"), ("25", "3 of 3 seeds, mean 24"), ("> 30", "1 of 3 seeds, their mean 27"),
        ("≤ 10", "3 of 3 seeds, mean 10"), ("18", "3 of 3 seeds, mean 18\n0.70 × random’s"),
        ("> 30", "1 of 3 seeds, their mean 25"),
    ]  # fmt: skip
    line = next(row for row in csv_lines(tmp_path, "summary.csv") if row["measure"] == "labels_to_0.8000")
    assert (line["median"], line["reached"], line["low"]) == ("", "1", "")
    assert line["interval"] == "none: some seeds did not reach it"


def test_synthetic_images_count_as_evaluations_where_rows_have_their_number(
    folder: Path, page: str, tmp_path: Path
) -> None:
    assert f"The synthetic images of {LONG} were not counted when these runs were made" in page
    assert "&gt; 70,000" in page  # seven rounds of 10,000 and of what nobody counted
    assert csv_lines(folder, "rows.csv")[0]["generated"] == ""
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.6}, seeds=2, rounds=3, counted=True)
    text = report(tmp_path).page.read_text()
    assert "were not counted" not in text
    assert "11,000<small>10,000 pool\n1,000 synthetic</small>" in text
    assert "22,000" in text
    assert [row["generated"] for row in csv_lines(tmp_path, "rows.csv") if row["strategy"] == "asal"][:2] == [
        "1000"
    ] * 2


def test_evaluations_are_not_drawn_where_no_strategy_used_the_classifier(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0}, seeds=2, rounds=3)
    names = {path.name for path in report(tmp_path)}
    assert names.isdisjoint({"evaluations.png", "matrix.png"})


@pytest.mark.usefixtures("without_pictures")
def test_the_recall_of_an_approximate_index_is_reported(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.5}, seeds=2, rounds=4)
    assert "Recall of the approximate index" not in report(tmp_path).page.read_text()
    checks = {"queries": 10, "checked": 5, "missed": 1, "probes": 2048, "exact": 3, "seconds": 0.25}
    write_run(tmp_path, "asal", 1, [0.5, 0.6, 0.7, 0.8], index=checks)
    text = " ".join(report(tmp_path).page.read_text().split())
    table = text[text.index("Recall of the approximate index") :]
    for cell in ("3", "30", "15", "0.800", "9", "2,048", "0.250"):  # three rounds that asked
        assert f">{cell}<" in table, cell


@pytest.mark.usefixtures("without_pictures")
def test_full_supervision_is_reported_with_its_seeds(tmp_path: Path) -> None:
    full = {"accuracy": 0.99, "accuracies": [0.985, 0.995], "labels": 9444, "settings": {"l2": 0.125}}
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.5}, seeds=2, rounds=4, reference=full)
    text = " ".join(report(tmp_path).page.read_text().split())
    assert "trained on every label (9,444): the mean of 2 seeds, which range from 98.50% to 99.50%" in text
    assert "94.05% (95% of fully supervised)" in text
    assert "<dt>l2</dt><dd>0.125</dd>" in text


@pytest.mark.parametrize(("target", "hint"), [(95.0, "write 0.95 for 95%"), (0.0, "for example"), (-1.0, "for ex")])
def test_a_target_that_is_no_accuracy_is_refused(tmp_path: Path, target: float, hint: str) -> None:
    write_experiment(tmp_path, {"random": 0.0}, seeds=1, rounds=3)
    with pytest.raises(UserError, match=hint):
        report(tmp_path, targets=[0.9, target])


@pytest.mark.usefixtures("without_pictures")
def test_chosen_budgets_and_baseline_are_used_and_checked(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.5}, seeds=2, rounds=4)
    text = report(tmp_path, budgets=[35, 15], baseline="asal").page.read_text()
    assert text.index("at 15 labels") < text.index("at 35 labels")
    assert "Difference to asal" in text
    with pytest.raises(UserError, match="10 to 40 labels"):
        report(tmp_path, budgets=[5])
    with pytest.raises(UserError, match="is called 'rando'"):
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
    assert "asal, seed 1: not started" in text
    assert "Results" not in text


@pytest.mark.usefixtures("without_pictures")
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
    sentence = verdict([random, differing(a, 0.1, 0.2), differing(b, 0.2, 0.4), differing(c, -0.1, 0.3)], "random")
    assert sentence.startswith(
        "Over 5 paired seeds, b and a beat random; c cannot be distinguished from random (in area"
    )
    assert "a does worse than random" in verdict([random, differing(a, -0.2, -0.1)], "random")
    assert verdict([random, differing(a, 0.0, 0.1)], "random").count("cannot be distinguished") == 1  # it touches zero
    assert "nothing to compare" in verdict([random], "random")
    assert "nothing to compare" in verdict([], "random")


def test_the_verdict_includes_a_test_over_all_comparisons(summaries: list[Summary]) -> None:
    def with_p(summary: Summary, p: float) -> Summary:
        assert summary.gain is not None
        return replace(summary, gain=replace(summary.gain, seeds=tuple(range(10))), holm=p)

    random, *three = summaries
    a, b, c = (differing(summary, 0.1, 0.2) for summary in three)
    sentence = verdict([random, with_p(a, 0.01), with_p(b, 0.2), with_p(c, 0.04)], "random")
    test = "Wilcoxon’s signed-rank test"
    assert sentence.endswith(f"Significant at 5% in {test}, corrected for 3 comparisons (Holm): a and c.")
    assert verdict([random, with_p(a, 0.3)], "random").endswith(f"in {test}: none.")
    assert verdict([random, with_p(a, 0.01)], "random").endswith(f"{test} finds the same at 5%.")


def test_one_seed_supports_no_claim(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"random": 0.0, "asal": 0.9}, seeds=1, rounds=4)
    sentence = verdict(summarise(load(tmp_path), [], "random"), "random")
    assert "no interval" in sentence
    assert "beat" not in sentence


@pytest.mark.parametrize("name", PICTURES)
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


@pytest.mark.parametrize("light", sorted(DARK.keys() - {FAINT, *SHADES}))
def test_lines_and_words_stand_out_from_both_papers(light: str) -> None:
    needed = 3 if light in HUES else 4.5
    assert contrast(light, PAPER) >= needed
    assert contrast(DARK[light], NIGHT) >= needed


@pytest.mark.parametrize("shade", SHADES)
def test_numbers_stand_out_from_every_shade(shade: str) -> None:
    assert contrast(INK, shade) >= 4.5
    assert contrast(DARK[INK], DARK[shade]) >= 4.5


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
    assert tomllib.loads(to_toml(spec)) == {key: value for key, value in spec.items() if value is not None}


def test_bars_of_intervals_lie_inside_their_column(page: str) -> None:
    places = [float(x) for x in itertools.chain(*re.findall(r'<line class="span" x1="([^"]+)" x2="([^"]+)"', page))]
    assert len(places) == 4
    assert all(0 <= x <= 120 for x in places)


def test_the_summary_can_be_pasted_into_a_document(folder: Path) -> None:
    heads, rule, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (folder / "summary.md").read_text().splitlines()
    ]
    summaries = summarise(load(folder), [20, 40, 60, 80], "random")
    assert heads[:3] == ["strategy", "area", "minus random (95% CI)"] and set(rule) == {"---"}
    assert {len(line) for line in (heads, rule, *lines)} == {len(heads)}
    assert [line[0].partition(" (")[0] for line in lines] == [summary.strategy for summary in summaries]
    assert [float(line[1]) for line in lines] == [round(summary.aubc.mean, 4) for summary in summaries]
    gain = summaries[1].gain
    assert gain is not None and lines[1][2].startswith(f"{gain.estimate.mean:+.4f} (".replace("-", "−"))
    assert lines[1][4] == f"{gain.wins}–{gain.ties}–{gain.losses}"
    assert lines[0][heads.index("at 40")] == f"{summaries[0].accuracy[40].mean:.2%}"


def test_the_summary_says_of_how_many_seeds_a_mean_is_where_these_differ(summaries: list[Summary]) -> None:
    first, *more = summaries
    fewer = replace(first, aubc=replace(first.aubc, seeds=first.aubc.seeds - 1))
    names = [line.split("|")[1].strip() for line in summary_md([fewer, *more], "random").decode().splitlines()[2:]]
    assert names == [f"{s.strategy} ({s.aubc.seeds} seeds)" for s in [fewer, *more]]
    plain = [line.split("|")[1].strip() for line in summary_md(summaries, "random").decode().splitlines()[2:]]
    assert plain == [s.strategy for s in summaries]
