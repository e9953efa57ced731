"""The events that an answer writes: a pure function of the state, so that all servers decide alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asal.errors import UserError
from asal.labelling.annotators import Annotator
from asal.labelling.consensus import OverlapRules, Votes, majority
from asal.session.classes import ClassList
from asal.session.events import Event
from asal.session.state import State


@dataclass(frozen=True)
class Answer:
    """An answer to one image. A label of None is "can't tell"."""

    image: int
    label: int | None
    seconds: float | None = None  # how long the person looked
    guess: bool = False  # whether the person had seen the classifier's guess


def check_answers(answers: Sequence[Answer], classes: ClassList | Sequence[str]) -> list[Answer]:
    """Return answers that can be written together. A label of a merged class may be: it counts as the other class.

    Raises:
        UserError: an image occurs twice, or a label is not a class, or one that was dropped.
    """
    known = classes if isinstance(classes, ClassList) else ClassList.of(classes)
    seen: set[int] = set()
    for answer in answers:
        if answer.image in seen:
            raise UserError(f"image {answer.image} occurs twice in one request", hint="send each image once")
        if answer.label is not None:
            _check_label(answer.label, answer.image, known)
        seen.add(answer.image)
    return list(answers)


def _check_label(label: int, image: int, classes: ClassList) -> None:
    if not 0 <= label < len(classes.names):
        raise UserError(
            f"the label {label} for image {image} is not a class",
            rule=f"the classes are 0 … {len(classes.names) - 1}",
            hint='send the number of a class, or null for "can\'t tell"',
        )
    if classes.present(label) is None:
        raise UserError(
            f"the class '{classes.names[label]}' was dropped: image {image} is not answered",
            rule=f"the classes are {', '.join(classes.numbers)}",
            hint="answer it with another class; a reload of the page shows those that there are",
        )


def answer_events(state: State, rules: OverlapRules, who: Annotator, answer: Answer) -> list[Event]:
    """Return the events of one answer; none where it changes nothing.

    Raises:
        UserError: nobody asked for the image.
    """
    image, body = answer.image, _body(answer)
    if image in state.answers or image in state.skips:
        return _late_events(state, who, answer, body)
    if image not in state.waiting:
        raise UserError(f"image {image} was never asked", hint="answer the images that `next` gives")
    before, number = state.votes.get(image, {}), state.waiting[image].round
    if rules.wanted(image) == 1 and not before:
        return [_closing(number, answer, who, body)]
    votes = {**before, who.name: state.classes.present(answer.label)}
    decides = rules.disputed(image, before) and who.adjudicates
    vote = [] if before == votes else [Event("voted", number, image, answer.label, who.name, body)]
    if decides:
        return [*vote, _closing(number, answer, who, {"votes": len(votes), "final": True})]
    final = majority(votes) if len(votes) >= rules.wanted(image) else None
    if final is None:
        return vote
    label = _as_said(state, who, answer, final.label)
    return [*vote, _closing(number, Answer(image, label), who, {"votes": len(votes)})]


def _as_said(state: State, who: Annotator, answer: Answer, label: int | None) -> int | None:
    """Return the label of the majority as it was said, if all of it said the same: a merger can be taken back."""
    votes = {**state.raw_votes.get(answer.image, {}), who.name: answer.label}
    said = {vote for vote in votes.values() if state.classes.present(vote) == label}
    return said.pop() if len(said) == 1 else label


def _late_events(state: State, who: Annotator, answer: Answer, body: dict[str, Any]) -> list[Event]:
    """Return the events of an answer to a closed image: a correction by its author, otherwise one more vote.

    A late vote changes neither what another person alone has answered, nor what an adjudicator has decided.
    """
    image, before, label = answer.image, state.answers.get(answer.image), state.classes.present(answer.label)
    votes: Votes = state.votes.get(image, {})
    pick, author = state.pick(image), state.authors.get(image)
    if who.adjudicates or (author == who.name and who.name not in votes):
        body |= {"final": True} if who.adjudicates else {}
        # An adjudicator who confirms the majority, or one person's answer, makes it final: that is written.
        is_final = image in state.final or (author == who.name and who.name not in votes)
        if before == label and is_final:
            return []
        return [Event("corrected", state.number, image, answer.label, who.name, body)]
    if who.name in votes and votes[who.name] == label:
        return []
    events = [Event("voted", pick.round if pick else 0, image, answer.label, who.name, body)]
    if who.name in votes and author in votes and image not in state.final:
        now = majority({**votes, who.name: label})
        if now is not None and now.label != before:
            events.append(Event("corrected", state.number, image, _as_said(state, who, answer, now.label), who.name))
    return events


def settled_events(before: State, after: State, rules: OverlapRules) -> list[Event]:
    """Return the answers to open images whose votes agree since classes were merged or dropped.

    Each is signed by the one who voted last, as if that vote had settled it.
    """
    events = []
    for image in before.waiting.keys() & after.votes.keys():
        votes = after.votes[image]
        verdict = majority(votes) if votes and len(votes) >= rules.wanted(image) else None
        if verdict is not None and majority(before.votes[image]) is None:
            kind, last = "skipped" if verdict.label is None else "answered", list(votes)[-1]
            events.append(Event(kind, before.waiting[image].round, image, verdict.label, last, {"votes": len(votes)}))
    return sorted(events, key=lambda event: event.image or 0)


def check_own(state: State, who: Annotator, image: int) -> None:
    """Check that somebody may change an answer.

    Raises:
        UserError: it is another person's, or there is none.
    """
    voted = who.name in state.votes.get(image, {})
    if image not in state.answers and image not in state.skips and not voted:
        raise _no_answer(image)
    if not voted and not who.adjudicates and state.authors.get(image) != who.name:
        raise UserError(
            f"somebody else answered image {image}",
            rule="annotators change their own answers, an adjudicator all",
            hint="ask an adjudicator",
        )


def withdrawal_events(state: State, rules: OverlapRules, who: Annotator, image: int) -> list[Event]:
    """Return the events of withdrawing one's own answer.

    Raises:
        UserError: it is somebody else's, others decided without it, or its image was never asked.
    """
    votes = state.votes.get(image, {})
    if image in state.waiting:
        if who.name not in votes:
            raise _no_answer(image)
    elif not _decides(state, rules, who, image):
        check_own(state, who, image)
        raise UserError(
            f"image {image} has been decided by others",
            rule="only an answer that decides can be withdrawn",
            hint="correct it instead",
        )
    pick = state.pick(image)
    if pick is None:
        raise UserError(
            f"the label of image {image} was imported",
            rule="only an answer to an image that was asked can be withdrawn",
            hint="correct it instead",
        )
    return [Event("withdrawn", pick.round, image, None, who.name)]


def _no_answer(image: int) -> UserError:
    return UserError(f"image {image} has no answer of yours", hint="answer it first")


def _decides(state: State, rules: OverlapRules, who: Annotator, image: int) -> bool:
    """Say whether a closed image would be open without somebody's answer."""
    author, votes = state.authors.get(image), state.votes.get(image, {})
    if image not in state.answers and image not in state.skips:
        return False
    if author == who.name:
        return True
    if who.name not in votes or author not in votes or image in state.final:
        return False  # a late vote
    rest = {name: label for name, label in votes.items() if name != who.name}
    result = majority(rest) if len(rest) >= rules.wanted(image) else None
    return result is None or result.label != state.answers.get(image)


def _body(answer: Answer) -> dict[str, Any]:
    body = {"seconds": answer.seconds, "guess": answer.guess or None}
    return {name: value for name, value in body.items() if value is not None}


def _closing(number: int, answer: Answer, who: Annotator, body: dict[str, Any]) -> Event:
    kind = "skipped" if answer.label is None else "answered"
    return Event(kind, number, answer.image, answer.label, who.name, body)
