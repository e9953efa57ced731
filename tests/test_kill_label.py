"""`kill -9` of the labelling server and of its worker while people answer: what was acknowledged is there, once.

ASAL_LABEL_KILLS sets how many kills there are (100 where it is not set; a fifth of them on PostgreSQL).
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from conftest import TINY, merged
from databases import fresh
from killing import Stubborn, Victim, run

from asal.events import Record
from asal.labelling.people import People
from asal.report import toml
from asal.spec import load
from asal.state import State, fold

KILLS = int(os.environ.get("ASAL_LABEL_KILLS", "100"))
BUDGET, BOTS = 250, 3


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_at_random_moments_no_acknowledged_answer_is_lost(
    kind: str, tiny: Path, request: pytest.FixtureRequest
) -> None:
    where = fresh(request.getfixturevalue("postgres")) if kind == "postgresql" else ""
    settings = {"protocol": {"batch": 20, "budget": BUDGET}, "labelling": {"record": where, "lease": 5.0}}
    (tiny / "asal.toml").write_text(toml(merged(TINY, settings)))
    with Record.open(load(tiny).labelling.place(tiny)) as record:
        people = People(record)
        tokens = [people.add(f"Person {number}") for number in range(BOTS)]
    kills, over = KILLS if kind == "sqlite" else max(1, KILLS // 5), threading.Event()
    with Victim(tiny, tiny / "said.txt") as victim:
        url = f"http://127.0.0.1:{victim.port}"
        bots = [Stubborn(url, token, random.Random(number), over, BUDGET) for number, token in enumerate(tokens)]
        done = run(victim, bots, kills, share=0.2, seed=5)
    print(kind, dict(done), "sent again:", sum(bot.repeats for bot in bots), "late:", sum(bot.late for bot in bots))
    assert done.total() == kills
    check(load(tiny).labelling.place(tiny), bots)
    assert "Traceback" not in (tiny / "said.txt").read_text()


def check(where: str | Path, bots: list[Stubborn]) -> None:
    with Record.open(where) as record:
        events = record.read()
    state = fold(State(), events)  # raises where one event contradicts another
    acknowledged = {image: label for bot in bots for image, label in bot.told.items()}
    assert {**state.answers, **dict.fromkeys(state.skips)} == acknowledged
    assert sum(len(bot.told) for bot in bots) == len(acknowledged), "two people's answers to one image count"
    assert state.spent >= BUDGET and not state.waiting
    written = Counter(event.body["key"].split(": ")[1] for event in events if event.by is not None)
    assert written == Counter(key for bot in bots for key in bot.keys), "an answer is missing, or was written twice"
