"""One round of a run, as a line of `rows.jsonl`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from asal.runtime.meter import Meter

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class RoundRow:
    """What one round measured; k classes. Its fields are the keys on disk, in their order.

    Optional values are None where the asal that wrote the row had no such key.
    """

    strategy: str
    seed: int
    round: int
    labels: int  # how many were labelled when the classifier was trained
    accuracy: float | None  # on the test set, 0 … 1; None where people label and there is no test set
    mean_score: float | None  # of the picks made after this training; None where none were made
    class_counts: tuple[int, ...]  # (k,)
    evaluations: int  # pool images that went through the classifier for those picks
    generated: int | None  # synthetic images that went through it
    seconds: Mapping[str, float]  # by Meter.PARTS
    index: Json = field(default_factory=dict)  # checks of an approximate index; empty where none was searched
    last: bool | None = None  # whether the run ended here
    spec_hash: str | None = None
    commit: str | None = None  # of asal's source tree; on disk wherever `spec_hash` is
    validation: float | None = None  # accuracy on the validation set, where people label
    look: Json | None = None  # what the stopping criteria compare, where people label
    extra: Json = field(default_factory=dict)  # keys of a newer asal: kept, so that rewriting a file loses nothing

    @classmethod
    def from_json(cls, facts: Json) -> RoundRow:
        """Return the row that `to_json` wrote, or an older asal did.

        Raises:
            Exception: it is not a row; one of NOT_A_ROW.

        >>> old = {"strategy": "random", "seed": 0, "round": 1, "labels": 10, "accuracy": 0.5, "mean_score": None}
        >>> old |= {"class_counts": [4, 6], "evaluations": 0, "seconds": dict.fromkeys(Meter.PARTS, 0.1)}
        >>> row = RoundRow.from_json(old)
        >>> row.generated is None and row.last is None and row.to_json() == old
        True
        """
        if not isinstance(facts, Mapping):
            raise TypeError("it is not a JSON object")
        if missing := [name for name in REQUIRED if name not in facts]:
            raise KeyError(f"it lacks '{missing[0]}'")
        known = {"generated": None} | {name: facts[name] for name in NAMES if name in facts}
        counts, extra = tuple(map(int, known["class_counts"])), {k: v for k, v in facts.items() if k not in NAMES}
        row = cls(**known | {"class_counts": counts, "seconds": dict(known["seconds"]), "extra": extra})
        row._check()
        return row

    def _check(self) -> None:
        for name in ("seed", "round", "labels", "evaluations", *(["generated"] if self.generated is not None else [])):
            if type(getattr(self, name)) is not int:
                raise TypeError(f"{name} is not a whole number")
        if missing := [part for part in Meter.PARTS if part not in self.seconds]:
            raise KeyError(f"its seconds lack '{missing[0]}'")
        measured = {f"seconds of '{part}'": self.seconds[part] for part in Meter.PARTS}
        for name, value in (measured | {"mean_score": self.mean_score or 0.0}).items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} = {value} is not a finite number")
        if not isinstance(self.index, Mapping):
            raise TypeError("index is not a JSON object")
        if self.accuracy is not None and not 0 <= self.accuracy <= 1:
            raise ValueError(f"accuracy = {self.accuracy} is not between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        """Return the row as `rows.jsonl` holds it; keys that were absent stay absent."""
        values = {name: getattr(self, name) for name in NAMES}
        values |= {"class_counts": list(self.class_counts), "seconds": dict(self.seconds)}
        absent = {name for name in ("generated", "last", "spec_hash", "validation", "look") if values[name] is None}
        absent |= {"commit"} if self.spec_hash is None else set()
        absent |= set() if self.index else {"index"}
        return {name: value for name, value in values.items() if name not in absent} | dict(self.extra)


NAMES = tuple(one.name for one in fields(RoundRow) if one.name != "extra")
# What reading a line raises that is no row: huge numbers overflow, and deep nesting exceeds the recursion limit.
NOT_A_ROW = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
REQUIRED = tuple(name for name in NAMES[: NAMES.index("index")] if name != "generated")
