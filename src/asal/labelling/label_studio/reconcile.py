"""Compares the answers in Label Studio with the record: events to write, and a report of every difference.

A record is never rewritten to match Label Studio. Where people disagree, where something was deleted there, or where a
label is not one of the classes, the report says so and the record stays as it is.

>>> report = Report((Discrepancy("conflict", 7, "image 7: ada → cat, bob → dog"),))
>>> [row for row in report.rows() if row[1]]
[('people disagree', 1, 'image 7: ada → cat, bob → dog')]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asal.labelling.consensus import OverlapRules, majority
from asal.labelling.label_studio.client import Annotation, LabelStudioTask
from asal.session.events import Event
from asal.session.state import State

POOL, IMAGE, ROUND = "asal_pool", "asal_id", "asal_round"  # in a task's `meta`

TITLES = {  # every kind, in the order of the report
    "answered": "answered",
    "skipped": "can't tell",
    "corrected": "changed there: corrected",
    "agreed": "agreed by several people",
    "few": "answered by too few people",
    "conflict": "people disagree",
    "elsewhere": "corrected elsewhere",
    "answer deleted": "answers deleted there",
    "task deleted": "tasks deleted there",
    "no class": "answers that are not a class",
    "not asked": "tasks of images that were not asked",
    "twice": "images with several tasks",
    "foreign": "tasks of other origin",
}
SHOWN = 5  # examples of each kind in a report


class Discrepancy(NamedTuple):
    """One difference or change that a pull found."""

    kind: str  # of TITLES
    image: int | None
    what: str


@dataclass(frozen=True)
class Report:
    """What a pull found and wrote."""

    discrepancies: tuple[Discrepancy, ...] = ()
    written: int = 0  # events
    open: int = 0  # images
    missing: int = 0  # of these, those that are not in Label Studio

    def images(self, kind: str) -> list[int]:
        """Return the images of one kind, in the order of the discrepancies."""
        return [one.image for one in self.discrepancies if one.kind == kind and one.image is not None]

    def count(self, kind: str) -> int:
        """Return how many there are of a kind."""
        return sum(one.kind == kind for one in self.discrepancies)

    def rows(self) -> list[tuple[str, int, str]]:
        """Return (title, count, examples) for every kind, also if there is none."""
        by_kind: dict[str, list[str]] = {kind: [] for kind in TITLES}
        for each in self.discrepancies:
            by_kind[each.kind].append(each.what)
        return [(TITLES[kind], len(all_), _examples(all_)) for kind, all_ in by_kind.items()]


def _examples(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more


@dataclass(frozen=True)
class Target:
    """The Label Studio project, and what its answers are compared with."""

    project: int
    pool: str  # its fingerprint: ids of another pool mean other images
    classes: tuple[str, ...]
    pushed: int = 0  # rounds whose images have all been in Label Studio
    rules: OverlapRules = field(default_factory=OverlapRules)  # how many people an image wants


class Vote(NamedTuple):
    """One person's answer to one image."""

    at: str
    annotation: int
    by: str
    label: int | None  # None is "can't tell"
    seconds: float | None
    key: str  # of this version of the annotation


def reconcile(state: State, tasks: Iterable[LabelStudioTask], target: Target) -> tuple[list[Event], list[Discrepancy]]:
    """Return the events that bring the record up to date, in the order of answering, and all discrepancies.

    Cost: linear in the tasks and in what was ever taken from Label Studio.
    """
    held = _Held(state, target)
    for task in tasks:
        held.look(task)
    events, discrepancies = [], held.discrepancies
    for image, votes in sorted(held.votes.items()):
        event, found = held.judged(image, votes)
        events += [(max(votes), event)] if event else []
        discrepancies += found
    discrepancies += held.gone()
    events.sort(key=lambda pair: pair[0][:2])
    return [event for _, event in events], sorted(discrepancies, key=lambda one: list(TITLES).index(one.kind))


class _Held:
    """The answers in Label Studio by image, beside the record's state."""

    def __init__(self, state: State, target: Target) -> None:
        self.state, self.target = state, target
        self.discrepancies: list[Discrepancy] = []
        self.votes: dict[int, list[Vote]] = {}  # of asked images that somebody has answered
        self.tasks: dict[int, int] = {}  # image → how many tasks it has
        self.taken = taken(state, target.project)

    def look(self, task: LabelStudioTask) -> None:
        """Add a task: its image, and the answers to it."""
        image, state = image_of(task, self.target.pool), self.state
        if image is None:
            self._find("foreign", None, f"task {task.id}")
            return
        if image not in state.waiting and image not in state.answers and image not in state.skips:
            self._find("not asked", image, f"task {task.id}: image {image}")
            return
        self.tasks[image] = self.tasks.get(image, 0) + 1
        if self.tasks[image] == 2:
            self._find("twice", image, f"image {image}")
        newest = {one.by: one for one in self.votes.get(image, ())}
        for annotation in task.annotations:
            vote = self._vote(image, annotation)
            if vote and (annotation.by not in newest or vote > newest[annotation.by]):
                newest[annotation.by] = vote  # a person's last answer counts
        if newest:
            self.votes[image] = list(newest.values())

    def _vote(self, image: int, said: Annotation) -> Vote | None:
        key = f"ls-{self.target.project}-{said.id}-{said.at}"
        if said.skipped:
            return Vote(said.at, said.id, said.by, None, said.seconds, key)
        known = self.state.classes.known(said.choices[0]) if len(said.choices) == 1 else set()
        if len(known) != 1:
            names = ", ".join(map(repr, said.choices)) or "nothing"
            self._find("no class", image, f"image {image}: {said.by} → {names}")
            return None
        return Vote(said.at, said.id, said.by, known.pop(), said.seconds, key)

    def judged(self, image: int, votes: list[Vote]) -> tuple[Event | None, list[Discrepancy]]:
        """Return the event to write for an image, if any, and its discrepancies."""
        votes.sort()
        open_, said = image in self.state.waiting, self._said(image, votes)
        if open_ and len(votes) < (wanted := self.target.rules.wanted(image)):
            return None, [Discrepancy("few", image, f"{said}; {wanted} people are wanted")]
        verdict = majority({one.by: one.label for one in votes})
        if verdict is None:
            kept = "" if open_ else f"; the record keeps {self._name(self._now(image))}"
            return None, [Discrepancy("conflict", image, said + kept)]
        side = [one for one in votes if one.label == verdict.label]
        if open_:
            return self._answered(image, side, votes)
        if verdict.label == self._now(image):
            return None, []
        return self._changed(image, side)

    def _answered(self, image: int, side: list[Vote], votes: list[Vote]) -> tuple[Event | None, list[Discrepancy]]:
        said, fresh = self._said(image, votes), [one for one in side if one.key not in self.state.keys]
        if not fresh:  # the answer was taken, and then taken back
            return None, [Discrepancy("elsewhere", image, f"{said}; in the record it is open again")]
        kind = "skipped" if fresh[0].label is None else "answered"
        found = [Discrepancy(kind, image, f"image {image}")]
        if len(votes) > 1:
            found.append(Discrepancy("agreed", image, said))
        return self._event(kind, image, fresh[0], len(votes)), found

    def _changed(self, image: int, votes: list[Vote]) -> tuple[Event | None, list[Discrepancy]]:
        """Compare an image whose label in the record differs from that in Label Studio."""
        keys, before = self.state.keys, self.taken.get(image, set())
        name, said = self._name(self._now(image)), self._said(image, votes)
        # A person changed the answer, or deleted it and gave another.
        mine = [one for one in votes if one.annotation in before or (before and one.by == self._author(image))]
        fresh = [one for one in mine if one.key not in keys]
        if fresh:
            change = f"image {image}: {name} → {self._name(fresh[-1].label)}"
            return self._event("corrected", image, fresh[-1]), [Discrepancy("corrected", image, change)]
        kind = "elsewhere" if mine else "conflict"
        return None, [Discrepancy(kind, image, f"{said}; the record keeps {name}")]

    def _event(self, kind: str, image: int, by: Vote, votes: int = 1) -> Event:
        body: dict[str, Any] = {"key": by.key}
        if by.seconds is not None:
            body["seconds"] = by.seconds
        if votes > 1:
            body["votes"] = votes
        pick = self.state.pick(image)
        return Event(kind, pick.round if pick else self.state.number, image, by.label, by.by, body)

    def gone(self) -> list[Discrepancy]:
        """Return the deleted tasks, and deleted answers that the record holds."""
        found = []
        for image, pick in self.state.waiting.items():
            if pick.round < self.target.pushed and image not in self.tasks:
                found.append(Discrepancy("task deleted", image, f"image {image}: pushed again"))
        for image in self.taken:
            if image in self.state.waiting or image in self.votes:
                continue
            kept = f"image {image}: the record keeps {self._name(self._now(image))}"
            found.append(Discrepancy("answer deleted" if image in self.tasks else "task deleted", image, kept))
        return found

    def _now(self, image: int) -> int | None:
        return self.state.answers.get(image)

    def _author(self, image: int) -> str | None:
        return self.state.authors.get(image)

    def _name(self, label: int | None) -> str:
        return self.state.classes.name(label)

    def _said(self, image: int, votes: Sequence[Vote]) -> str:
        return f"image {image}: " + ", ".join(f"{one.by} → {self._name(one.label)}" for one in votes)

    def _find(self, kind: str, image: int | None, what: str) -> None:
        self.discrepancies.append(Discrepancy(kind, image, what))


def image_of(task: LabelStudioTask, pool: str) -> int | None:
    """Return the image of this pool that a task shows, or None."""
    image = task.meta.get(IMAGE)
    ours = task.meta.get(POOL) == pool and isinstance(image, int) and not isinstance(image, bool)
    return image if ours else None


def taken(state: State, project: int) -> Mapping[int, set[int]]:
    """Return the annotations of a project that the record holds, in any version, for each image."""
    found: dict[int, set[int]] = {}
    for key, written in state.keys.items():
        parts = key.split("-", 3)
        if len(parts) == 4 and parts[0] == "ls" and parts[1] == str(project) and parts[2].isdecimal():
            for _, image, _ in written:
                found.setdefault(image, set()).add(int(parts[2]))
    return found
