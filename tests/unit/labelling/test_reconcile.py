"""What people did in Label Studio, against the record: without a server, and with every order of things."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.labelling.consensus import OverlapRules
from asal.labelling.label_studio.client import Annotation, LabelStudioTask
from asal.labelling.label_studio.reconcile import TITLES, Report, Target, reconcile
from asal.session.events import Event, Record
from asal.session.state import State, fold

FRAME = Target(7, "pool", ("cat", "dog"), pushed=1)
IMAGES = (4, 9, 2)


class Place:
    """A record in which some images wait, and what Label Studio says of them."""

    def __init__(self, images: Sequence[int] = IMAGES) -> None:
        self.record = Record.open("sqlite://")
        opened = Event("opened", body={"format": 3, "pool": "pool", "classes": ["cat", "dog"], "seed": 0, "images": 20})
        asked = {"n": len(images), "strategy": "random", "ids": list(images), "scores": [0.0] * len(images)}
        self.record.append([opened, Event("asked", body=asked)], after=0)
        self.tasks = {image: self.task(image) for image in images}
        self._clock = itertools.count()

    @staticmethod
    def task(image: int, *said: Annotation, **meta: Any) -> LabelStudioTask:
        return LabelStudioTask(100 + image, {"asal_pool": "pool", "asal_id": image, "asal_round": 0, **meta}, said)

    def say(self, image: int, number: int, by: str, *choices: str) -> None:
        """Let a person answer, or change an answer; no choice is 'can't tell'."""
        at = f"2026-01-01T00:00:{next(self._clock):09.6f}Z"
        new = Annotation(number, by, choices, not choices, at, 2.0)
        others = [one for one in self.tasks[image].annotations if one.id != number]
        self.tasks[image] = self.task(image, *others, new)

    def unsay(self, image: int, number: int) -> None:
        self.tasks[image] = self.task(image, *(one for one in self.tasks[image].annotations if one.id != number))

    @property
    def state(self) -> State:
        return fold(State(), self.record.read())

    def pull(self, *more: LabelStudioTask) -> Report:
        """Reconcile, write, and check that once more writes nothing and says the same of what is still so."""
        state = self.state
        tasks = [*self.tasks.values(), *more]
        events, findings = reconcile(state, tasks, FRAME)
        self.record.append(events, after=state.seq)
        again, still = reconcile(self.state, tasks, FRAME)
        done = ("answered", "skipped", "corrected", "agreed")
        assert again == [] and still == [one for one in findings if one.kind not in done]
        return Report(tuple(findings), len(events), len(self.state.waiting))


def test_answers_and_skips_come_in_the_order_of_answering() -> None:
    place = Place()
    place.say(2, 11, "ada", "dog")
    place.say(4, 12, "bob")
    report = place.pull()
    written = place.record.read(2)
    assert [(one.kind, one.image, one.label, one.by) for one in written] == [
        ("answered", 2, 1, "ada"), ("skipped", 4, None, "bob"),
    ]  # fmt: skip
    assert written[0].body == {"key": "ls-7-11-2026-01-01T00:00:00.000000Z", "seconds": 2.0}
    assert (report.written, report.open) == (2, 1)
    assert report.images("answered") == [2] and report.images("skipped") == [4]


def test_people_who_agree_are_one_answer_and_people_who_do_not_are_told_of() -> None:
    place = Place()
    place.say(4, 11, "ada", "dog")
    place.say(4, 12, "bob", "dog")
    place.say(9, 13, "ada", "dog")
    place.say(9, 14, "bob", "cat")
    place.say(2, 15, "ada", "cat")
    place.say(2, 16, "bob")
    report = place.pull()
    assert dict(place.state.answers) == {4: 1} and list(place.state.waiting) == [9, 2]
    assert place.record.read(2)[0].body["votes"] == 2
    assert report.images("agreed") == [4] and report.images("conflict") == [2, 9]
    assert [one.what for one in report.discrepancies if one.kind == "conflict"] == [
        "image 2: ada → cat, bob → can't tell", "image 9: ada → dog, bob → cat",
    ]  # fmt: skip
    place.say(9, 14, "bob", "dog")  # they talk
    assert place.pull().images("answered") == [9]


def test_as_many_people_as_the_rules_want_settle_an_image_by_a_majority() -> None:
    place, frame = Place(), replace(FRAME, rules=OverlapRules(overlap=3))
    place.say(4, 11, "ada", "dog")
    place.say(4, 12, "bob", "cat")
    events, findings = reconcile(place.state, place.tasks.values(), frame)
    assert events == [] and [one.kind for one in findings] == ["few"]
    place.say(4, 13, "eva", "cat")
    (event,), findings = reconcile(place.state, place.tasks.values(), frame)
    assert (event.label, event.by, event.body["votes"]) == (0, "bob", 3)
    assert [one.kind for one in findings] == ["answered", "agreed"]
    place.record.append([event], after=2)
    assert reconcile(place.state, place.tasks.values(), frame) == ([], [])
    place.say(4, 13, "eva")
    events, findings = reconcile(place.state, place.tasks.values(), frame)
    assert events == [] and [one.kind for one in findings] == ["conflict"]


def test_a_persons_last_word_counts() -> None:
    place = Place()
    place.say(4, 11, "ada")
    place.say(4, 12, "ada", "cat")
    place.pull()
    assert dict(place.state.answers) == {4: 0} and not place.state.skips


def test_a_changed_answer_is_a_correction_and_the_same_answer_again_is_none() -> None:
    place = Place()
    place.say(4, 11, "ada", "cat")
    place.pull()
    place.say(4, 11, "ada", "cat")
    assert not place.pull().written
    place.say(4, 11, "ada", "dog")
    assert place.pull().images("corrected") == [4] and dict(place.state.answers) == {4: 1}
    place.say(4, 11, "ada")
    place.pull()
    assert dict(place.state.skips) == {4: None} and not place.state.answers


def test_an_answer_deleted_and_given_anew_is_a_correction() -> None:
    place = Place()
    place.say(4, 11, "ada", "cat")
    place.pull()
    place.unsay(4, 11)
    place.say(4, 12, "ada", "dog")
    assert place.pull().images("corrected") == [4]


def test_what_is_deleted_there_stays_in_the_record() -> None:
    place = Place()
    place.say(4, 11, "ada", "cat")
    place.say(9, 12, "ada", "cat")
    place.pull()
    place.unsay(4, 11)
    del place.tasks[9], place.tasks[2]
    report = place.pull()
    assert not report.written and dict(place.state.answers) == {4: 0, 9: 0}
    assert report.images("answer deleted") == [4] and report.images("task deleted") == [2, 9]


def test_somebody_elses_other_answer_corrects_nothing() -> None:
    place = Place()
    place.say(4, 11, "ada", "cat")
    place.pull()
    place.say(4, 12, "bob", "dog")
    assert place.pull().images("conflict") == [4]
    place.unsay(4, 11)
    assert place.pull().images("conflict") == [4] and dict(place.state.answers) == {4: 0}


def test_what_was_corrected_elsewhere_is_not_turned_back() -> None:
    place = Place()
    place.say(4, 11, "ada", "cat")
    place.say(9, 12, "ada", "cat")
    place.pull()
    seq = place.state.seq
    place.record.append([Event("corrected", 0, 4, 1, "eva"), Event("withdrawn", 0, 9, by="eva")], after=seq)
    report = place.pull()
    assert not report.written and report.images("elsewhere") == [4, 9]
    assert dict(place.state.answers) == {4: 1} and 9 in place.state.waiting
    place.record.append([Event("answered", 0, 9, 1, "eva")], after=seq + 2)
    assert place.pull().images("elsewhere") == [4, 9]


def test_an_image_answered_elsewhere_and_otherwise_is_told_of() -> None:
    place = Place()
    place.record.append([Event("answered", 0, 4, 1, "eva")], after=2)
    place.say(4, 11, "ada", "cat")
    report = place.pull()
    assert report.discrepancies[0].what == "image 4: ada → cat; the record keeps dog" and not report.written


def test_what_is_not_ours_is_told_of() -> None:
    place = Place()
    place.say(4, 11, "ada", "cow")
    place.say(9, 12, "ada", "cat", "dog")
    strangers = [
        LabelStudioTask(900, {}, ()),
        LabelStudioTask(901, {"asal_pool": "another", "asal_id": 4}, ()),
        LabelStudioTask(902, {"asal_pool": "pool", "asal_id": "4"}, ()),
        LabelStudioTask(903, {"asal_pool": "pool", "asal_id": True}, ()),
        LabelStudioTask(904, {"asal_pool": "pool", "asal_id": 17}, ()),
        LabelStudioTask(905, {"asal_pool": "pool", "asal_id": -3}, ()),
        LabelStudioTask(906, {"asal_pool": "pool", "asal_id": 2}, ()),
    ]
    report = place.pull(*strangers)
    assert not report.written
    counts = {kind: report.count(kind) for kind in TITLES if report.count(kind)}
    assert counts == {"no class": 2, "not asked": 2, "twice": 1, "foreign": 4}
    assert report.rows()[-1] == ("tasks of other origin", 4, "task 900; task 901; task 902; task 903")


def test_two_tasks_of_one_image_are_one_image() -> None:
    place = Place()
    twin = LabelStudioTask(
        900, {"asal_pool": "pool", "asal_id": 4}, (Annotation(12, "bob", ("dog",), False, "2026-02-01", None),)
    )
    place.say(4, 11, "ada", "cat")
    report = place.pull(twin)
    assert report.images("conflict") == [4] and report.images("twice") == [4] and not report.written


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_in_whatever_order_people_work_the_record_holds_what_they_agree_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place, number = Place(), itertools.count(1)
    for _ in range(rng.integers(1, 15)):
        image, by = int(rng.choice(IMAGES)), str(rng.choice(["ada", "bob"]))
        mine = [one.id for one in place.tasks[image].annotations if one.by == by]
        choices = [(), ("cat",), ("dog",)][rng.integers(3)]
        if rng.random() < 0.3:
            place.pull()
        elif mine and rng.random() < 0.2:
            place.unsay(image, mine[-1])
        else:
            place.say(image, mine[-1] if mine and rng.random() < 0.7 else next(number), by, *choices)
    report = place.pull()
    told = {image for kind in ("conflict", "answer deleted", "elsewhere") for image in report.images(kind)}
    state = place.state
    for image in IMAGES:
        last = {one.by: one.choices for one in sorted(place.tasks[image].annotations, key=lambda one: (one.at, one.id))}
        said = set(last.values())
        if image not in told:
            held = () if image in state.skips else None
            held = (FRAME.classes[state.answers[image]],) if image in state.answers else held
            assert said == ({held} if held is not None else set())
        if len(said) > 1:
            assert image in report.images("conflict")


def test_frames_of_other_projects_take_nothing_for_their_own() -> None:
    place = Place()
    place.say(4, 11, "ada", "cat")
    place.pull()
    events, findings = reconcile(place.state, [], Target(8, "pool", ("cat", "dog"), pushed=0))
    assert events == [] and findings == []


@pytest.mark.parametrize("kind", TITLES)
def test_every_kind_of_finding_is_shown(kind: str) -> None:
    assert len(Report().rows()) == len(TITLES) and TITLES[kind]
