"""Sessions whose answers are already known: strategies × seeds, paired, resumable at any point.

    DIR/run.json                        what is compared, on what, and where
    DIR/<strategy>/seed-<s>/labels.db   that run's record: from it, `run` makes the next two again where they are lost
    DIR/<strategy>/seed-<s>/rows.jsonl  one row a round
    DIR/<strategy>/seed-<s>/pairs.npz   synthetic images and their matches, where the strategy makes any
    DIR/fully-supervised/seed-<s>.json  the accuracy that all labels bring, where the spec asks for it

Runs of one seed are paired: the same initial images and the same initial weights, whatever the strategy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from asal.core import Labels, Round, Selection
from asal.data import moves
from asal.errors import DamageError, UserError, counted, quoted
from asal.experiments import pairs
from asal.experiments.continuing import joined, options_of
from asal.experiments.evaluation import Evaluation
from asal.experiments.replay import Replay
from asal.experiments.results import FACTS, read_facts
from asal.experiments.round_log import RoundLog, round_row
from asal.project.project import Project
from asal.project.spec import Spec
from asal.project.validate import ValidatedSpec, table_of
from asal.runtime import artifacts, environment
from asal.runtime.progress import Progress, report_to
from asal.session.connection import RecordDamageError
from asal.session.events import Record
from asal.session.oracles.stored import Stored
from asal.session.session import Batch, Session

TRIES = 1_000  # draws of the initial images before a class is called too rare


def begin(project: Project, chosen: Sequence[str], seeds: Sequence[int], out: Path, threads: int = 1) -> None:
    """Check what could go wrong before hours are spent, and write `run.json`, or find it fitting.

    Raises:
        UserError: the budget, the initial images or the classes do not fit the pool, or the folder holds another run.
    """
    spec, oracle = project.spec, project.oracle("pool")
    _check_protocol(spec, oracle.answer(np.arange(len(project.pool))), oracle.classes)
    Evaluation.of(project)  # what is wrong with a test set is said now
    for name in chosen:
        project.plan(name, oracle.classes)
    facts = {
        "name": spec.name,
        "spec": spec.model_dump(mode="json"),
        "spec_hash": spec.hash,
        "pool": project.pool.fingerprint,
        "images": len(project.pool),
        "classes": list(oracle.classes),
        "strategies": list(chosen),
        "seeds": list(seeds),
        "threads": threads,
        "options": options_of(spec, chosen),
        "protocol": spec.protocol.model_dump(mode="json"),
        "unlike": _unlike(project, chosen),
        **environment.facts(),
        "earlier": [],
        **_corrections(project.root),
    }
    there = out / FACTS
    if there.exists():
        began = {"images": len(project.original)}  # older folders lack the number of images
        facts = joined(began | read_facts(out), facts, out)
    with artifacts.explain_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(there, facts)


def _corrections(root: Path) -> dict[str, str]:
    """Return what changes with every stored label that was corrected since the ingest; nothing where there is none."""
    corrected = {str(image): label for image, label in moves.corrections(root, "pool").items()}
    return {"corrections": artifacts.fingerprint(corrected)} if corrected else {}


def _unlike(project: Project, chosen: Sequence[str]) -> dict[str, list[str]]:
    """Return the strategies whose runs are not alike in all but the choice, under what sets them apart."""
    checked = [project.validate(chosen).strategies[name] for name in chosen]
    classifier = [it.name for it in checked if "loss" in it.needs or "lines" in it.provides]
    return {"classifier": classifier, "first batch": [it.name for it in checked if it.table.first is not None]}


def _check_protocol(spec: Spec, labels: Labels, classes: Sequence[str]) -> None:
    protocol, known = spec.protocol, int((labels >= 0).sum())
    present = set(np.unique(labels).tolist()) - {-1}
    if len(present) < 2:
        raise UserError(
            f"every labelled image of the pool has the label {quoted(classes[number] for number in present)}"
            if present
            else "no image of the pool has a label",
            rule="an experiment tells two or more classes apart",
            hint="keep more classes under [pool]",
        )
    if missing := sorted(set(range(len(classes))) - present):
        raise UserError(
            f"the pool has no image with the label {quoted((classes[number] for number in missing), 'or')}",
            rule="every class of an experiment is in its pool",
            hint="name the classes that are there as `keep` under [pool]",
        )
    if protocol.budget > known:
        raise UserError(
            f"budget = {protocol.budget} is too large: the pool has {counted(known, 'labelled image')}",
            rule="a budget is at most the pool",
            hint=f"lower `budget` under [protocol] to {known} or less",
        )
    if protocol.initial < len(classes):
        raise UserError(
            f"initial = {protocol.initial} is too few for {len(classes)} classes",
            rule="the initial images hold every class",
            hint="raise `initial` under [protocol]",
        )


@dataclass(frozen=True)
class RunTask:
    """One run: a strategy and a seed. Everything in it travels between processes."""

    root: Path
    spec: Spec
    strategy: str
    seed: int
    out: Path
    commit: str | None = None  # of asal's source tree; goes into every row
    validated: ValidatedSpec | None = None  # the spec, where it has been checked already
    needs_torch: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"{self.strategy}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        return self.out / self.strategy / f"seed-{self.seed}"

    @property
    def size(self) -> int:
        """What its progress counts to."""
        return self.spec.protocol.budget

    def run(self, progress: Progress) -> str:
        """Do it to its end; see `run_one`."""
        return run_one(self, progress)


def run_one(job: RunTask, progress: Progress) -> str:
    """Do one run to its end, from wherever it stands, and return its last accuracy in words.

    A row is written between asking and answering. Whatever dies in between, and whatever happens to the rows, the
    record's open batch is asked again, a classifier is trained again to the same weights, and the rows come out the
    same.
    """
    project = Project(job.root, job.validated or job.spec)
    _check_size(project, job)
    protocol = job.spec.protocol
    oracle, test_set = project.oracle("pool"), Evaluation.of(project)
    plan = project.plan(job.strategy, oracle.classes, job.seed, first=Initial(oracle, protocol.draw, job.seed))
    tools = project.tools(job.strategy)
    tools.open()
    with (
        artifacts.exclusive(job.folder),
        artifacts.explain_disk_errors(job.folder),
        report_to(progress, f"{job.name}: within a round"),
        _explain_damage(job.folder),
        Record.open(job.folder / "labels.db") as record,
    ):
        session = Session(project.pool, record, plan, tools)
        rows = _recovered_rows(job, session, test_set, progress)
        if session.state.spent < protocol.budget:  # before the first round, which may take long
            progress(job.name, session.state.spent, protocol.budget, rows.note)
        while (spent := session.state.spent) < protocol.budget:
            if session.left == 0 and not session.state.waiting:
                break  # the oracle has no label for the rest of the pool
            wanted = protocol.batch if session.state.number or session.state.waiting else protocol.initial
            batch = session.ask(min(wanted, protocol.budget - spent, session.left or wanted))
            if session.state.rounds[-1].fallback_reason is None and not rows.has(batch.round):
                rows.add(round_row(job, session, batch, test_set))
            session.tell(_answers(project, job, session, batch))
            progress(job.name, spent, protocol.budget, rows.note)
        if not rows.has(session.state.number):
            rows.add(round_row(job, session, None, test_set))
        progress(job.name, protocol.budget, protocol.budget, rows.note)
        pairs.save(project, record.read(), job.folder)
        return rows.note


@contextmanager
def _explain_damage(folder: Path) -> Iterator[None]:
    """Say how the record of a run is made again: its answers are stored, so that nobody's work is lost with it."""
    try:
        yield
    except RecordDamageError as error:
        path = folder / "labels.db"
        raise DamageError(
            error.got if str(path) in error.got else f"{path} is damaged: {error.got}",
            rule=error.rule,
            hint=f"delete {folder}, and run the same command again: the answers are stored, and the run is made again",
        ) from None


def _recovered_rows(job: RunTask, session: Session, test_set: Evaluation, progress: Progress) -> RoundLog:
    """Open the rows of a run, and make those again that are lost, damaged, or do not agree with the record."""
    replay = Replay(job, session)
    rows = RoundLog(job.folder / "rows.jsonl", replay.belongs)

    def report(labels: int, note: str) -> None:
        progress(job.name, labels, job.size, note)

    replay.rebuild(rows, test_set, report)
    return rows


def _check_size(project: Project, job: RunTask) -> None:
    """Refuse a pool that has grown since the folder was begun: its runs would not be of one pool."""
    facts = read_facts(job.out) if (job.out / FACTS).exists() else {}
    same = facts.get("pool") == project.pool.fingerprint  # else the record says what is wrong
    if same and (images := len(project.pool)) != facts.get("images", images):
        raise UserError(
            f"{job.out} was begun with {facts['images']:,} images, and the pool has {images:,} by now",
            rule="a run folder is of one pool",
            hint="choose another folder with --out",
        )


def _answers(project: Project, job: RunTask, session: Session, batch: Batch) -> list[tuple[int, int | None]]:
    """Return the stored labels of pool images, and the teacher's of synthetic images."""
    real = batch.ids < len(project.pool)
    labels = np.empty(len(batch), np.int64)
    labels[real] = project.oracle("pool").answer(batch.ids[real])
    if not real.all():
        min_confidence = table_of(job.spec, job.strategy).min_confidence
        labels[~real] = project.teacher.answer(session.images(batch.ids[~real]), min_confidence)
    return [(int(image), int(label) if label >= 0 else None) for image, label in zip(batch.ids, labels, strict=True)]


@dataclass(frozen=True)
class Initial:
    """Draws the first batch: the same for every strategy of a seed."""

    oracle: Stored
    draw: str
    seed: int

    def __call__(self, now: Round, n: int, rng: np.random.Generator) -> Selection:
        """Draw at random: until every class is there ("covering", our choice), or once ("random")."""
        for _ in range(TRIES if self.draw == "covering" else 1):
            ids = now.candidates.sample(n, rng)
            missing = set(range(len(self.oracle.classes))) - set(self.oracle.answer(ids).tolist())
            if not missing:
                return Selection(ids, np.zeros(n))
        names = ", ".join(f"'{self.oracle.classes[number]}'" for number in sorted(missing))
        raise UserError(
            f"{n} images of seed {self.seed} hold none of {names}",
            rule="the initial images hold every class, or a classifier could not learn it",
            hint="raise `initial`, set draw = 'covering', or keep fewer classes, under [protocol] and [pool]",
        )
