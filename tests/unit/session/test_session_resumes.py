"""A session cut at any moment ends as one that never was: same batches, same state, no answer lost."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asal.errors import UserError
from asal.session.events import Record
from asal.testing.toy_sessions import WORLD, again, begin, play

FULL_STORY = 6  # rounds of five


def work(path: str) -> None:
    """Ask and tell, one answer at a time, printing every acknowledged one; in a process of its own."""
    session = begin(path)
    while len(session.labelled) < 5 * FULL_STORY:
        for image, label in WORLD.answers(session.ask(5).ids).items():
            session.tell({image: label}, by="work")
            print(image, label, flush=True)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    code = "import sys; sys.path = eval(sys.argv[1]); from test_session_resumes import work; work(sys.argv[2])"
    paths = repr([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", code, paths, str(tmp_path / "cut.db")]
    acknowledged: dict[int, int] = {}
    for turn in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            lines = [worker.stdout.readline()]
            time.sleep(0.002 + 0.005 * turn)
            worker.kill()
            lines += worker.stdout.read().splitlines(keepends=True)
        acknowledged |= {int(i): int(k) for i, k in (line.split() for line in lines if line.endswith("\n"))}
        with Record.open(tmp_path / "cut.db") as record:
            answers = begin(record).state.answers
        assert acknowledged.items() <= answers.items(), "an acknowledged answer is lost"
        assert len(answers) <= len(acknowledged) + turn + 1, "an answer was written that nobody gave"
    with Record.open(tmp_path / "cut.db") as cut, Record.open(tmp_path / "uncut.db") as uncut:
        ended, expected = begin(cut), play(begin(uncut), FULL_STORY)
        while len(ended.labelled) < 5 * FULL_STORY:
            ended.tell(WORLD.answers(ended.ask(5).ids))
        assert ended.state.rounds == expected.state.rounds
        assert ended.state.answers == expected.state.answers


# Any story at all ----------------------------------------------------------------------------------------------------


class AnyStory(RuleBasedStateMachine):
    """Plays one story in a session that is cut and reopened at any moment, and in one that never is."""

    labels = st.one_of(st.none(), st.integers(0, 2))

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.cut = begin(Path(self.folder.name) / "labels.db")
        self.uncut = begin("sqlite://")
        self.given: dict[int, int | None] = {}

    @rule(n=st.integers(1, 7))
    def ask(self, n: int) -> None:
        if not self.uncut.left and not self.uncut.state.waiting:
            with pytest.raises(UserError, match="are left"):
                self.cut.ask(n)
            return
        batches = [self.cut.ask(n), self.uncut.ask(n)]
        assert batches[0].ids.tolist() == batches[1].ids.tolist()
        assert batches[0].notes == batches[1].notes
        assert not set(batches[0].ids.tolist()) & set(self.given)

    @precondition(lambda self: self.uncut.state.waiting)
    @rule(data=st.data())
    def tell(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(self.uncut.state.open.tolist()), unique=True))
        answers = {image: data.draw(self.labels) for image in some}
        assert self.cut.tell(answers) == self.uncut.tell(answers)
        self.given |= answers

    @rule(repeat=st.integers(1, 3))
    def tell_all(self, repeat: int) -> None:
        for _ in range(repeat):
            answers = WORLD.answers(self.uncut.state.open)
            for session in (self.cut, self.uncut):
                session.tell(answers)
                if session.left:
                    session.ask(1)
            self.given |= answers

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def correct(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(self.given)), unique=True, max_size=3))
        answers = {image: data.draw(self.labels) for image in some}
        self.cut.correct(answers)
        self.uncut.correct(answers)
        self.given |= answers

    @rule(image=st.integers(-2, 45), label=st.integers(-1, 4))
    def tell_anything(self, image: int, label: int) -> None:
        if image not in self.uncut.state.waiting or label not in range(3):
            before = self.cut.state
            with pytest.raises(UserError):
                self.cut.tell({image: label})
            assert self.cut.state is before

    @rule()
    def cut_and_reopen(self) -> None:
        self.cut.record.close()
        self.cut = again(self.cut)

    @invariant()
    def both_know_the_same(self) -> None:
        if not hasattr(self, "cut"):
            return
        state = self.cut.state
        assert state == self.uncut.state
        assert dict(state.answers) == {image: label for image, label in self.given.items() if label is not None}
        assert set(state.skips) == {image for image, label in self.given.items() if label is None}
        asked = [image for past in state.rounds for image in past.ids]
        assert len(asked) == len(set(asked)) == 40 - self.cut.left
        assert set(asked) == set(state.answers) | set(state.skips) | set(state.waiting)

    def teardown(self) -> None:
        if hasattr(self, "cut"):
            self.cut.record.close()
            self.folder.cleanup()


TestAnyStory = pytest.mark.slow(AnyStory.TestCase)
TestAnyStory.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
