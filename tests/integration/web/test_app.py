"""What the routes reply: the keys that the page's scripts read, and hints that people understand."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
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
from asal.project.folder import ProjectFolder
from asal.web.app import AppState, build
from asal.web.project_info import ProjectInfo
from asal.web.signing import STATIC

READS = re.compile(r"const \{ ([^}]+) \} = await call\([\"`](/api/\w+)(?:/(\$\{[^}]+\}))?")


@dataclass(frozen=True)
class Team:
    """Requests to the application in the names of people, without a server."""

    http: TestClient
    tokens: dict[str, str]

    def ask(self, who: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        send = (
            self.http.get(path, headers=headers) if body is None else self.http.post(path, json=body, headers=headers)
        )
        return send.json()

    def label(self, who: str, label: int) -> int:
        """Answer the next image; return its id."""
        tab = uuid.uuid4().hex
        image: int = self.ask(who, "/api/next", {"tab": tab, "n": 1, "have": []})["tasks"][0]["image"]
        answer = {"image": image, "label": label, "seconds": 0.5}
        reply = self.ask(who, "/api/answers", {"key": uuid.uuid4().hex, "tab": tab, "answers": [answer]})
        assert "accepted" in reply, reply
        return image


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """Two people and an adjudicator; each image gets two votes. No worker runs."""
    root = project(tmp_path / "p", 30, overlap=2)
    keys = tokens(root, ["Ada", "Bob"]) | tokens(root, ["Judge"], "adjudicator")
    folder = ProjectFolder.open(root)
    with folder.record() as record:
        info, rules = ProjectInfo.of(folder, "random"), OverlapRules(2)
        service = AnnotationService(record, info.classes, rules, folder.spec.labelling.lease)
        supervisor = WorkerSupervisor(WorkerConfig(root, folder.spec, "random"))
        dashboard = Dashboard(service, supervisor, Annotators(record), folder.spec.protocol.budget)
        yield Team(TestClient(build(AppState(info, dashboard))), keys)


def test_every_key_that_the_page_reads_is_in_the_reply(team: Team) -> None:
    image = team.label("Ada", 0)
    reads = [match for file in sorted(STATIC.glob("*.js")) for match in READS.findall(file.read_text())]
    assert {path for _, path, _ in reads} >= {"/api/history", "/api/stopping", "/api/team", "/api/guess"}
    for names, path, further in reads:
        reply = team.ask("Ada", f"{path}/{image}" if further else path)
        keys = {name.partition(":")[0].strip() for name in names.split(",")}
        assert keys <= set(reply), f"{path} lacks {sorted(keys - set(reply))}"


def test_the_team_panel_counts_the_images_with_two_votes(team: Team) -> None:
    assert team.ask("Judge", "/api/team")["several"] == 0
    assert team.label("Ada", 0) == team.label("Bob", 1)
    reply = team.ask("Judge", "/api/team")
    assert (reply["several"], reply["disputes"], len(reply["disputed"])) == (1, 1, 1)
    assert [pair["images"] for pair in reply["kappa"]] == [1]


def test_hints_name_no_route_and_no_command_that_is_cut_short(team: Team) -> None:
    unknown = team.ask("Ada", "/api/why/999")["error"]
    wrong = team.http.post("/api/enter", json={"token": "asal_wrong"}).json()["error"]
    assert "next image" in unknown["hint"] and "new one" in wrong["hint"]
    assert "`" not in unknown["hint"] + wrong["hint"] and "asal annotator" not in wrong["hint"]
