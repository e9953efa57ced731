"""What Label Studio says by now against what the record says: events to write, and a report that leaves nothing out.

A record is never rewritten to please Label Studio. Where people disagree, where something was deleted there, or where a
label is no class of ours, the report says so and the record stays as it is.

>>> report = Report((Finding("conflict", 7, "image 7: ada → cat, bob → dog"),))
>>> [row for row in report.rows() if row[1]]
[('people disagree', 1, 'image 7: ada → cat, bob → dog')]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asal.labelling.consensus import OverlapRules, settled
from asal.labelling.label_studio.client import Annotation, LabelStudioTask
from asal.session.events import Event
from asal.session.state import State

POOL, IMAGE, ROUND = "asal_pool", "asal_id", "asal_round"  # in a task's `meta`

TITLES = {  # every kind of finding, in the order of telling
    "answered": "answered",
    "skipped": "can't tell",
    "corrected": "changed since: corrected",
    "agreed": "settled by several people",
    "few": "answered by too few people",
    "conflict": "people disagree",
    "elsewhere": "corrected elsewhere",
    "answer deleted": "answers deleted there",
    "task deleted": "tasks deleted there",
    "no class": "answers that are no class",
    "not asked": "tasks of images that were not asked",
    "twice": "images with several tasks",
    "foreign": "tasks that are not ours",
}
SHOWN = 5  # examples of each kind in a report


class Discrepancy(NamedTuple):
    """One thing that a pull found."""

    kind: str  # of TITLES
    image: int | None
    what: str


@dataclass(frozen=True)
class Report:
    """What a pull found and did."""

    findings: tuple[Discrepancy, ...] = ()
    written: int = 0  # events
    open: int = 0  # images that still wait for an answer
    missing: int = 0  # of these, those that are not in Label Studio

    def images(self, kind: str) -> list[int]:
        """Return the images of one kind of finding, in the order in which they were found."""
        return [one.image for one in self.findings if one.kind == kind and one.image is not None]

    def count(self, kind: str) -> int:
        """Return how many findings of a kind there are."""
        return sum(one.kind == kind for one in self.findings)

    def rows(self) -> list[tuple[str, int, str]]:
        """Return (what, how many, examples) for every kind of finding, also where there is none."""
        found: dict[str, list[str]] = {kind: [] for kind in TITLES}
        for one in self.findings:
            found[one.kind].append(one.what)
        return [(TITLES[kind], len(all_), _examples(all_)) for kind, all_ in found.items()]


def _examples(found: Sequence[str]) -> str:
    more = f"; and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more


@dataclass(frozen=True)
class Frame:
    """What a project in Label Studio is held against."""

    project: int
    pool: str  # its fingerprint: ids of another pool mean other images
    classes: tuple[str, ...]
    pushed: int = 0  # rounds whose images have all been in Label Studio
    rules: OverlapRules = field(default_factory=OverlapRules)  # how many people an image wants


class Opinion(NamedTuple):
    """What one person says about one image."""

    at: str
    annotation: int
    by: str
    label: int | None  # None is "can't tell"
    seconds: float | None
    key: str  # of this version of the annotation, once and for all


def reconcile(state: State, tasks: Iterable[LabelStudioTask], frame: Frame) -> tuple[list[Event], list[Discrepancy]]:
    """Return the events that bring the record up to Label Studio, in the order of answering, and all that was found.

    Cost: linear in the tasks and in what was ever taken from Label Studio.
    """
    held = _Held(state, frame)
    for task in tasks:
        held.look(task)
    events, findings = [], held.findings
    for image, opinions in sorted(held.opinions.items()):
        event, found = held.judged(image, opinions)
        events += [(max(opinions), event)] if event else []
        findings += found
    findings += held.gone()
    events.sort(key=lambda pair: pair[0][:2])
    return [event for _, event in events], sorted(findings, key=lambda one: list(TITLES).index(one.kind))


class _Held:
    """What Label Studio holds, image by image, beside the record's state."""

    def __init__(self, state: State, frame: Frame) -> None:
        self.state, self.frame = state, frame
        self.findings: list[Discrepancy] = []
        self.opinions: dict[int, list[Opinion]] = {}  # of asked images that somebody has answered
        self.tasks: dict[int, int] = {}  # image → how many tasks it has
        self.taken = taken(state, frame.project)

    def look(self, task: LabelStudioTask) -> None:
        """Take in a task: whose it is, and what was said about it."""
        image, state = image_of(task, self.frame.pool), self.state
        if image is None:
            self._find("foreign", None, f"task {task.id}")
            return
        if image not in state.waiting and image not in state.answers and image not in state.skips:
            self._find("not asked", image, f"task {task.id}: image {image}")
            return
        self.tasks[image] = self.tasks.get(image, 0) + 1
        if self.tasks[image] == 2:
            self._find("twice", image, f"image {image}")
        newest = {one.by: one for one in self.opinions.get(image, ())}
        for annotation in task.annotations:
            opinion = self._opinion(image, annotation)
            if opinion and (annotation.by not in newest or opinion > newest[annotation.by]):
                newest[annotation.by] = opinion  # a person's last word counts
        if newest:
            self.opinions[image] = list(newest.values())

    def _opinion(self, image: int, said: Annotation) -> Opinion | None:
        key = f"ls-{self.frame.project}-{said.id}-{said.at}"
        if said.skipped:
            return Opinion(said.at, said.id, said.by, None, said.seconds, key)
        if len(said.choices) != 1 or said.choices[0] not in self.frame.classes:
            names = ", ".join(map(repr, said.choices)) or "nothing"
            self._find("no class", image, f"image {image}: {said.by} → {names}")
            return None
        return Opinion(said.at, said.id, said.by, self.frame.classes.index(said.choices[0]), said.seconds, key)

    def judged(self, image: int, opinions: list[Opinion]) -> tuple[Event | None, list[Discrepancy]]:
        """Return what is to be written of an image, if anything is, and what there is to say of it."""
        opinions.sort()
        open_, said = image in self.state.waiting, self._said(image, opinions)
        if open_ and len(opinions) < (wanted := self.frame.rules.wanted(image)):
            return None, [Discrepancy("few", image, f"{said}; {wanted} people are wanted")]
        verdict = settled({one.by: one.label for one in opinions})
        if verdict is None:
            kept = "" if open_ else f"; the record keeps {self._name(self._now(image))}"
            return None, [Discrepancy("conflict", image, said + kept)]
        side = [one for one in opinions if one.label == verdict.label]
        if open_:
            return self._answered(image, side, opinions)
        if verdict.label == self._now(image):
            return None, []
        return self._changed(image, side)

    def _answered(
        self, image: int, side: list[Opinion], opinions: list[Opinion]
    ) -> tuple[Event | None, list[Discrepancy]]:
        said, fresh = self._said(image, opinions), [one for one in side if one.key not in self.state.keys]
        if not fresh:  # the answer was taken, and then taken back
            return None, [Discrepancy("elsewhere", image, f"{said}; in the record it is open again")]
        kind = "skipped" if fresh[0].label is None else "answered"
        found = [Discrepancy(kind, image, f"image {image}")]
        if len(opinions) > 1:
            found.append(Discrepancy("agreed", image, said))
        return self._event(kind, image, fresh[0], len(opinions)), found

    def _changed(self, image: int, opinions: list[Opinion]) -> tuple[Event | None, list[Discrepancy]]:
        """Judge an image that the record holds under another label than the one that Label Studio has."""
        keys, before = self.state.keys, self.taken.get(image, set())
        name, said = self._name(self._now(image)), self._said(image, opinions)
        # A person changed the answer, or deleted it and gave another.
        mine = [one for one in opinions if one.annotation in before or (before and one.by == self._author(image))]
        fresh = [one for one in mine if one.key not in keys]
        if fresh:
            change = f"image {image}: {name} → {self._name(fresh[-1].label)}"
            return self._event("corrected", image, fresh[-1]), [Discrepancy("corrected", image, change)]
        kind = "elsewhere" if mine else "conflict"
        return None, [Discrepancy(kind, image, f"{said}; the record keeps {name}")]

    def _event(self, kind: str, image: int, by: Opinion, votes: int = 1) -> Event:
        body: dict[str, Any] = {"key": by.key}
        if by.seconds is not None:
            body["seconds"] = by.seconds
        if votes > 1:
            body["votes"] = votes
        pick = self.state.pick(image)
        return Event(kind, pick.round if pick else self.state.number, image, by.label, by.by, body)

    def gone(self) -> list[Discrepancy]:
        """Say which tasks were deleted, and which answers that the record has taken."""
        found = []
        for image, pick in self.state.waiting.items():
            if pick.round < self.frame.pushed and image not in self.tasks:
                found.append(Discrepancy("task deleted", image, f"image {image}: pushed again"))
        for image in self.taken:
            if image in self.state.waiting or image in self.opinions:
                continue
            kept = f"image {image}: the record keeps {self._name(self._now(image))}"
            found.append(Discrepancy("answer deleted" if image in self.tasks else "task deleted", image, kept))
        return found

    def _now(self, image: int) -> int | None:
        return self.state.answers.get(image)

    def _author(self, image: int) -> str | None:
        return self.state.authors.get(image)

    def _name(self, label: int | None) -> str:
        return "can't tell" if label is None else self.frame.classes[label]

    def _said(self, image: int, opinions: Sequence[Opinion]) -> str:
        return f"image {image}: " + ", ".join(f"{one.by} → {self._name(one.label)}" for one in opinions)

    def _find(self, kind: str, image: int | None, what: str) -> None:
        self.findings.append(Discrepancy(kind, image, what))


def image_of(task: LabelStudioTask, pool: str) -> int | None:
    """Return which image of this pool a task shows; nothing where it is not one of ours."""
    image = task.meta.get(IMAGE)
    ours = task.meta.get(POOL) == pool and isinstance(image, int) and not isinstance(image, bool)
    return image if ours else None


def taken(state: State, project: int) -> Mapping[int, set[int]]:
    """Return which annotations the record has taken from a project, in whatever version, for each image."""
    found: dict[int, set[int]] = {}
    for key, written in state.keys.items():
        parts = key.split("-", 3)
        if len(parts) == 4 and parts[0] == "ls" and parts[1] == str(project) and parts[2].isdecimal():
            for _, image, _ in written:
                found.setdefault(image, set()).add(int(parts[2]))
    return found
