"""Why an image was asked about, in words: the one place where the notes of strategies become what a person reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Notes: TypeAlias = Mapping[str, Any]
Line: TypeAlias = tuple[str, str]  # what, and its value

SYNTHETIC = "The generator made this image; nobody has seen it before. If it shows nothing, answer that you can't tell."
HIGHEST = "The strategy gave this image one of the highest scores of those that it considered."
LESS_SURE = "The classifier is less sure of this image than of most"  # it may be sure of all of them
STANDS = "It stands for others that are unlike what is labelled."
FROM_GENERATOR = "The generator made an image that the classifier was unsure of; this real image is close to it."
FIRST = {  # of strategies that need no classifier
    "typiclust": " It is typical of a group of images of which none, or few, are labelled.",
    "max-herding": " It stands for many others that are unlike what is labelled.",
    "prob-cover": " It has many images near it that are unlike what is labelled.",
}
OTHERS = {"random": "This image was drawn at random."}  # of strategies without a score
RANGES = {"margin": (-1.0, 0.0), "least-confidence": (0.0, 1.0)}  # of scores
SOURCES = {  # where a pick came from, as a strategy notes it: a sentence, and a value in the table
    "random": (f"{LESS_SURE} that were drawn at random.", "at random"),
    "search": (
        "A search in feature space found this image: it is near a point where the classifier is less sure.",
        "by a search in feature space",
    ),
    "neighbours": (f"{LESS_SURE}; it is a neighbour of labelled ones.", "beside labelled images"),
    "generator": (FROM_GENERATOR, "by the generator"),
}


def sentence(notes: Notes, strategy: str = "", because: str | None = None, *, synthetic: bool = False) -> str:
    """Return why an image was chosen, in a sentence or two.

    Args:
        notes: the strategy's, of this image; none where they are not known.
        strategy: that chose.
        because: why there was no classifier, where there was none.
        synthetic: whether the image itself is a synthetic one.
    """
    if synthetic:
        return SYNTHETIC
    if because:
        first = f"This image was chosen without a classifier, as those of a first batch are: {because}."
        return first + FIRST.get(strategy, "")
    source = "generator" if "synthetic_score" in notes else notes.get("source")
    stands = "gain" in notes and "score" in notes
    said = SOURCES[source][0] if source in SOURCES else f"{LESS_SURE}." if stands else OTHERS.get(strategy, HIGHEST)
    return f"{said} {STANDS}" if stands else said


def lines(notes: Notes, score: str = "") -> list[Line]:
    """Return the notes of a strategy as lines of a table, those that people can make most of first.

    Args:
        score: the name of what ranks images.

    >>> lines({"score": -0.25, "gain": 3.21, "labelled_distance": 4.5}, "margin")[0]
    ('its two likeliest classes', '25% apart')
    """
    known = {key: value for key, value in notes.items() if isinstance(value, int | float | str) and value != ""}
    found = []
    for key in (*WORDS, *sorted(known.keys() - WORDS.keys())):
        if key in known and (line := _line(key, known[key], known, score)):
            found.append(line)
    return found


def _line(key: str, value: Any, notes: Notes, score: str) -> Line | None:
    if key in WORDS:
        return WORDS[key](value, notes, score)
    return (key.replace("_", " "), rounded(value)) if isinstance(value, int | float) else None


def rounded(value: float | bool) -> str:
    """Return a number with three digits that count; yes or no.

    >>> [rounded(value) for value in (0.012345, 3.0, 12345.6, True)]
    ['0.0123', '3', '12,346', 'yes']
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"


def uncertainty(score: str, value: float) -> Line:
    """Return what a score says of an image; one that an image cannot have was another one, before a default changed.

    >>> uncertainty("least-confidence", 0.6), uncertainty("margin", -0.001)
    (('its likeliest class', '40% sure'), ('its two likeliest classes', 'less than 1% apart'))
    """
    low, high = RANGES.get(score, (value, value))
    if not low <= value <= high:
        return "score", rounded(value)
    if score == "margin":
        percent = round(-100 * value)
        apart = "less than 1%" if percent < 1 else "more than 99%" if percent > 99 else f"{percent}%"
        return "its two likeliest classes", f"{apart} apart"
    if score == "least-confidence":
        return "its likeliest class", f"{1 - value:.0%} sure"
    if score == "entropy":
        return "entropy of its classes", f"{value:.2f} nats"
    return score.replace("-", " ") or "score", rounded(value)


def _source(value: Any, notes: Notes, score: str) -> Line | None:
    return ("found", SOURCES[value][1]) if value in SOURCES else None


def _weight(value: float, notes: Notes, score: str) -> Line | None:
    few = "few" if value > 1 else "many"
    return "weight of its classes", f"{value:.2f}" + (f" ({few} labels)" if abs(value - 1) >= 0.05 else "")


def _distance(value: float, notes: Notes, score: str) -> Line | None:
    searched = notes.get("source") == "search"
    return "distance to what was found" if searched else "distance to the synthetic image", rounded(value)


WORDS: Mapping[str, Callable[[Any, Notes, str], Line | None]] = {  # in the order of the table
    "source": _source,
    "score": lambda value, notes, score: uncertainty(score, value),
    "class_weight": _weight,
    "gain": lambda value, notes, score: (
        "uncertainty that it stands for" if {"score", "uncertainty"} & notes.keys() else "what it stands for",
        rounded(value) if value >= 0.01 else "less than 0.01",
    ),
    "labelled_distance": lambda value, notes, score: ("distance to the nearest labelled", rounded(value)),
    "start": lambda value, notes, score: ("the search began at", f"image {value}"),
    "distance": _distance,
    "synthetic_score": lambda value, notes, score: ("of the synthetic image", _unnamed(score, value)),
}


def _unnamed(score: str, value: float) -> str:
    return ": ".join(uncertainty(score, value))
