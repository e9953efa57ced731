"""Round trips through a real Label Studio: started once, killed at the end. No network beyond this machine."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from support import label_studio_server as studio_server
from support.commands import Command, Said, Starter
from support.label_studio_server import ADA, BOB, PASSWORD, TOKEN, Server

from asal.errors import UserError
from asal.labelling.label_studio.bridge import Bridge, listening
from asal.labelling.label_studio.client import AwayError, LabelStudio, hotkeys, label_config, token_of
from asal.labelling.label_studio.reconcile import TITLES
from asal.project.project import Project
from asal.runtime.artifacts import read_json
from asal.session.events import Event, Record
from asal.session.plan import Plan, draw
from asal.session.session import Session
from asal.session.state import State, fold
from asal.testing.toys import toy_world

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
KILLS = int(os.environ.get("ASAL_KILLS", "4"))
# Two imports at a time, so that a kill falls between two.
OFTEN = "import asal.labelling.label_studio.bridge as bridge; bridge.MOST = 2"
SPEC = """
name = "tiny"
[source]
kind = "digits"
[pool]
gray = true
[pool.split]
train = 300
[learner]
kind = "linear"
iterations = 20
[protocol]
initial = 100
batch = 6
budget = 112
[strategies.uncertainty]
"""


PHOTOGRAPHS = """
name = "photographs"
[source]
kind = "folder"
path = "{path}"
[pool]
size = 32
fit = "pad"
[protocol]
initial = 30
batch = 10
budget = 40
[strategies.random]
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if studio_server.executable() is None:
        pytest.skip("Label Studio is not installed: `make test` does it, or ASAL_LABEL_STUDIO names one")
    with studio_server.server(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared") / "tiny"
    root.mkdir()
    (root / "asal.toml").write_text(SPEC)
    Project.open(root).prepare()
    return root


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "tiny"))


def toy(names: tuple[str, ...] = ("zero", "one", "two")) -> Session:
    world = toy_world(images=60, classes=len(names))
    return Session(world.pool, Record.open("sqlite://"), Plan(names, world.learner, draw))


Bridged = Callable[..., Bridge]


@pytest.fixture
def bridged(studio: Server, tmp_path: Path) -> Iterator[Bridged]:
    """Return `bridged(session)`, which opens a project of its own in Label Studio, the same one every time."""
    with ExitStack() as open_clients:

        def open_one(session: Session | None = None, **more: Any) -> Bridge:
            client = open_clients.enter_context(LabelStudio(studio.url, TOKEN, pause=0.01))
            return Bridge(session or toy(), client, tmp_path, **more)

        yield open_one


def number(project: Path) -> int:
    return int(read_json(project / "label-studio.json")["project"])


class Annotators:
    """Ada and Bob, who label what a project has in Label Studio, and know the right answers."""

    def __init__(self, studio: Server, project: Path) -> None:
        self.studio, self.project, self.number = studio, project, number(project)
        opened = Project.open(project)
        self.pool, oracle = opened.pool, opened.oracle("pool")
        self.names = oracle.classes
        self.right = {image: int(label) for image, label in enumerate(oracle.answer(np.arange(300)))}

    @property
    def tasks(self) -> dict[int, dict[str, Any]]:
        return self.studio.tasks(self.number)

    def answer(self, images: Iterable[int], by: str = ADA, off: int = 0) -> dict[int, int]:
        """Answer so many classes off the right one; return the annotations."""
        there = self.tasks
        name = {image: self.names[(self.right[image] + off) % 10] for image in images}
        return {image: self.studio.answer(there[image]["id"], name[image], by, 2.25) for image in name}

    def delete(self, *images: int) -> None:
        there = self.tasks
        for image in images:
            self.studio.ask("DELETE", f"/api/tasks/{there[image]['id']}/")

    def record(self) -> dict[int, int]:
        """Return what the record says by now, −1 for 'can't tell'."""
        with Record.open(self.project / "labels.db") as record:
            state = fold(State(), record.read())
        return {**state.answers, **dict.fromkeys(state.skips, -1)}


def shown(said: Said, **found: int) -> None:
    """Check that a report tells of so many of each kind, and of no other kind."""
    assert said.code == 0, said.err
    text = " ".join(said.out.split())
    for kind, title in TITLES.items():
        count = found.get(kind.replace(" ", "_"), 0)
        told = f"{title} {count:,} " in text if count else not re.search(rf"{re.escape(title)} \d", text)
        assert told, f"{title}: {count}\n{said.out}"


def test_a_hundred_images_go_there_and_what_people_said_comes_back(
    studio: Server, project: Path, token: None, asal: Command
) -> None:
    said = asal("label-studio", "push", project, "--url", studio.url)
    assert "100 images put into Label Studio, 0 were there" in said.out, said.err
    people = Annotators(studio, project)
    there, right = people.tasks, people.right
    images = list(there)
    assert len(images) == 100
    for image in images:
        png = base64.b64decode(there[image]["data"]["image"].partition(",")[2])
        assert (np.asarray(Image.open(io.BytesIO(png))) == people.pool.read(np.array([image]))[0, :, :, 0]).all()

    made = people.answer(images[:60])
    for image in images[60:70]:
        studio.answer(there[image]["id"], None, BOB)
    people.answer(images[:5], BOB)  # twice, and alike
    people.answer(images[70:75])
    people.answer(images[70:75], BOB, off=1)  # twice, and not alike
    people.delete(*images[75:80])
    never = next(image for image in range(300) if image not in there)
    foreign = {"data": {"image": "data:image/png;base64,iVBORw0KGgo="}}
    stray = foreign | {"meta": {**there[images[0]]["meta"], "asal_id": never}}
    studio.ask("POST", f"/api/projects/{people.number}/import", json=[foreign, stray])

    said = asal("label-studio", "pull", project)
    still = {"conflict": 5, "not_asked": 1, "foreign": 1}
    shown(said, answered=60, skipped=10, agreed=5, task_deleted=5, **still)
    assert "70 events written to the record; 30 images waiting for an answer." in said.out
    expected = {image: right[image] for image in images[:60]} | dict.fromkeys(images[60:70], -1)
    assert people.record() == expected
    said = asal("label-studio", "pull", project)
    shown(said, task_deleted=5, **still)
    assert "0 events written" in said.out and people.record() == expected

    changed, gone, away = images[10], images[11], images[12]
    studio.change(made[changed], people.names[(right[changed] + 3) % 10])
    studio.ask("DELETE", f"/api/annotations/{made[gone]}/")
    people.delete(away)
    said = asal("label-studio", "pull", project)
    shown(said, corrected=1, answer_deleted=1, task_deleted=6, **still)
    expected[changed] = (right[changed] + 3) % 10
    assert "1 event written" in said.out and people.record() == expected
    assert f"image {gone}: the record keeps {people.names[right[gone]]}" in " ".join(said.out.split())

    said = asal("label-studio", "push", project)  # of the deleted tasks, those of open images come back
    assert "5 images put into Label Studio, 25 were there" in said.out
    shown(asal("label-studio", "pull", project), answer_deleted=1, task_deleted=1, **still)
    with Record.open(project / "labels.db") as record:
        events = [event for event in record.read() if event.image is not None]
    assert {(event.kind, event.by) for event in events} == {("answered", ADA), ("skipped", BOB), ("corrected", ADA)}
    assert all(event.body["seconds"] in (1.5, 2.25) for event in events)
    assert all(event.body["key"].startswith(f"ls-{people.number}-") for event in events)


def test_sync_asks_for_the_next_batch_until_the_budget_is_spent(
    studio: Server, project: Path, token: None, asal: Command
) -> None:
    spec = project / "asal.toml"
    spec.write_text(spec.read_text().replace("initial = 100", "initial = 12").replace("budget = 112", "budget = 24"))
    sync = ("label-studio", "sync", project, "--every", "0", "--url", studio.url)
    expected: dict[int, int] = {}
    for size in (12, 6, 6):
        said = asal(*sync)
        assert f"{size} images put into Label Studio, 0 were there" in said.out, said.out + said.err
        assert "0 images put into Label Studio" in asal(*sync).out
        people = Annotators(studio, project)
        images = [image for image in people.tasks if image not in expected]
        assert len(images) == size
        people.answer(images)
        expected |= {image: people.right[image] for image in images}
    said = asal(*sync)
    assert "0 images put into Label Studio" in said.out and said.out.splitlines()[-1] == "24 labels."
    assert people.record() == expected and len(people.tasks) == 24
    with Record.open(project / "labels.db") as record:
        told = [event.body["strategy"] for event in record.read() if event.kind == "asked"]
    assert told == ["random", "uncertainty", "uncertainty"]


def test_sync_killed_at_any_moment_and_called_again_ends_as_if_nothing_had_been(
    studio: Server, project: Path, tmp_path: Path, start: Starter
) -> None:
    spec = project / "asal.toml"
    spec.write_text(spec.read_text().replace("initial = 100", "initial = 12").replace("budget = 112", "budget = 24"))
    (tmp_path / "token").write_text(TOKEN)
    words = ("label-studio", "sync", project, "--every", "0", "--url", studio.url, "--token-file", tmp_path / "token")
    before = studio.ask("GET", "/api/projects/")["count"]
    begun = time.monotonic()
    assert start(*words, first=OFTEN).wait().code == 0
    seconds = time.monotonic() - begun
    rng = np.random.default_rng(0)
    for part in range(KILLS):
        _answer_all(studio, project)
        running = start(*words, first=OFTEN)
        time.sleep(seconds * (part + rng.random()) / KILLS)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    for _ in range(3):
        _answer_all(studio, project)
        said = start(*words, first=OFTEN).wait()
    assert said.out.splitlines()[-1] == "24 labels.", said.out + said.err
    assert studio.ask("GET", "/api/projects/")["count"] == before + 1
    people, asked = Annotators(studio, project), {"project": number(project), "page_size": 1000}
    tasks = studio.ask("GET", "/api/tasks", params=asked)["tasks"]
    assert len(tasks) == len(people.tasks) == 24
    assert people.record() == {image: people.right[image] for image in people.tasks}


def _answer_all(studio: Server, project: Path) -> None:
    people = Annotators(studio, project)
    people.answer([image for image, task in people.tasks.items() if not task["annotations"]])


def test_label_studio_serves_the_images_in_our_order(studio: Server, bridged: Bridged) -> None:
    session = toy()
    bridge = bridged(session)
    bridge.push(5)
    served = []
    for _ in range(5):
        task = studio.ask("GET", f"/api/projects/{bridge.project}/next")
        served.append(task["data"]["asal_id"])
        studio.answer(task["id"], "one")
    assert served == list(session.state.waiting)
    first = session.state.rounds[0].ids
    bridge.pull()
    session.ask_ahead(4)
    bridge.push()
    served = [studio.ask("GET", f"/api/projects/{bridge.project}/next")["data"]["asal_id"]]
    assert served == [session.state.rounds[1].ids[0]] and served[0] not in first


@pytest.mark.parametrize("when", ["before the first", "between two", "after the last"])
def test_a_push_killed_half_way_and_repeated_puts_nothing_there_twice(
    studio: Server, bridged: Bridged, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    session = toy()
    bridge = bridged(session)
    monkeypatch.setattr("asal.labelling.label_studio.bridge.MOST", 4)
    put, calls = LabelStudio.put, []

    def killed(self: LabelStudio, *arguments: Any) -> list[int]:
        calls.append(1)
        if when == "before the first":
            raise KeyboardInterrupt
        done = put(self, *arguments)
        if len(calls) == (1 if when == "between two" else 3):
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(LabelStudio, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        bridge.push(10)
    monkeypatch.setattr(LabelStudio, "put", put)
    assert not bridge.pull().count("task deleted")  # what never arrived was not deleted
    again = bridged(session)
    pushed = again.push(10)
    assert len(pushed.images) == {"before the first": 10, "between two": 6, "after the last": 0}[when]
    assert sorted(studio.tasks(again.project)) == sorted(session.state.waiting)
    assert again.push(10).images == () and again.project == bridge.project


def photographs(home: Path) -> Path:
    """A project of 30 photographs: excerpts of those that a package ships, larger than an import may be together."""
    pixels = load_sample_image("china.jpg")
    for number in range(30):
        path = home / "images" / ("left", "right")[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = pixels[5 * number : 5 * number + 250, 8 * number : 8 * number + 400]
        Image.fromarray(part).resize((1600, 1000)).effect_spread(9).save(path, quality=95)
    root = home / "photographs"
    root.mkdir()
    (root / "asal.toml").write_text(PHOTOGRAPHS.format(path=home / "images"))
    Project.open(root).prepare()
    return root


def test_people_see_the_originals_of_photographs(studio: Server, tmp_path: Path, token: None, asal: Command) -> None:
    root = photographs(tmp_path)
    pool = Project.open(root).pool
    (tmp_path / "images" / "left" / "00.jpg").unlink()
    said = asal("label-studio", "push", root, "--url", studio.url)
    assert "30 images put into Label Studio, 0 were there" in said.out, said.err
    there = studio.tasks(number(root))
    assert len(there) == 30
    for image, task in there.items():
        kind, _, data = task["data"]["image"].partition(",")
        picture, name = Image.open(io.BytesIO(base64.b64decode(data))), task["data"]["asal_file"]
        if name == "left/00.jpg":
            assert kind == "data:image/png;base64" and picture.size == (32, 32), "it is gone: the pool's picture"
            continue
        assert kind == "data:image/jpeg;base64" and picture.size == (1024, 640)
        small = np.asarray(picture.resize((32, 20), Image.Resampling.BICUBIC), int)
        assert np.abs(small - pool.read(np.array([image]))[0, 6:26]).mean() < 12
    studio.answer(there[3]["id"], "left")
    shown(asal("label-studio", "pull", root), answered=1)


def test_killed_after_making_the_project_it_is_found_again(
    studio: Server, bridged: Bridged, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = LabelStudio.create

    def killed(self: LabelStudio, *arguments: Any) -> int:
        create(self, *arguments)
        raise KeyboardInterrupt

    before = studio.ask("GET", "/api/projects/")["count"]
    monkeypatch.setattr(LabelStudio, "create", killed)
    with pytest.raises(KeyboardInterrupt):
        bridged()
    monkeypatch.setattr(LabelStudio, "create", create)
    bridged()
    assert studio.ask("GET", "/api/projects/")["count"] == before + 1


def test_classes_of_any_name_come_back_as_they_are(studio: Server, bridged: Bridged) -> None:
    names = ('<b>"bold"</b>', "it's & that", "Größe µ", "7")
    session = toy(names)
    bridge = bridged(session)
    bridge.push(4)
    for label, task in zip(names, studio.tasks(bridge.project).values(), strict=True):
        studio.answer(task["id"], label)
    assert bridge.pull().count("answered") == 4
    assert sorted(session.state.answers.values()) == [0, 1, 2, 3]


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: apt-get install chromium")
def test_in_label_studios_own_page_a_key_chooses_a_class(studio: Server, bridged: Bridged) -> None:
    from playwright.sync_api import expect, sync_playwright

    session = toy()
    bridge = bridged(session)
    bridge.push(3)

    def annotated() -> int:
        return sum(len(task["annotations"]) for task in studio.tasks(bridge.project).values())

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(base_url=studio.url)
        page.set_default_timeout(60_000)
        page.goto("/user/login/")
        page.fill("input[name=email]", ADA)
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "login" not in url, wait_until="commit")
        page.goto(f"/projects/{bridge.project}/data?labeling=1")
        for done, keys in enumerate([("2", "Control+Enter"), ("3", "Control+Enter"), ("Control+Space",)]):
            expect(page.get_by_text("zero")).to_be_visible(timeout=60_000)
            page.wait_for_timeout(1_500)  # the page listens to keys a moment after it shows
            for key in keys:
                page.keyboard.press(key)
            end = time.monotonic() + 120
            while annotated() == done and time.monotonic() < end:
                time.sleep(0.1)
        browser.close()
    report = bridge.pull()
    first, second, third = session.state.rounds[0].ids
    assert (report.images("answered"), report.images("skipped")) == (sorted([first, second]), [third])
    assert dict(session.state.answers) == {first: 1, second: 2}


def test_another_process_that_writes_meanwhile_loses_nothing(
    studio: Server, bridged: Bridged, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = toy()
    bridge = bridged(session)
    bridge.push(6)
    first, second, *_ = session.state.waiting
    studio.answer(studio.tasks(bridge.project)[first]["id"], "one")
    append, once = session.record.append, [1]

    def beaten(events: Any, *, after: int) -> Any:
        if once and events:
            once.clear()
            append([Event("answered", 0, second, 2, "eva")], after=after)
        return append(events, after=after)

    monkeypatch.setattr(session.record, "append", beaten)
    assert bridge.pull().written == 1
    assert dict(session.state.answers) == {second: 2, first: 1}


def test_a_token_of_either_kind_opens_the_door(studio: Server) -> None:
    personal = studio.personal_token()
    with LabelStudio(studio.url, personal) as client:
        assert client.me() == ADA
        client._fetched = client._fetched[:-4] + "AAAA"  # as one that has expired
        assert client.me() == ADA
    with LabelStudio(studio.url, TOKEN) as client:
        assert client.me() == ADA


def test_what_is_wrong_is_told_without_the_token(
    studio: Server, project: Path, asal: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(
        "asal.labelling.label_studio.connect.LabelStudio", lambda *given: LabelStudio(*given, pause=0.01)
    )
    secret = "f00d" * 10
    push = ("label-studio", "push", project, "--url")
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    asal(*push, studio.url).refused("$LABEL_STUDIO_API_KEY is empty or not set", "--token-file")
    asal("label-studio", "push", project).refused("token")
    for wrong in (secret, f"a.{secret}.b"):
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", wrong)
        said = asal(*push, studio.url)
        said.refused("refuses the token", "Account & Settings")
        assert secret not in said.err + said.out + caplog.text
    asal("label-studio", "push", project).refused("URL is missing", "--url")
    with monkeypatch.context() as patch:
        patch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        asal(*push, studio.url + "/nowhere").refused("there is no Label Studio at", "correct --url")
        asal(*push, "http://127.0.0.1:9").refused("http://127.0.0.1:9", "refused")
        asal(*push, f"http://ada:{secret}@127.0.0.1:9").refused("without a name")
        asal(*push, studio.url, "--project-id", "4711").refused("404", "--project-id")
        other = studio.ask("POST", "/api/projects/", json={"title": "of others", "label_config": "<View></View>"})
        asal(*push, studio.url, "--project-id", other["id"]).refused("asks for nothing", "<Choice value=")
        assert not (project / "label-studio.json").exists()
        assert asal(*push, studio.url).code == 0
        asal(*push, "http://127.0.0.1:9").refused("belongs to one Label Studio")
    assert TOKEN not in caplog.text and TOKEN not in (project / "label-studio.json").read_text()


def test_the_token_may_lie_in_a_file(studio: Server, project: Path, tmp_path: Path, asal: Command) -> None:
    os.environ.pop("LABEL_STUDIO_API_KEY", None)
    (tmp_path / "token").write_text(TOKEN + "\n")
    said = asal("label-studio", "push", project, "--url", studio.url, "--token-file", tmp_path / "token")
    assert said.code == 0, said.err
    asal("label-studio", "pull", project, "--token-file", tmp_path / "none").refused("none", "--token-file")


def test_a_project_that_is_there_is_used_and_one_that_is_gone_is_told_of(studio: Server, bridged: Bridged) -> None:
    session = toy()
    facts = {"title": "by hand", "label_config": label_config(session.plan.classes)}
    made = studio.ask("POST", "/api/projects/", json=facts)["id"]
    bridge = bridged(session, project=made)
    assert bridge.project == made and len(bridge.push(3).images) == 3
    with pytest.raises(UserError, match="belongs to one project"):
        bridged(session, project=made + 1000)
    studio.ask("DELETE", f"/api/projects/{made}/")
    with pytest.raises(UserError, match="404"):
        bridged(session)


def test_a_webhook_wakes_the_loop_and_its_body_is_not_read(studio: Server, bridged: Bridged) -> None:
    session = toy()
    bridge = bridged(session)
    sizes, seen, troubles = iter([3, 0]), [], []
    with listening(0) as (hint, port):
        bridge.hook(f"http://127.0.0.1:{port}/")
        bridge.hook(f"http://127.0.0.1:{port}/")
        assert len(studio.ask("GET", "/api/webhooks/", params={"project": bridge.project})) == 1
        loop = threading.Thread(
            target=bridge.follow,
            args=(lambda _: next(sizes), lambda *found: seen.append(found), 3600.0, hint, troubles.append),
        )
        loop.start()
        while not seen:
            time.sleep(0.02)
        for image in list(session.state.waiting):
            studio.answer(studio.tasks(bridge.project)[image]["id"], "two")
        loop.join(120)
        assert not loop.is_alive(), "the webhook did not wake it: it waits for an hour"
        hint.clear()
        assert httpx.post(f"http://127.0.0.1:{port}/x", content=b"{" * 100_000, trust_env=False).status_code == 204
        assert hint.is_set()
        with pytest.raises(UserError, match="--listen"), listening(port):
            pass
    assert len(session.state.answers) == 3 and not troubles


def test_the_loop_outlives_a_server_that_is_away(bridged: Bridged, monkeypatch: pytest.MonkeyPatch) -> None:
    session = toy()
    bridge = bridged(session)
    tasks, away, troubles = LabelStudio.tasks, [1, 1], []

    def missing(self: LabelStudio, project: int) -> Any:
        if away:
            away.pop()
            raise AwayError("nothing", rule="it is there", hint="wait")
        return tasks(self, project)

    monkeypatch.setattr(LabelStudio, "tasks", missing)
    ends = iter([0])
    bridge.follow(lambda _: next(ends), lambda *_: None, 0.01, threading.Event(), troubles.append)
    assert len(troubles) == 2


# Without a server: what a network does.


class Network:
    """Answers by a list: a status, a (status, JSON) pair, or an error to raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.queries = list(answers), list[str]()
        self.asked: list[tuple[str, str, str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.queries.append(request.url.params.get("query", "{}"))
        self.asked.append((request.method, request.url.path, request.headers.get("authorization")))
        answer = self.answers.pop(0)
        if isinstance(answer, type):
            raise answer("it broke", request=request)
        status, body = answer if isinstance(answer, tuple) else (answer, {"detail": "no"})
        return httpx.Response(status, json=body, headers={"retry-after": "0"})

    def client(self, token: str = TOKEN) -> LabelStudio:
        client = LabelStudio("https://labels.example.org/", token, tries=3, pause=0.001)
        client._http = httpx.Client(transport=httpx.MockTransport(self))
        return client


WHO = (200, {"email": ADA})


@pytest.mark.parametrize("trouble", [429, 500, 502, 503, 504, httpx.ReadTimeout, httpx.ConnectError, httpx.ReadError])
def test_what_passes_is_asked_again_and_what_stays_is_told(trouble: Any) -> None:
    assert Network(trouble, trouble, WHO).client().me() == ADA
    lasting = Network(trouble, trouble, trouble, WHO)
    with pytest.raises(AwayError, match=r"https://labels\.example\.org"):
        lasting.client().me()
    assert len(lasting.asked) == 3


@pytest.mark.parametrize("trouble", [500, 502, 504, httpx.ReadTimeout, httpx.ReadError])
def test_an_import_whose_answer_is_lost_is_not_sent_again(trouble: Any) -> None:
    network = Network(trouble, (200, {"task_ids": [1]}))
    with pytest.raises(AwayError, match="nothing is done twice"):
        network.client().put(1, [{"data": {}}])
    assert len(network.asked) == 1


@pytest.mark.parametrize("trouble", [429, 503, httpx.ConnectError, httpx.ConnectTimeout])
def test_an_import_that_was_not_taken_is_sent_again(trouble: Any) -> None:
    assert Network(trouble, (201, {"task_ids": [8]})).client().put(1, [{"data": {}}]) == [8]
    assert Network().client().put(1, []) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (401, "refuses the token: no"),
        (403, "403 no"),
        ((400, {"detail": "Validation error", "validation_errors": {"x": ["y" * 999]}}), '"y'),
        ((400, {"label_config": ["Validation failed"]}), "Validation failed"),
        ((400, [TOKEN]), "…"),
        ((302, {}), "/api/current-user/whoami is redirected to"),
    ],
)
def test_a_refusal_is_told_in_its_own_words(answer: Any, words: str) -> None:
    with pytest.raises(UserError) as refused:
        Network(answer).client().me()
    assert words in str(refused.value) and TOKEN not in str(refused.value) and len(str(refused.value)) < 700


def test_a_page_that_is_no_label_studio_is_told_of() -> None:
    client = Network().client()
    client._http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, text="<html>")))
    with pytest.raises(UserError, match="correct --url"):
        client.me()


def test_a_personal_token_is_exchanged_once_and_again_when_it_has_expired() -> None:
    network = Network((200, {"access": "one"}), WHO, WHO, 401, (200, {"access": "two"}), WHO)
    client = network.client("a.b.c")
    assert [client.me(), client.me(), client.me()] == [ADA] * 3
    assert [who for _, _, who in network.asked] == [None, "Bearer one", "Bearer one", "Bearer one", None, "Bearer two"]


@pytest.mark.parametrize("url", ["", "labels.example.org", "ftp://x", "http://", "http://a:b@x", "http://x?y=1"])
def test_a_url_is_one(url: str) -> None:
    with pytest.raises(UserError, match="correct --url") as refused:
        LabelStudio(url, TOKEN)
    assert ":b@" not in str(refused.value)


@pytest.mark.parametrize("text", ["", " \n", "two words", "one\ntwo", "ümlaut"])
def test_a_token_is_one_word(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(UserError, match="one word"):
        token_of(tmp_path / "token")


def test_every_class_has_a_key_of_its_own_as_long_as_there_are_keys() -> None:
    assert hotkeys([str(digit) for digit in range(10)]) == {str(digit): str(digit) for digit in range(10)}
    many = hotkeys([f"class {n}" for n in range(40)])
    assert len(set(many.values())) == len(many) == 32
    assert "hotkey" not in label_config([f"class {n}" for n in range(40)]).splitlines()[-3]


def test_a_listing_goes_on_where_the_page_before_it_ended() -> None:
    def page(total: int, *numbers: int) -> Any:
        return 200, {"total": total, "tasks": [{"id": n, "meta": None, "annotations": []} for n in numbers]}

    network = Network(page(3, 5, 9), page(1, 12))
    assert [task.id for task in network.client().tasks(1)] == [5, 9, 12]
    assert [json.loads(where)["filters"]["items"][0]["value"] for where in network.queries] == [0, 9]
    assert list(Network(page(0)).client().tasks(1)) == list(Network(page(7)).client().tasks(1)) == []
