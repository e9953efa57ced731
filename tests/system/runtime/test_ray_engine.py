"""Ray's engine does what every engine does, on a real Ray of this machine; and holds the parts of an index."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.lasting_actors import Lasting, Reusing
from support.toy_tasks import Errand

from asal.errors import UserError
from asal.index.exact import Exact
from asal.index.sharded import Sharded
from asal.runtime.engine.choice import chosen
from asal.runtime.engine.ray import Ray
from asal.testing.index import CHECKS, opened, stored, toy_features, toy_queries

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def engine() -> Iterator[Ray]:
    engine = Ray("local", workers=2, retries=1)
    engine.connect()
    yield engine
    ray.shutdown()


def begun(folder: Path, number: int) -> int:
    return len(list(folder.glob(f"{number}-*")))


def test_every_piece_is_done_once(engine: Ray, tmp_path: Path) -> None:
    works = [Errand(number, tmp_path) for number in range(9)]
    assert {work.number: told for work, told in engine.map_unordered(works)} == {
        number: number**2 for number in range(9)
    }
    assert [begun(tmp_path, number) for number in range(9)] == [1] * 9
    assert list(engine.map_unordered([])) == []


def test_pieces_are_done_in_other_processes_so_many_at_a_time(engine: Ray, tmp_path: Path) -> None:
    works = [Errand(number, tmp_path, "linger") for number in range(6)]
    for done, _ in enumerate(engine.map_unordered(works)):
        assert len(list(tmp_path.iterdir())) <= done + 3, "more than two are in hand beside the one that ended"
    assert str(os.getpid()) not in {path.name.split("-")[2] for path in tmp_path.iterdir()}


def test_what_a_piece_refuses_is_said_and_nothing_begins_after_it(engine: Ray, tmp_path: Path) -> None:
    works = [Errand(0, tmp_path, "refuse"), *(Errand(number, tmp_path, "linger") for number in range(1, 8))]
    with pytest.raises(UserError, match="errand 0 went wrong; errands go well; try another"):
        list(engine.map_unordered(works))
    assert len(list(tmp_path.iterdir())) <= 4


def test_a_bug_in_a_piece_comes_with_its_traceback(engine: Ray, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)'errand 3' failed.*toy_tasks.py.*ZeroDivisionError: deep down"):
        list(engine.map_unordered([Errand(3, tmp_path, "fail")]))
    assert begun(tmp_path, 3) == 1, "what is wrong with a piece itself was tried again"


def test_a_piece_whose_process_died_is_tried_again(engine: Ray, tmp_path: Path) -> None:
    works = [Errand(0, tmp_path, "die once"), Errand(1, tmp_path)]
    assert {work.number: told for work, told in engine.map_unordered(works)} == {0: 0, 1: 1}
    assert begun(tmp_path, 0) == 2


def test_a_piece_that_kills_its_process_each_time_is_named(engine: Ray, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'errand 0' was lost 2 times: \w+.*: it resumes"):
        list(engine.map_unordered([Errand(0, tmp_path, "die"), Errand(1, tmp_path)]))
    assert begun(tmp_path, 0) == 2 and begun(tmp_path, 1) == 1


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_ends_what_is_in_hand(engine: Ray, tmp_path: Path) -> None:
    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        list(engine.map_unordered([Errand(number, tmp_path, "wait") for number in range(3)]))
    workers = [int(path.name.split("-")[2]) for path in tmp_path.iterdir()]
    end = time.monotonic() + 60
    while any(alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers) and not begun(tmp_path, 2)


def test_room_is_what_the_cluster_has_for_what_a_piece_asks(engine: Ray, tmp_path: Path) -> None:
    assert Ray("local").capacity() == 2
    assert Ray("local", cpus=0.5).capacity() == 4
    assert Ray("local", workers=7).capacity() == 7
    assert Ray("local", memory=2**60).capacity() == 1, "one waits until there is a machine"
    with pytest.raises(UserError, match=r"no machine of the cluster had 1 CPU and 3 GPU.*ask for less"):
        list(Ray("local", gpus=3, patience=0.2).map_unordered([Errand(number, tmp_path) for number in range(3)]))
    assert not list(tmp_path.iterdir())


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"ray is not installed; .*pip install 'asal\[ray\]'"):
        list(chosen("ray").map_unordered([]))


def test_a_cluster_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # it is, by the other tests here
    with pytest.raises(UserError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: Conn.*ray start --head"):
        Ray("127.0.0.1:1").connect()


def test_an_engine_goes_by_its_name() -> None:
    assert chosen("ray", 3, "auto", 2, 0.5) == Ray("auto", 3, 2, 0.5)
    assert chosen("local", 3).workers == 3 and chosen("local", 1).workers == 1
    with pytest.raises(UserError, match="did you mean 'ray'"):
        chosen("rays")


# An index in actors ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reusing(engine: Ray) -> Reusing:
    actors = (ray.remote(Lasting).options(num_cpus=0, max_concurrency=1).remote() for _ in range(2))
    return Reusing(engine.address, workers=engine.workers, retries=engine.retries, actors=tuple(actors))


@pytest.mark.parametrize("check", CHECKS)
def test_an_index_in_actors_passes_what_an_index_has_to(reusing: Reusing, check: str) -> None:
    CHECKS[check](lambda: Sharded(Exact(), 2, reusing))


def test_an_actor_that_dies_is_started_again(engine: Ray) -> None:
    features = toy_features(400)
    queries = toy_queries(features, 12)
    with opened(Exact(), features) as whole, opened(Sharded(Exact(), 2, engine), features) as index:
        before = index.search(queries, 9)
        for pid in actors():
            os.kill(pid, signal.SIGKILL)
        after, true = index.search(queries, 9), whole.search(queries, 9)
    for found in (before, after):
        assert np.array_equal(found.ids, true.ids) and np.array_equal(found.distances, true.distances)


def test_parts_that_are_damaged_say_so(engine: Ray, tmp_path: Path) -> None:
    with stored(toy_features(300)) as vectors:
        indexer = Sharded(Exact(), 2, engine)
        indexer.build(vectors, tmp_path)
        (tmp_path / "00001" / "norms.npy").unlink()
        with pytest.raises(UserError, match=r"00001/norms\.npy"):
            indexer.load(vectors, tmp_path)


def actors() -> list[int]:
    """Return the processes of this machine that hold a part of an index."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if line.startswith(b"ray::_PartActor"):
            found.append(int(path.parent.name))
    return found
