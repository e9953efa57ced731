"""Short sessions on a toy world: for tests that begin a session, answer it, and open it again.

>>> session = begin("sqlite://")
>>> play(session, rounds=2, n=5).counts
{'zero': 4, 'one': 5, 'two': 1}
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Round, Selection
from asal.session.events import Record
from asal.session.plan import Plan
from asal.session.session import Session
from asal.testing.toys import toy_world


def unsure(now: Round, n: int, rng: np.random.Generator) -> Selection:
    """Choose the least certain of twelve random images: depends on the stream, the model, and what is labelled."""
    ids = now.candidates.sample(min(max(n, 12), len(now.candidates)), rng)
    scores = 1 - now.predict(ids).max(axis=1)
    rows = np.argsort(-scores, kind="stable")[:n]
    return Selection(ids[rows], scores[rows], [{"row": row, "score": scores[row]} for row in rows])


WORLD = toy_world(images=40, classes=3, seed=4)
PLAN = Plan(WORLD.classes, WORLD.learner, unsure, name="unsure", seed=11)


def begin(where: str | Path | Record, **changes: Any) -> Session:
    """Open a session on the toy world, with some of the plan's fields changed."""
    record = where if isinstance(where, Record) else Record.open(where)
    return Session(WORLD.pool, record, replace(PLAN, **changes), WORLD.tools)


def again(session: Session, **changes: Any) -> Session:
    """Open the same session once more, as another process would."""
    return Session(session.pool, Record.open(session.record.name), replace(session.plan, **changes), WORLD.tools)


def play(session: Session, rounds: int, n: int = 5) -> Session:
    """Ask for n images and answer them truly, so many times; return the session."""
    for _ in range(rounds):
        session.tell(WORLD.answers(session.ask(n).ids), by="the truth")
    return session
