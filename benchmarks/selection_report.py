"""Tables, a CSV file and pictures of the runs of `selection.py`.

Differences are paired by seed: their mean ± half of the 95% t-interval, bold where the interval excludes zero. `area`
is the mean of the metric over all rounds, `final` its value at the budget. p is that of Wilcoxon's signed-rank test,
corrected over the rows of a table by Holm's method.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from selection_regimes import REGIMES

from asal.experiments.statistics import SAME, holm, signed_rank

DEFAULT, CONTROL, FORMER, RANDOM = "spread", "subset-margin", "subset-entropy", "random"
SEARCH = "climb"
SHOWN_AS = {SEARCH: "`asal`"}  # what a strategy is called on the page
SHOWN = range(20)  # seeds
PEER = "scikit-activeml "  # what the labels of its strategies begin with
CHOSEN = ("bal10", "bal50", "dup", "tail", "bal10R", "bal10:mnist", "tail:mnist")
NEEDLES = ("n300", "n1000", "big", "huge")
PANELS = ("bal10", "bal50", "dup", "tail", "bal10:mnist", "tail:mnist", "bal10:fashion", "tail:fashion")

Row = Mapping[str, Any]
Measure = Callable[[Row], float]


def area(row: Row) -> float:
    """Return the mean of the metric over the rounds."""
    return float(np.mean(row["curve"]))


def final(row: Row) -> float:
    """Return the metric at the budget."""
    return float(row["curve"][-1])


def found(row: Row) -> float:
    """Return how many images of the rare classes are labelled at the budget."""
    return float(row["rare"][-1])


@dataclass(frozen=True)
class Delta:
    """One strategy minus another, by seed."""

    seeds: int
    mean: float
    half: float  # of the 95% t-interval; NaN where there is none
    won: int
    lost: int
    p: float  # Wilcoxon's

    def text(self, digits: int = 4) -> str:
        """Return it for a table."""
        if not self.seeds:
            return "–"
        text = f"{self.mean:+.{digits}f}".replace("-", "−")
        if np.isnan(self.half):
            return text
        text += f" ± {self.half:.{digits}f}"
        return f"**{text}**" if abs(self.mean) > self.half else text


class Runs:
    """The rows that are shown, of one choice of l2, by regime, strategy and seed."""

    def __init__(self, rows: Iterable[Row], l2: float | str | None = None) -> None:
        self.every = list(rows)
        self.by: defaultdict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
        for row in self.every:
            if row["seed"] in SHOWN and row["l2"] == (REGIMES[row["regime"]].l2 if l2 is None else l2):
                self.by[row["regime"], row["strategy"]][row["seed"]] = row
        there = {regime for regime, _ in self.by}
        self.regimes = [name for name in REGIMES if name in there]
        self.strategies = list(dict.fromkeys(strategy for _, strategy in self.by))

    def of(self, regime: str, strategy: str) -> dict[int, Row]:
        """Return the rows by seed."""
        return self.by.get((regime, strategy), {})

    def delta(self, regime: str, ours: str, theirs: str, measure: Measure = area) -> Delta:
        """Compare two strategies over their common seeds."""
        from scipy import stats

        one, other = self.of(regime, ours), self.of(regime, theirs)
        seeds = sorted(set(one) & set(other))
        x = np.round([measure(one[seed]) - measure(other[seed]) for seed in seeds], 9)
        half = np.nan
        if len(x) > 1 and np.ptp(x) > SAME:
            low, high = stats.ttest_1samp(x, 0.0).confidence_interval(0.95)
            half = float(high - low) / 2
        mean = float(x.mean()) if len(x) else np.nan
        return Delta(len(x), mean, half, int((x > SAME).sum()), int((x < -SAME).sum()), signed_rank(x))

    def mean(self, regime: str, strategy: str, measure: Measure) -> float:
        """Return a mean over seeds; NaN where there is none."""
        rows = self.of(regime, strategy)
        return float(np.mean([measure(row) for row in rows.values()])) if rows else np.nan


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    every = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(SHOWN_AS.get(cell, cell) for cell in cells)} |" for cells in every)


def number(value: float, digits: int = 4) -> str:
    """Return a number for a table."""
    return "–" if np.isnan(value) else f"{value:,.{digits}f}"


def rule(runs: Runs) -> str:
    """The default against the former one and against the control, where choices were made in the same regimes."""
    return _rule(runs, CHOSEN)


def unseen(runs: Runs) -> str:
    """The same on the data set that nobody looked at while choosing."""
    return _rule(runs, [name for name in runs.regimes if name.endswith(":fashion")])


def more(runs: Runs) -> str:
    """The same in regimes beyond those."""
    kept = (*CHOSEN, *NEEDLES)
    return _rule(runs, [name for name in runs.regimes if name not in kept and not name.endswith(":fashion")])


def _rule(runs: Runs, regimes: Sequence[str]) -> str:
    regimes = [name for name in regimes if runs.delta(name, DEFAULT, CONTROL).seeds]
    against = {name: runs.delta(name, DEFAULT, CONTROL) for name in regimes}
    ends = {name: runs.delta(name, DEFAULT, CONTROL, final) for name in regimes}
    ps, qs = (holm([delta.p for delta in deltas.values()]) for deltas in (against, ends))
    heads = ("regime", "seeds", f"− {RANDOM}: area", f"− {FORMER}: area", f"− {CONTROL}: area", "won–lost", "p (Holm)")
    lines = []
    for name, p, q in zip(regimes, ps, qs, strict=True):
        one, end = against[name], ends[name]
        others = [runs.delta(name, DEFAULT, other).text() for other in (RANDOM, FORMER)]
        cells = [name, str(one.seeds), *others, one.text(), f"{one.won}–{one.lost}", p_text(p)]
        lines.append([*cells, end.text(), f"{end.won}–{end.lost}", p_text(q)])
    return table((*heads, f"− {CONTROL}: final", "won–lost", "p (Holm)"), lines)


def p_text(p: float) -> str:
    """Return a p for a table."""
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"


def means(runs: Runs) -> str:
    """The mean area and end of the core strategies in every regime."""
    core = (RANDOM, FORMER, CONTROL, DEFAULT)
    lines = [
        [name, *(f"{number(runs.mean(name, way, area))} / {number(runs.mean(name, way, final))}" for way in core)]
        for name in runs.regimes
    ]
    return table(("regime: area / final", *core), lines)


def rare(runs: Runs) -> str:
    """Labelled images of the rare classes at the end, in the core strategies and the searches."""
    ways = [
        way
        for way in (RANDOM, FORMER, CONTROL, DEFAULT, SEARCH, "pool-margin", "pool-spread")
        if way in runs.strategies
    ]
    regimes = [name for name in runs.regimes if REGIMES[name].metric != "accuracy"]

    def cell(name: str, way: str) -> str:  # the same seeds in a row
        complete = runs.of(name, way).keys() >= runs.of(name, CONTROL).keys()
        return number(runs.mean(name, way, found), 1) if complete else "–"

    return table(("regime", *ways), [[name, *(cell(name, way) for way in ways)] for name in regimes])


def needles(runs: Runs) -> str:
    """Every strategy minus the control, with needles."""
    lines = []
    for name in (name for name in NEEDLES if name in runs.regimes):
        for way in runs.strategies:
            one = runs.delta(name, way, CONTROL)
            if way == CONTROL or not one.seeds:
                continue
            deltas = [runs.delta(name, way, CONTROL, measure) for measure in (final, found)]
            cells = [name, way, str(one.seeds), one.text(), f"{one.won}–{one.lost}", deltas[0].text()]
            lines.append([*cells, f"{deltas[0].won}–{deltas[0].lost}", deltas[1].text(1), *costs(runs, name, way)])
    heads = ("regime", f"strategy − {CONTROL}", "seeds", "area", "won–lost", "final", "won–lost", "rare found")
    return table((*heads, "evaluations", "ms a round"), lines)


def costs(runs: Runs, regime: str, way: str) -> list[str]:
    """Return evaluations and milliseconds of a round."""
    evaluations = runs.mean(regime, way, lambda row: row["evaluations"])
    return [f"{evaluations:,.0f}", number(1000 * runs.mean(regime, way, lambda row: row["seconds"]), 0)]


def heads(runs: Runs) -> str:
    """The default against the control and the former default with other heads."""
    lines = []
    for name in runs.regimes:
        choices = {str(row["l2"]): row["l2"] for row in runs.every if row["regime"] == name}
        for text, l2 in sorted(choices.items()) if len(choices) > 1 else ():
            some = Runs(runs.every, l2)
            one = some.delta(name, DEFAULT, CONTROL)
            end, former = some.delta(name, DEFAULT, CONTROL, final), some.delta(name, DEFAULT, FORMER)
            lines.append([name, text, str(one.seeds), one.text(), end.text(), former.text()])
    names = ("regime", "l2", "seeds", f"{DEFAULT} − {CONTROL}: area", "final")
    return table((*names, f"{DEFAULT} − {FORMER}: area"), lines)


def baselines(runs: Runs) -> str:
    """The default minus every other strategy of the product, with what these cost."""
    core, lines = (RANDOM, FORMER, CONTROL, DEFAULT), []
    for way in (way for way in runs.strategies if not way.startswith(PEER) and way.partition("@")[0] not in core):
        for name in (name for name in runs.regimes if name not in NEEDLES):
            one = runs.delta(name, DEFAULT, way)
            if one.seeds:
                end = runs.delta(name, DEFAULT, way, final)
                cells = [way, name, str(one.seeds), one.text(), f"{one.won}–{one.lost}", end.text()]
                lines.append([*cells, *costs(runs, name, way)])
    names = ("strategy", "regime", "seeds", f"{DEFAULT}’s area − its", "won–lost", "final")
    return table((*names, "evaluations", "ms a round"), lines)


def best(runs: Runs) -> str:
    """The default minus the best strategy of scikit-activeml in each regime, by area and by the end."""
    ways, lines = [way for way in runs.strategies if way.startswith(PEER)], []
    for name in runs.regimes:
        there = [way for way in ways if runs.of(name, way)]
        if there:
            cells = [name]
            for measure in (area, final):
                first = min(there, key=lambda way: runs.delta(name, DEFAULT, way, measure).mean)
                one = runs.delta(name, DEFAULT, first, measure)
                cells += [f"{first.removeprefix(PEER)} ({one.seeds})", one.text(), f"{one.won}–{one.lost}"]
            lines.append(cells)
    sides = (f"the best in {what} (seeds) | {DEFAULT} − it | won–lost" for what in ("area", "final"))
    return table(("regime", *" | ".join(sides).split(" | ")), lines)


def sizes(runs: Runs) -> str:
    """The default and the control with other numbers of evaluations."""
    marks = sorted({way.partition("@")[2] for way in runs.strategies if "@" in way}, key=int)
    lines = []
    for name in runs.regimes:
        for mark in ("", *marks):
            ours, theirs = (f"{way}@{mark}" if mark else way for way in (DEFAULT, CONTROL))
            one = runs.delta(name, ours, theirs)
            if not one.seeds or not any(runs.of(name, f"{DEFAULT}@{other}") for other in marks):
                continue
            grown = runs.delta(name, ours, DEFAULT).text() if mark else ""
            cells = [name, f"{int(mark or 1000):,}", str(one.seeds), one.text(), f"{one.won}–{one.lost}"]
            lines.append([*cells, runs.delta(name, ours, theirs, final).text(), grown])
    heads = ("regime", "evaluations", "seeds", f"{DEFAULT} − {CONTROL}: area", "won–lost", "final")
    return table((*heads, f"{DEFAULT} − itself at 1,000: area"), lines)


def peers(runs: Runs) -> str:
    """The default minus scikit-activeml's strategies, with seconds and memory beside each other."""
    ways, lines = [way for way in runs.strategies if way.startswith(PEER)], []
    for name in runs.regimes:
        for way in (way for way in ways if runs.of(name, way)):
            one, end = runs.delta(name, DEFAULT, way), runs.delta(name, DEFAULT, way, final)
            seconds = [runs.mean(name, it, lambda row: row["seconds"]) for it in (DEFAULT, way)]
            memory = [runs.mean(name, it, lambda row: row["extra_mib"]) for it in (DEFAULT, way)]
            cells = [name, way.removeprefix(PEER), str(one.seeds), one.text(), f"{one.won}–{one.lost}", end.text()]
            lines.append(
                [*cells, *(" / ".join(number(x, 3) for x in seconds), " / ".join(number(x, 0) for x in memory))]
            )
    heads = ("regime", "its strategy", "seeds", "spread's area − its", "won–lost", "final")
    return table((*heads, "seconds a round, spread / it", "extra MiB, spread / it"), lines)


BLOCKS = {
    block.__name__: block for block in (rule, unseen, more, means, rare, needles, heads, sizes, baselines, best, peers)
}


def write_csv(runs: Runs, path: Path) -> None:
    """Write one line for each run that is shown."""
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(
            ("regime", "strategy", "seed", "l2", "area", "final", "rare", "evaluations", "seconds", "extra_mib")
        )
        shown = (row for row in runs.every if row["seed"] in SHOWN)
        for row in sorted(shown, key=lambda row: (row["regime"], str(row["l2"]), row["strategy"], row["seed"])):
            facts = (f"{area(row):.5f}", f"{final(row):.5f}", row["rare"][-1], f"{row['evaluations']:.0f}")
            costs = (f"{row['seconds']:.4f}", row["extra_mib"])
            out.writerow((*(row[name] for name in ("regime", "strategy", "seed", "l2")), *facts, *costs))


def picture(runs: Runs, regimes: Sequence[str], ways: Sequence[str], path: Path, key: str = "curve") -> None:
    """Draw the mean curves of a few strategies, a panel for each regime."""
    from matplotlib.figure import Figure

    from asal.reports.theme import GREY, HUES

    shown = [name for name in regimes if name in runs.regimes]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * lines), layout="constrained")
    colours = dict(zip((RANDOM, FORMER, CONTROL, DEFAULT, SEARCH, "pool-margin"), (GREY, *HUES), strict=True))
    for place, name in enumerate(shown):
        axes, regime = figure.add_subplot(lines, columns, place + 1), REGIMES[name]
        for way in (way for way in ways if runs.of(name, way)):
            curves = np.array([row[key] for row in runs.of(name, way).values()], float)
            x = regime.initial + regime.batch * np.arange(curves.shape[1])
            axes.plot(
                x, curves.mean(axis=0), color=colours[way], linewidth=1.4, label=SHOWN_AS.get(way, way).strip("`")
            )
        axes.set_title(name, fontsize=9)
        axes.set_ylabel(regime.metric if key == "curve" else "rare images labelled", fontsize=8)
        axes.set_xlabel("labelled images" if place >= len(shown) - columns else "", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if key == "curve":  # the steep beginning would press the differences together
            axes.set_ylim(bottom=float(np.quantile(curves.mean(axis=0), 0.1)) * 0.85)
    handles = {
        label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False
    )
    figure.savefig(path, dpi=130)


def report(rows: Iterable[Row], out: Path, page: Path | None) -> None:
    """Write tables.md, runs.csv and the pictures into OUT; and the tables, the CSV file and the pictures to a page.

    On the page, a table stands between `<!-- table NAME -->` and `<!-- end -->`.
    """
    runs = Runs(rows)
    texts = {name: block(runs) for name, block in BLOCKS.items()}
    (out / "tables.md").write_text("\n\n".join(f"## {name}\n\n{text}" for name, text in texts.items()) + "\n")
    folder, stem = (page.parent, page.stem) if page else (out, "runs")
    write_csv(runs, folder / f"{stem}.csv")
    picture(runs, PANELS, (RANDOM, FORMER, CONTROL, DEFAULT), folder / f"{stem}-curves.png")
    searched = (RANDOM, CONTROL, DEFAULT, SEARCH, "pool-margin")
    if set(NEEDLES) & set(runs.regimes):
        picture(runs, NEEDLES, searched, folder / f"{stem}-needles.png")
        picture(runs, NEEDLES, searched, folder / f"{stem}-found.png", "rare")
    if page:
        text = page.read_text()
        for name, block in texts.items():
            between = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
            text = between.sub(lambda match, block=block: f"{match[1]}\n{block}\n\n{match[2]}", text)
        page.write_text(text)
    print(out / "tables.md")
