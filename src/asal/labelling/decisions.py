"""What an answer writes, as things stand: a pure function of the state, so that every desk decides alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asal.errors import UserError
from asal.labelling.annotators import Annotator
from asal.labelling.consensus import Opinions, OverlapRules, settled
from asal.session.events import Event
from asal.session.state import State


@dataclass(frozen=True)
class Answer:
    """One image's. A label of None is "can't tell"."""

    image: int
    label: int | None
    seconds: float | None = None  # how long the person looked
    guess: bool = False  # whether they had looked at the classifier's guess


def distinct(answers: Sequence[Answer], classes: Sequence[str]) -> list[Answer]:
    """Return answers that can be taken together.

    Raises:
        UserError: an image comes twice, or a label is no class.
    """
    seen: set[int] = set()
    for answer in answers:
        if answer.image in seen:
            raise UserError(f"image {answer.image} comes twice", rule="an image is answered once", hint="send it once")
        if answer.label is not None and not 0 <= answer.label < len(classes):
            raise UserError(
                f"{answer.label} for image {answer.image}",
                rule=f"a label is a class's number, 0 … {len(classes) - 1}, or null",
                hint='send the number of a class, or null for "can\'t tell"',
            )
        seen.add(answer.image)
    return list(answers)


def told(state: State, rules: OverlapRules, who: Annotator, answer: Answer) -> list[Event]:
    """Return what one answer writes; nothing where it was so before.

    Raises:
        UserError: nobody asked for the image.
    """
    image, body = answer.image, _body(answer)
    if image in state.answers or image in state.skips:
        return _afterwards(state, who, answer, body)
    if image not in state.waiting:
        raise UserError(
            f"image {image}, which was not",
            rule="an answer belongs to an image that was asked",
            hint="answer those that `next` gives",
        )
    before, number = state.votes.get(image, {}), state.waiting[image].round
    if rules.wanted(image) == 1 and not before:
        return [_closing(number, answer, who, body)]
    opinions = {**before, who.name: answer.label}
    settles = rules.disputed(image, before) and who.adjudicates
    vote = [] if before == opinions else [Event("voted", number, image, answer.label, who.name, body)]
    if settles:
        return [*vote, _closing(number, answer, who, {"votes": len(opinions), "final": True})]
    final = settled(opinions) if len(opinions) >= rules.wanted(image) else None
    if final is None:
        return vote
    return [*vote, _closing(number, Answer(image, final.label), who, {"votes": len(opinions)})]


def _afterwards(state: State, who: Annotator, answer: Answer, body: dict[str, Any]) -> list[Event]:
    """Return what an answer to a closed image writes: a correction by whose it is, else one more opinion.

    Nobody outvotes by a late opinion what another person alone has answered, nor what an adjudicator has settled.
    """
    image, before = answer.image, state.answers.get(answer.image)
    opinions: Opinions = state.votes.get(image, {})
    pick, author = state.pick(image), state.authors.get(image)
    if who.adjudicates or (author == who.name and who.name not in opinions):
        body |= {"final": True} if who.adjudicates else {}
        # An adjudicator who confirms what opinions came to, or one person said, makes it final: that is written.
        firm = image in state.final or (author == who.name and who.name not in opinions)
        if before == answer.label and firm:
            return []
        return [Event("corrected", state.number, image, answer.label, who.name, body)]
    if who.name in opinions and opinions[who.name] == answer.label:
        return []
    events = [Event("voted", pick.round if pick else 0, image, answer.label, who.name, body)]
    if who.name in opinions and author in opinions and image not in state.final:
        now = settled({**opinions, who.name: answer.label})
        if now is not None and now.label != before:
            events.append(Event("corrected", state.number, image, now.label, who.name))
    return events


def check_own(state: State, who: Annotator, image: int) -> None:
    """Refuse to change what somebody else answered.

    Raises:
        UserError: it is another person's, or nobody's.
    """
    voted = who.name in state.votes.get(image, {})
    if image not in state.answers and image not in state.skips and not voted:
        raise UserError(f"image {image} has none", rule="what is changed is an answer", hint="answer it first")
    if not voted and not who.adjudicates and state.authors.get(image) != who.name:
        raise UserError(
            f"image {image}, which somebody else answered",
            rule="everybody changes their own answers, and an adjudicator all",
            hint="ask an adjudicator",
        )


def taken_back(state: State, rules: OverlapRules, who: Annotator, image: int) -> list[Event]:
    """Return what it writes to take an answer of one's own back.

    Raises:
        UserError: it is not one's own, it was settled without it, or its image was never asked.
    """
    opinions = state.votes.get(image, {})
    if image in state.waiting:
        if who.name not in opinions:
            raise UserError(f"image {image} has none", rule="what is taken back is an answer", hint="answer it first")
    elif not _settles(state, rules, who, image):
        check_own(state, who, image)
        raise UserError(
            f"image {image}, which others have settled",
            rule="what is taken back is an answer that counts",
            hint="correct it instead",
        )
    pick = state.pick(image)
    if pick is None:
        raise UserError(
            f"image {image}, whose label was imported",
            rule="what can be taken back is an answer to an image that was asked",
            hint="correct it instead",
        )
    return [Event("withdrawn", pick.round, image, None, who.name)]


def _settles(state: State, rules: OverlapRules, who: Annotator, image: int) -> bool:
    """Say whether a closed image would be open without somebody's word."""
    author, opinions = state.authors.get(image), state.votes.get(image, {})
    if image not in state.answers and image not in state.skips:
        return False
    if author == who.name:
        return True
    if who.name not in opinions or author not in opinions or image in state.final:
        return False  # a late opinion, beside what another person has settled
    rest = {name: label for name, label in opinions.items() if name != who.name}
    found = settled(rest) if len(rest) >= rules.wanted(image) else None
    return found is None or found.label != state.answers.get(image)


def _body(answer: Answer) -> dict[str, Any]:
    body = {"seconds": answer.seconds, "guess": answer.guess or None}
    return {name: value for name, value in body.items() if value is not None}


def _closing(number: int, answer: Answer, who: Annotator, body: dict[str, Any]) -> Event:
    kind = "skipped" if answer.label is None else "answered"
    return Event(kind, number, answer.image, answer.label, who.name, body)
