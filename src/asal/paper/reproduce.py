"""One command an exhibit: prepares, runs, draws, and sets the paper's claims beside what was measured."""

from __future__ import annotations

from collections.abc import Callable

from asal.paper import plots, setups
from asal.paper.context import CheckedClaim, ExhibitContext, ExhibitResult, PagePart, table_of
from asal.paper.costs import opened, scaling, seconds_of_a_round
from asal.paper.curves import curves
from asal.paper.exhibits import Exhibit, exhibit
from asal.paper.showcase import MADE, showcase
from asal.reports.page import Paths, compose, publish, render_all
from asal.runtime import artifacts, environment
from asal.runtime.csv_rows import csv_bytes

LABELS = 500  # that figure 2's classifier has seen, unless told otherwise
SPACES = ("pixels", "autoencoder", "discriminator", "classifier")


def reproduce(name: str, order: ExhibitContext) -> Paths:
    """Do an exhibit of the paper again and write its page, picture and CSV into `out/<name>`.

    Called again, it goes on where it was: what is prepared and run already costs seconds. Timings are taken anew.

    Raises:
        UserError: there is no such exhibit, or its data are not at hand.
    """
    it = exhibit(name)
    kinds: dict[str, Callable[[Exhibit, ExhibitContext], ExhibitResult]] = {
        "curves": curves, "pairs": pairs, "timings": scaling, "costs": seconds_of_a_round, "setups": set_ups,
    }  # fmt: skip
    with artifacts.telling_of_disk(order.out):
        order.out.mkdir(parents=True, exist_ok=True)
    return _published(it, kinds[it.kind](it, order), order)


def pairs(it: Exhibit, order: ExhibitContext) -> ExhibitResult:
    """Do figure 2: made-up images above what each feature space finds for them."""
    project = opened(order, ["asal-pixels", "asal-autoencoder", "asal-discriminator", "gaal"])
    labels = order.budget or LABELS
    shown = showcase(project, SPACES, labels)
    alt = f"Ten synthetic images, each above what {len(SPACES)} feature spaces find for it."
    note = (
        "The first row is made up, each image with its entropy. Beneath is what each feature space finds for it, with "
        f"its class and id. Means are over {MADE} images, of which the most uncertain ones are shown."
    )
    draw = plots.draw_rows(shown.picture())
    rows = shown.rows()
    settings = {project.spec.name: {"labels of the classifier": labels, "seed": 0, "commit": environment.commit()}}
    return ExhibitResult(
        [PagePart("picture", it.title, draw, alt, shown.claims(), note)], list(rows[0]), rows, settings
    )


def set_ups(it: Exhibit, order: ExhibitContext) -> ExhibitResult:
    """Do table 1: what each experiment consists of, by the specs."""
    specs = {name: order.spec(name) for name in setups.BENCHMARKS}
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
    shown = table_of("As the specs have them", note, setups.HEADS, lines)
    part = PagePart("picture", it.title, draw, "The set-ups, a row each.", checked, table=shown)
    return ExhibitResult([part], setups.HEADS, rows, {})


def _published(it: Exhibit, done: ExhibitResult, order: ExhibitContext) -> Paths:
    drawn = render_all({part.name: part.draw for part in done.parts}, order.progress, it.name)
    page = compose(
        "exhibit.html.j2",
        drawn,
        {part.name: part.alt for part in done.parts},
        title=f"{it.name} · {it.title}",
        exhibit=it,
        parts=done.parts,
        settings=done.settings,
        swatches={},
    )
    claims = ((part.title, it.says, it.where, it.finding.measured, it.finding.verdict)
              for part in done.parts for it in part.checked)  # fmt: skip
    sheets = {
        f"{it.name}.csv": csv_bytes(done.heads, done.rows),
        "claims.csv": csv_bytes(("panel", "says", "where", "measured", "verdict"), claims),
    }
    return publish(order.out / it.name, f"{it.name}.html", page, drawn, sheets)
