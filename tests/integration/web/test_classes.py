"""Classes that change while people label, over HTTP: who may, what the page reads, and what becomes of answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.many_clients import project, tokens

from asal.labelling.annotators import Annotators
from asal.labelling.consensus import OverlapRules
from asal.labelling.dashboard import Dashboard
from asal.labelling.service import AnnotationService
from asal.labelling.supervisor import WorkerSupervisor
from asal.labelling.worker import WorkerConfig
from asal.project.classes import check_strategy
from asal.project.folder import ProjectFolder
from asal.web.app import AppState, build
from asal.web.project_info import ProjectInfo

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "p", 30, overlap=2)


@pytest.fixture
def ask(root: Path) -> Iterator[Ask]:
    """Send requests in the names of Ada, Bob and an adjudicator; each image gets two votes. No worker runs."""
    keys = tokens(root, ["Ada", "Bob"]) | tokens(root, ["Judge"], "adjudicator")
    folder = ProjectFolder.open(root)
    with folder.record() as record:
        info = ProjectInfo.of(folder, "random")
        service = AnnotationService(record, info.classes, OverlapRules(2), check=check_strategy(folder, "random"))
        supervisor = WorkerSupervisor(WorkerConfig(root, folder.spec, "random"))
        dashboard = Dashboard(service, supervisor, Annotators(record), 100)
        http = TestClient(build(AppState(info, dashboard)))

        def request(who: str, path: str, **body: Any) -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {keys[who]}"}
            sent = http.post(path, json=body, headers=headers) if body else http.get(path, headers=headers)
            return sent.status_code, sent.json()

        yield request


def change(ask: Ask, who: str = "Judge", key: str = "", **what: Any) -> tuple[int, Any]:
    return ask(who, "/api/classes", key=key or uuid.uuid4().hex, **what)


def answer(ask: Ask, who: str, image: int, label: int | None, key: str = "") -> tuple[int, Any]:
    one = {"image": image, "label": label}
    return ask(who, "/api/answers", key=key or uuid.uuid4().hex, tab="t", answers=[one])


def images(ask: Ask, n: int = 3) -> list[int]:
    return [task["image"] for task in ask("Ada", "/api/next", tab="t", n=n, have=[])[1]["tasks"]]


def test_a_class_is_added_and_chosen_and_exported_under_its_name(ask: Ask, root: Path) -> None:
    before = ask("Ada", "/api/project")[1]
    names = [each["name"] for each in before["classes"]]
    status, reply = change(ask, change="add", names=["bird", "fox"])
    assert status == 200
    assert [each["name"] for each in reply["classes"]] == [*names, "bird", "fox"]
    assert [each["number"] for each in reply["classes"]] == list(range(len(names) + 2))
    assert f"bird (number {len(names)})" in reply["done"]
    keys = [each["key"] for each in reply["classes"]]
    assert len(set(keys)) == len(keys)
    after = ask("Ada", "/api/project")[1]
    assert after["classes_seq"] > before["classes_seq"]
    assert ask("Ada", "/api/status")[1]["classes"] == after["classes_seq"]
    image = images(ask)[0]
    bird = len(names)
    assert [answer(ask, who, image, bird)[0] for who in ("Ada", "Bob")] == [200, 200]
    assert ask("Ada", "/api/status")[1]["counts"][bird] == 1
    assert ask("Ada", "/api/classes")[1]["classes"][bird]["labels"] == 1


def test_only_adjudicators_change_the_classes(ask: Ask) -> None:
    status, reply = change(ask, "Ada", change="add", names=["bird"])
    assert (status, "adjudicator" in reply["error"]["got"]) == (403, True)
    assert ask("Ada", "/api/classes")[1]["may_change"] is False
    assert ask("Judge", "/api/classes")[1]["may_change"] is True


def test_the_same_request_again_changes_nothing(ask: Ask) -> None:
    first = change(ask, key="k" * 20, change="add", names=["bird"])[1]
    again = change(ask, key="k" * 20, change="add", names=["bird"])[1]
    assert again["classes"] == first["classes"] and again["seq"] == first["seq"] and again["done"] == ""


def test_a_merger_settles_what_was_disputed_and_history_shows_what_was_said(ask: Ask) -> None:
    kitten = len(ask("Ada", "/api/project")[1]["classes"])
    change(ask, change="add", names=["kitten"])
    image, other = images(ask)[:2]
    answer(ask, "Ada", image, kitten)
    answer(ask, "Bob", image, 0)
    assert ask("Judge", "/api/team")[1]["disputes"] == 1
    status, reply = change(ask, change="merge", number=kitten, into=0)
    assert (status, reply["settled"]) == (200, 1)
    assert [(each["number"], each["name"], each["into"]) for each in reply["hidden"]] == [(kitten, "kitten", 0)]
    assert ask("Judge", "/api/team")[1]["disputes"] == 0
    assert ask("Ada", "/api/status")[1]["counts"][0] == 1
    assert ask("Ada", "/api/history")[1]["answers"][0]["label"] == kitten  # what Ada said
    # A page that has not heard of it sends the old number: it counts as the other class.
    assert [answer(ask, who, other, kitten)[0] for who in ("Ada", "Bob")] == [200, 200]
    assert ask("Ada", "/api/status")[1]["counts"][0] == 2
    assert change(ask, change="restore", number=kitten)[0] == 200
    assert ask("Ada", "/api/status")[1]["counts"][kitten] == 1


def test_an_answer_that_is_sent_again_after_a_merger_is_still_one_answer(ask: Ask) -> None:
    kitten = len(ask("Ada", "/api/project")[1]["classes"])
    change(ask, change="add", names=["kitten"])
    image = images(ask)[0]
    first = answer(ask, "Ada", image, kitten, key="a" * 20)
    change(ask, change="merge", number=kitten, into=0)
    assert answer(ask, "Ada", image, kitten, key="a" * 20)[1]["accepted"] == first[1]["accepted"]


def test_a_dropped_class_is_offered_no_more_and_not_taken(ask: Ask) -> None:
    before = ask("Ada", "/api/project")[1]["classes"]
    change(ask, change="add", names=["bird"])
    bird, (image, other) = len(before), images(ask)[:2]
    for who in ("Ada", "Bob"):
        answer(ask, who, image, bird)
    status, reply = change(ask, change="drop", number=bird)
    assert (status, "answered for 1 image" in reply["error"]["got"]) == (409, True)
    assert "--to CLASS" in reply["error"]["hint"]
    status, reply = change(ask, change="drop", number=bird, skipped=True)
    assert (status, [each["name"] for each in reply["classes"]]) == (200, [each["name"] for each in before])
    progress = ask("Ada", "/api/status")[1]["progress"]
    assert (progress["answers"], progress["skipped"]) == (0, 1)
    status, reply = answer(ask, "Ada", other, bird)
    assert (status, "'bird' was dropped" in reply["error"]["got"]) == (409, True)


@pytest.mark.parametrize(
    ("what", "status", "says"),
    [
        ({"change": "rename", "number": 0, "name": " "}, 409, "no name of a class"),
        ({"change": "rename", "number": 99, "name": "x"}, 409, "no class is called '99'"),
        ({"change": "merge", "number": 0, "into": 0}, 409, "into itself"),
        ({"change": "rename", "name": "x"}, 409, "0 classes"),
        ({"change": "explode"}, 422, "does not fit"),
        ({"change": "add", "names": ["a\nb"]}, 409, "no name of a class"),
    ],
)
def test_a_change_that_is_not_possible_says_why(ask: Ask, what: dict[str, Any], status: int, says: str) -> None:
    before = ask("Ada", "/api/classes")[1]["classes"]
    got, reply = change(ask, **what)
    assert (got, says in reply["error"]["got"]) == (status, True), reply
    assert ask("Ada", "/api/classes")[1]["classes"] == before
