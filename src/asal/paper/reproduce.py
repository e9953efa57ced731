"""Reproduces an exhibit: prepares, runs, draws, and writes the paper's claims beside what was measured."""

from __future__ import annotations

from collections.abc import Callable

from asal.paper import exhibits, plots, setups
from asal.paper.context import CheckedClaim, ExhibitContext, ExhibitResult, PagePart, table_of
from asal.paper.costs import opened, scaling, seconds_of_a_round
from asal.paper.curves import curves
from asal.paper.exhibits import Exhibit
from asal.paper.showcase import SYNTHETIC, showcase
from asal.reports.page import Paths, compose, publish, render_all
from asal.runtime import artifacts, environment
from asal.runtime.csv_rows import csv_bytes

LABELS = 500  # of figure 2's classifier by default
SPACES = ("pixels", "autoencoder", "discriminator", "classifier")


def reproduce(name: str, context: ExhibitContext) -> Paths:
    """Reproduce an exhibit of the paper, and write its page, picture and CSV into `out/<name>`.

    A second call continues where the first one stopped: what is prepared and run is not repeated. Timings are.

    Raises:
        UserError: there is no such exhibit, or its data are missing.
    """
    shown = exhibits.exhibit(name)
    kinds: dict[str, Callable[[Exhibit, ExhibitContext], ExhibitResult]] = {
        "curves": curves, "pairs": pairs, "timings": scaling, "costs": seconds_of_a_round, "setups": set_ups,
    }  # fmt: skip
    with artifacts.explain_disk_errors(context.out):
        context.out.mkdir(parents=True, exist_ok=True)
    return _published(shown, kinds[shown.kind](shown, context), context)


def pairs(exhibit: Exhibit, context: ExhibitContext) -> ExhibitResult:
    """Reproduce figure 2: synthetic images above their matches in each feature space."""
    project = opened(context, ["asal-pixels", "asal-autoencoder", "asal-discriminator", "gaal"])
    labels = context.budget or LABELS
    shown = showcase(project, SPACES, labels)
    alt = f"Ten synthetic images, each above its matches in {len(SPACES)} feature spaces."
    note = (
        "The first row shows synthetic images, each with its entropy. Beneath stands the match in each feature space, "
        f"with its class and id. Means are over {SYNTHETIC} images, of which the most uncertain ones are shown."
    )
    draw = plots.draw_rows(shown.picture())
    rows = shown.rows()
    settings = {project.spec.name: {"labels of the classifier": labels, "seed": 0, "commit": environment.commit()}}
    return ExhibitResult(
        [PagePart("picture", exhibit.title, draw, alt, shown.claims(), note)], list(rows[0]), rows, settings
    )


def set_ups(exhibit: Exhibit, context: ExhibitContext) -> ExhibitResult:
    """Reproduce table 1: the set-up of each experiment, from the specs."""
    specs = {name: context.spec(name) for name in setups.BENCHMARKS}
    rows = [setups.row(name, spec) for name, spec in specs.items()]
    lines = [
        [f"{row[head]:,}" if isinstance(row[head], int) else str(row[head]) for head in setups.HEADS] for row in rows
    ]
    caption = (
        "Budget denotes the maximum amount of samples in the AL data set, New denotes the number of newly labelled "
        "samples in each AL cycle and Initial denotes the number of samples in the data set when AL begins."
    )
    checked = [
        CheckedClaim(caption, "table 1", setups.numbers()),
        CheckedClaim("Feature matching … Gray/Disc/Auto RGB/Disc/Auto … Auto-Encoder", "table 1", setups.spaces(specs)),
    ]
    note = "Columns marked (paper) are the paper's; the others are read from the specs."
    draw = plots.draw_table(setups.HEADS, lines)
    shown = table_of("Set-ups in the specs", note, setups.HEADS, lines)
    part = PagePart("picture", exhibit.title, draw, "One row for each set-up.", checked, table=shown)
    return ExhibitResult([part], setups.HEADS, rows, {})


def _published(shown: Exhibit, result: ExhibitResult, context: ExhibitContext) -> Paths:
    drawn = render_all({part.name: part.draw for part in result.parts}, context.progress, shown.name)
    page = compose(
        "exhibit.html.j2",
        drawn,
        {part.name: part.alt for part in result.parts},
        title=f"{shown.name} · {shown.title}",
        exhibit=shown,
        parts=result.parts,
        settings=result.settings,
        swatches={},
    )
    claims = ((part.title, claim.says, claim.where, claim.finding.measured, claim.finding.verdict)
              for part in result.parts for claim in part.checked)  # fmt: skip
    sheets = {
        f"{shown.name}.csv": csv_bytes(result.heads, result.rows),
        "claims.csv": csv_bytes(("panel", "says", "where", "measured", "verdict"), claims),
    }
    return publish(context.out / shown.name, f"{shown.name}.html", page, drawn, sheets)
