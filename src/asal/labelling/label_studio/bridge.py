"""Label Studio as the place where people label: batches go there, and the answers come back into the record.

`push` puts the open images into a project of Label Studio, `pull` reads the answers and reconciles them with the
record, and `sync` does both. Each may be killed at any moment and called again: what Label Studio holds is read from
it, by the ids in the tasks, and what the record holds is read from the record.
"""

from __future__ import annotations

import base64
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from asal.data.decoding.viewing import kind_of_file
from asal.data.png import png
from asal.errors import BusyError, UserError, without_secrets
from asal.labelling.consensus import OverlapRules
from asal.labelling.label_studio.choices import are_of, with_choices
from asal.labelling.label_studio.client import CONTROL, MODEL, AwayError, LabelStudio, label_config
from asal.labelling.label_studio.reconcile import IMAGE, POOL, ROUND, Discrepancy, Report, Target, image_of, reconcile
from asal.labelling.photos import Photos
from asal.runtime import artifacts
from asal.runtime.retry import retry
from asal.session.events import Event
from asal.session.session import Session

FILE = "label-studio.json"  # in a project folder: where its tasks are
MOST = 200  # tasks to an import
LARGEST = 8_000_000  # bytes of images to an import
AHEAD = 32  # images that are read and encoded while others are sent
EDGE = 1024  # pixels at most, wide or high, of an original
ATTEMPTS = 8  # to write while others write to the record
SHORTEST = 1.0  # seconds between two syncs, however many webhooks arrive

Say: TypeAlias = Callable[[str], object]


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    project: int  # its number in Label Studio
    images: tuple[int, ...]  # put there now
    held: int  # open images that were there already


class Bridge:
    """A session, and the Label Studio project where its images are labelled."""

    def __init__(
        self,
        session: Session,
        studio: LabelStudio,
        home: Path,
        title: str = "asal",
        project: int = 0,
        rules: OverlapRules | None = None,
        photos: Photos | None = None,
    ) -> None:
        """Find the Label Studio project that belongs to a session, or create it.

        Args:
            session: chooses the images, and holds the record.
            studio: the server.
            home: the project folder; `label-studio.json` there remembers the project and its URL.
            title: of a project that is created.
            project: the number of an existing one; 0 for the remembered one, or a new one.
            rules: how many people answer an image; one if None.
            photos: the originals of the images; None shows people the pool's pictures.

        Raises:
            UserError: the token or the URL is wrong, or the project was deleted, asks something else or is not the
                remembered one.
        """
        self.session, self._studio, self._home, self._rules = session, studio, home, rules or OverlapRules()
        self._photos = photos
        known = self._remembered(project)
        self.me = studio.me()  # checks the token before anything is created
        self.project = known or self._created(title)
        self._check_question()
        self._remember(project=self.project)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only process that puts tasks there: two at a time would put images twice."""
        with artifacts.exclusive(self._home / ".label-studio"):
            yield

    def _remembered(self, wanted: int) -> int:
        """Return the number of the project, 0 if none is known yet."""
        path, studio = self._home / FILE, self._studio
        self._known: dict[str, Any] = {"url": studio.url, "project": None, "pushed": 0}
        if path.exists():
            self._known |= artifacts.read_json(path, hint=f"delete {path}, and name the project: --project-id N")
        if self._known["url"] != studio.url:
            raise UserError(
                f"--url is {without_secrets(studio.url)}, but {path} says {self._known['url']}",
                rule="a project folder belongs to one Label Studio",
                hint=f"leave --url out, or delete {path} to start again elsewhere",
            )
        if wanted and self._known["project"] not in (None, wanted):
            raise UserError(
                f"--project-id is {wanted}, but {path} says {self._known['project']}",
                rule="a project folder belongs to one project of Label Studio",
                hint=f"leave --project-id out, or delete {path}",
            )
        return int(wanted or self._known["project"] or 0)

    def _created(self, title: str) -> int:
        """Create a project. Its mark is written first, so that the next attempt finds it after a kill."""
        with self._alone():
            mark = self._known.get("mark") or f"asal-{secrets.token_hex(8)}"
            self._remember(mark=mark)
            config = label_config(list(self.session.classes.values()))
            return self._studio.find(mark) or self._studio.create(title, config, mark, self._rules.overlap)

    def _remember(self, **facts: Any) -> None:
        before, path = dict(self._known), self._home / FILE
        self._known |= facts
        if self._known != before or not path.exists():
            artifacts.write_json(path, self._known)

    def _check_question(self) -> None:
        """Compare the choices there with the classes; where these have changed since, change the choices, too."""
        facts, classes = self._studio.project(self.project), self.session.class_list
        config = facts.get("parsed_label_config") or {}
        asked, wanted = config.get(CONTROL, {}), list(classes.numbers)
        choices = list(asked.get("labels", ()))
        if asked.get("type") != "Choices" or not are_of(choices, classes):
            raise UserError(
                f"project {self.project} in Label Studio asks for {_question(config)}, not for the session's classes",
                hint=f"set its labelling interface to\n{label_config(wanted)}",
            )
        self._asked_at = classes.seq
        if set(choices) != set(wanted):
            self._change_choices(str(facts.get("label_config", "")), wanted, choices)

    def _change_choices(self, config: str, wanted: list[str], choices: list[str]) -> None:
        """Offer the present classes. Former names stay where Label Studio has answers with them, which it keeps."""
        former = [name for name in choices if name not in wanted]
        try:
            self._studio.configure(self.project, with_choices(config, wanted))
        except AwayError:
            raise
        except UserError:
            if set(wanted) - set(choices):
                self._studio.configure(self.project, with_choices(config, [*wanted, *former]))

    @property
    def url(self) -> str:
        """Where people label."""
        return f"{self._studio.url}/projects/{self.project}"

    @property
    def _target(self) -> Target:
        plan, pool = self.session.plan, self.session.pool
        return Target(self.project, pool.fingerprint, plan.classes, int(self._known["pushed"]), self._rules)

    def push(self, n: int = 0) -> Pushed:
        """Put the open images there, except those that are there already.

        Args:
            n: the size of the batch that is chosen if nothing is open; 0 chooses none.

        Raises:
            AwayError: Label Studio cannot be reached. The next call finds what has arrived.
        """
        session = self.session
        if not session.refresh().waiting and n:
            session.ask(n)
        if session.class_list.seq != self._asked_at and self._asked_at:  # somebody has changed the classes since
            self._check_question()
        with self._alone():
            state, fingerprint = session.state, session.pool.fingerprint
            present = {image_of(task, fingerprint) for task in self._studio.tasks(self.project)}
            missing = [image for image in state.waiting if image not in present]
            for images in self._loads(missing):
                self._studio.put(self.project, images)
            self._remember(pushed=len(state.rounds))
        return Pushed(self.project, tuple(missing), len(state.waiting) - len(missing))

    def _loads(self, images: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        """Yield tasks for these images, in parts small enough for an import."""
        tasks, size = list[dict[str, Any]](), 0
        for image, name, data in self._files(images):
            if tasks and (len(tasks) == MOST or size + len(data) > LARGEST):
                yield tasks
                tasks, size = [], 0
            tasks.append(self._task(image, name, data))
            size += len(data)
        if tasks:
            yield tasks

    def _files(self, images: Sequence[int]) -> Iterator[tuple[int, str, str]]:
        """Yield each image with its name and itself as a `data:` URL: its original, or else the pool's picture."""
        originals = self._photos
        for start in range(0, len(images), AHEAD):
            part = images[start : start + AHEAD]
            real = [image for image in part if image not in self.session.state.synthetic]
            names = {} if originals is None else originals.keys(real)
            views = {image: originals.get(image, "", (EDGE,)) for image in names} if originals is not None else {}
            pictures = self.session.images(np.array(part, np.int64))
            for image, picture in zip(part, pictures, strict=True):
                found = views[image].result().files if image in views else {}
                yield image, names.get(image, ""), data_url(found.get(EDGE) or png(picture))

    def _task(self, image: int, name: str, data: str) -> dict[str, Any]:
        pick, asked = self.session.state.waiting[image], self.session.state.rounds
        # Lowest first: rounds in order, and in a round the order of asking.
        rank = pick.round + pick.place / len(asked[pick.round].ids)
        ids = {IMAGE: image, ROUND: pick.round}
        named = {"asal_file": name} if name else {}
        return {
            "data": {"image": data, **ids, "asal_score": pick.score, **named},
            "meta": {POOL: self.session.pool.fingerprint, **ids},
            "predictions": [{"model_version": MODEL, "score": rank, "result": []}],
        }

    def pull(self) -> Report:
        """Read the answers, write what is new, and report. Called again, it writes nothing.

        Raises:
            BusyError: others write to the record all the time.
        """
        tasks = list(self._studio.tasks(self.project))
        present = {image_of(task, self._target.pool) for task in tasks}

        def write() -> tuple[list[Event], list[Discrepancy]]:
            state = self.session.refresh()
            events, discrepancies = reconcile(state, tasks, self._target)
            self.session.record.append(events, after=state.seq)
            return events, discrepancies

        events, discrepancies = retry(write, tries=ATTEMPTS, on=BusyError)
        waiting = self.session.refresh().waiting
        missing = sum(image not in present for image in waiting)
        return Report(tuple(discrepancies), len(events), len(waiting), missing)

    def sync(self, size: Callable[[Session], int], say: Callable[[Report, Pushed], object]) -> bool:
        """Pull, choose the next batch once the open one is answered, and push; return whether anything is left to do.

        Args:
            size: how many images the next batch holds, 0 to end.
            say: is called with what was pulled and what was pushed.
        """
        report = self.pull()
        n = 0 if report.open else size(self.session)
        idle = Pushed(self.project, (), report.open)
        pushed = self.push(n) if n or report.missing else idle  # which lists all tasks once more
        say(report, pushed)
        return bool(self.session.state.waiting)

    def follow(
        self,
        size: Callable[[Session], int],
        say: Callable[[Report, Pushed], object],
        every: float,
        hint: threading.Event,
        trouble: Say,
    ) -> None:
        """Sync until nothing is left to do, every so many seconds, or sooner when a webhook arrives.

        Args:
            trouble: is called with a message if Label Studio cannot be reached or the record is busy.
        """
        while True:
            hint.clear()  # before the sync: a webhook that arrives meanwhile starts the next one
            try:
                if not self.sync(size, say):
                    return
            except (AwayError, BusyError) as error:
                trouble(f"{error}")
            threading.Event().wait(min(SHORTEST, every))
            hint.wait(max(every - SHORTEST, 0))

    def hook(self, url: str) -> None:
        """Let Label Studio call a URL when somebody has answered; if `listening` serves it, `progress` syncs sooner."""
        self._studio.add_webhook(self.project, url)


def data_url(file: bytes) -> str:
    """Return an image's file as a URL that holds it."""
    return f"data:{kind_of_file(file)};base64,{base64.b64encode(file).decode()}"


def _question(config: dict[str, Any]) -> str:
    asked = "; ".join(f"{name} ({one.get('type')}): {', '.join(one.get('labels', ()))}" for name, one in config.items())
    return re.sub(r"\s+", " ", asked)[:300] or "nothing"


class _Hint(BaseHTTPRequestHandler):
    """Any call is a hint to sync. Its body is not read, so a caller can cause a sync and nothing else."""

    timeout = 2.0
    protocol_version = "HTTP/1.0"

    def __init__(self, hint: threading.Event, *rest: Any) -> None:
        self._hint = hint
        super().__init__(*rest)

    def do_POST(self) -> None:
        """Set the hint."""
        self._hint.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def listening(port: int) -> Iterator[tuple[threading.Event, int]]:
    """Listen on the loopback for webhooks; yield the event that each of them sets, and the port (0 takes a free one).

    Raises:
        UserError: the port is taken.
    """
    hint = threading.Event()
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Hint, hint))
    except OSError as error:
        raise UserError(
            f"--listen {port} does not work: {error.strerror}",
            rule="webhooks arrive at a free port of the loopback",
            hint="choose another port",
        ) from None
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hint, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
