"""Figures 3, 4 and 5: runs of strategies × seeds, drawn as curves, and the claims on them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from asal.errors import UserError
from asal.experiments.metrics import Curve, curve
from asal.experiments.results import BASELINE, Results, load
from asal.experiments.sweep import compare
from asal.paper.claims import evaluate
from asal.paper.context import CheckedClaim, ExhibitContext, ExhibitResult, PagePart
from asal.paper.exhibits import Exhibit, Panel
from asal.project.project import Project
from asal.project.spec import Spec, parse
from asal.project.validate import check
from asal.reports import plots, theme
from asal.reports.tables import with_unit
from asal.runtime import artifacts

HEADS = ("panel", "strategy", "labels", "mean", "low", "high", "seeds")


def curves(exhibit: Exhibit, context: ExhibitContext) -> ExhibitResult:
    """Prepare, run and draw each panel. Everything that can be refused is refused before any training."""
    projects = [_opened(panel, context) for panel in exhibit.panels]
    parts, rows, settings = [], [], {}
    for number, (panel, project) in enumerate(zip(exhibit.panels, projects, strict=True)):
        if number:
            adopt(project, projects[number - 1])
        folder = run_folder(panel, context)
        compare(project, panel.strategies, range(context.seeds or exhibit.seeds), folder, context.jobs)
        results = load(folder)
        parts.append(_part(panel, results, len(exhibit.panels)))
        rows += _rows(panel, results)
        settings[panel.spec] = _facts(results)
    return ExhibitResult(parts, HEADS, rows, settings)


def _opened(panel: Panel, context: ExhibitContext) -> Project:
    """Check a panel's spec and ingest its images."""
    spec = with_budget(context.spec(panel.spec), context.budget)
    validated = check(spec, panel.strategies)
    project = Project(context.project(panel.spec), validated, progress=context.progress)
    project.ingest()
    return project


def run_folder(panel: Panel, context: ExhibitContext) -> Path:
    """Return a benchmark's run folder; a separate one where the budget is not the spec's."""
    usual = context.budget in (None, context.spec(panel.spec).protocol.budget)
    return context.out / "runs" / (panel.spec if usual else f"{panel.spec}-{context.budget}")


def with_budget(spec: Spec, budget: int | None) -> Spec:
    """Return the spec with another budget; itself for None.

    Raises:
        UserError: the budget leaves no label to ask for.
    """
    if budget is None:
        return spec
    protocol = spec.protocol
    if budget <= protocol.initial:
        raise UserError(
            f"--budget {budget} leaves no label to ask for",
            rule=f"{spec.name} begins with {protocol.initial:,} labels and asks for {protocol.batch:,} per round",
            hint=f"take {protocol.initial + protocol.batch:,} or more",
        )
    table = spec.model_dump(mode="json")
    return parse({**table, "protocol": {**table["protocol"], "budget": budget}})


def adopt(project: Project, other: Project) -> None:
    """Take over what another project has prepared, by hard links, where both hold the same images.

    CelebA's four benchmarks differ only in their labels, so one generator serves them all. What depends on the labels
    has their fingerprint in its name, so it is never confused with another project's.
    """
    if project.pool.fingerprint != other.pool.fingerprint:
        return
    with artifacts.exclusive(project.root), artifacts.explain_disk_errors(project.root):
        for home in ("parts", "features", "indexes"):
            for folder in sorted((other.root / home).glob("*")):
                target = project.root / home / folder.name
                if artifacts.is_complete(folder) and not target.exists():
                    scratch = target.with_name(f".{target.name}")
                    shutil.rmtree(scratch, ignore_errors=True)
                    shutil.copytree(folder, scratch, copy_function=_linked)
                    artifacts.move_into_place(scratch, target)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _part(panel: Panel, results: Results, panels: int) -> PagePart:
    pens, lines = theme.pens(results.strategies, BASELINE), _lines(panel, results)
    full = None if panel.of_scores else results.reference
    score = with_unit(results.facts["protocol"]["score"])
    ylabel = f"mean {score} of new samples" if panel.of_scores else "test accuracy"
    draw = plots.draw_curves(lines, pens, ylabel, percent=not panel.of_scores, reference=full)
    ends = ", ".join(f"{line.strategy} {line.mean[-1]:.4f}" for line in lines)
    checked = [CheckedClaim(claim.says, claim.where, evaluate(claim.check, results)) for claim in panel.claims]
    note = "Lines are means over seeds; bands reach from the worst seed to the best."
    if full:
        note += f" The dashed line is the same classifier trained on all {full.labels or 0:,} labels."
    name = "picture" if panels == 1 else panel.spec
    return PagePart(name, panel.title, draw, f"Ends of the lines: {ends}.", checked, note)


def _lines(panel: Panel, results: Results) -> list[Curve]:
    lines = [curve(results, name, scores=panel.of_scores) for name in panel.strategies]
    return [line for line in lines if line is not None]


def _rows(panel: Panel, results: Results) -> list[dict[str, Any]]:
    rows = [
        {
            "panel": panel.spec, "strategy": line.strategy, "labels": int(x), "mean": round(float(mean), 6),
            "low": round(float(low), 6), "high": round(float(high), 6), "seeds": line.seeds,
        }
        for line in _lines(panel, results)
        for x, mean, low, high in zip(line.labels, line.mean, line.low, line.high, strict=True)
    ]  # fmt: skip
    if (full := results.reference) and not panel.of_scores:
        accuracy = {"mean": round(full.accuracy, 6), "low": full.low, "high": full.high, "seeds": len(full.accuracies)}
        rows.append({"panel": panel.spec, "strategy": "fully supervised", "labels": full.labels, **accuracy})
    return rows


def _facts(results: Results) -> dict[str, Any]:
    facts = results.facts
    protocol = {key: f"{facts['protocol'][key]:,}" for key in ("initial", "batch", "budget")}
    return {
        "seeds": len(facts["seeds"]),
        **protocol,
        "commit": facts.get("commit"),
        "spec hash": facts.get("spec_hash"),
    }
