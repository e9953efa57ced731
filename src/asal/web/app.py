"""The routes: each is parse, one call, reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from asal.errors import BusyError, DamageError, OutageError, UserError
from asal.labelling.annotators import Annotator
from asal.labelling.dashboard import Dashboard
from asal.labelling.decisions import Answer
from asal.labelling.photos import Photos
from asal.labelling.service import AnnotationService, AnswerOutcome, ImageTask
from asal.web.middleware import Refusal, error_body
from asal.web.pictures import Edge, Pictures, sees
from asal.web.project_info import ProjectInfo
from asal.web.schemas import AnswersRequest, ClassesRequest, NextRequest, Place, WithdrawalRequest
from asal.web.signing import READING, WRITING, SignIn, Who, add_pages, add_signing, refusing

FIRST = 12  # photographs that are decoded before anybody has opened the page
RETRY_LATER = (BusyError, DamageError, OutageError)  # the request is fine: the page keeps it and sends it again


@dataclass(frozen=True)
class AppState:
    """What the routes serve."""

    project: ProjectInfo
    dashboard: Dashboard
    cookie: str = "asal"
    secure: bool = False  # whether people use https at the proxy
    root_path: str = ""  # before the page at the proxy
    photos: Photos | None = None  # originals, for people

    @cached_property
    def pictures(self) -> Pictures:
        """The images, for the page."""
        return Pictures(self.project, self.photos)

    @property
    def sign_in(self) -> SignIn:
        """Signs people in."""
        return SignIn(self.dashboard.annotators, self.cookie, self.secure, self.root_path)

    @property
    def service(self) -> AnnotationService:
        """Gives images and writes answers."""
        return self.dashboard.service


ABOUT = READING | refusing(404)
PICTURE: dict[int | str, dict[str, Any]] = {200: {"description": "A PNG file.", "content": {"image/png": {}}}}
PHOTOGRAPH: dict[int | str, dict[str, Any]] = {
    200: {"description": "A photograph, or the pool's picture.", "content": {"image/jpeg": {}, "image/png": {}}}
}


def build(app_state: AppState) -> FastAPI:
    """Return the application, without its guard."""
    app = FastAPI(title="asal label", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    explain_errors(app)
    add_pages(app)
    add_signing(app, app_state.sign_in)
    _answering(app, app_state)
    _classes(app, app_state)
    _reading(app, app_state)
    _pictures(app, app_state)
    state = app_state.service.state
    app_state.pictures.ahead(list(islice(state.waiting, FIRST)), state)  # for whoever opens the page first
    return app


def _answering(app: FastAPI, app_state: AppState) -> None:
    service, dashboard = app_state.service, app_state.dashboard

    @app.post("/api/next", responses=WRITING)
    def give(body: NextRequest, who: Who) -> dict[str, Any]:
        """Give a tab more images to answer, and renew its reservation of those that it has."""
        assignment = service.next(who, body.tab, body.n, body.have)
        counts = {"open": assignment.open, "others": assignment.others}
        activity = dashboard.supervisor.activity.to_json()
        tasks = _tasks(app_state, assignment.tasks)
        app_state.pictures.ahead([task.image for task in assignment.tasks], service.state)
        return {"tasks": tasks, "gone": assignment.gone, "waiting": counts, "doing": activity}

    def write(change: Callable[..., list[AnswerOutcome]], who: Annotator, body: AnswersRequest) -> dict[str, Any]:
        outcomes = change(who, [Answer(**answer.model_dump()) for answer in body.answers], body.key)
        dashboard.supervisor.notify(dashboard.rate())
        return {"accepted": [vars(outcome) for outcome in outcomes], "progress": dashboard.progress()}

    @app.post("/api/answers", responses=WRITING)
    def answer(body: AnswersRequest, who: Who) -> dict[str, Any]:
        """Write answers, all of them or none. The same key again gets the same reply and writes nothing."""
        return write(service.tell, who, body)

    @app.post("/api/corrections", responses=WRITING)
    def correct(body: AnswersRequest, who: Who) -> dict[str, Any]:
        """Change one's own answers; an adjudicator changes anybody's."""
        return write(service.correct, who, body)

    @app.post("/api/withdrawals", responses=WRITING)
    def withdraw(body: WithdrawalRequest, who: Who) -> dict[str, Any]:
        """Withdraw an answer: the image is open again, and reserved for the same tab."""
        task = service.withdraw(who, body.tab, body.image, body.key)
        dashboard.supervisor.notify(dashboard.rate())
        return {"task": _tasks(app_state, [task])[0], "progress": dashboard.progress()}


def _classes(app: FastAPI, app_state: AppState) -> None:
    service, supervisor = app_state.service, app_state.dashboard.supervisor

    def reply(who: Annotator) -> dict[str, Any]:
        return {**app_state.project.classes_json(service.state), "may_change": who.adjudicates}

    @app.get("/api/classes", responses=READING)
    def classes(who: Who) -> dict[str, Any]:
        """Return the classes: with numbers that stay, keys, and how many labels each has; also those that are gone."""
        service.refresh()
        return reply(who)

    @app.post("/api/classes", responses=WRITING)
    def change(body: ClassesRequest, who: Who) -> dict[str, Any]:
        """Add, rename, merge, drop or restore classes: for adjudicators. The same key again changes nothing."""
        if not who.adjudicates:
            raise Refusal(
                403, "only adjudicators change the classes", hint="ask an adjudicator, or whoever runs the project"
            )
        changed = service.change_classes(who, body.to_change(), body.key)
        app_state.project.write_classes(changed.classes)
        supervisor.notify(app_state.dashboard.rate())
        return {**reply(who), "done": " ".join(changed.lines), "settled": changed.settled}


def _reading(app: FastAPI, app_state: AppState) -> None:
    service, dashboard, about = app_state.service, app_state.dashboard, app_state.project

    @app.get("/api/project", responses=READING)
    def project(who: Who) -> dict[str, Any]:
        """Return what seldom changes: classes and their keys, the images' shape, the budget, who I am."""
        facts = about.to_json(service.record.name, service.refresh())
        return {**facts, "sees": sees(about), "me": {"name": who.name, "role": who.role}}

    @app.get("/api/status", responses=READING)
    def status(who: Who) -> dict[str, Any]:
        """Return the progress of the labelling, and what the worker does."""
        return dashboard.status(who)

    @app.get("/api/history", responses=READING)
    def history(
        who: Who, n: Annotated[int, Query(ge=1, le=500)] = 50, before: Annotated[int | None, Query(ge=0)] = None
    ) -> dict[str, Any]:
        """Return my own answers, newest first; `before` is the `seq` of the oldest one so far."""
        service.refresh()
        entries, more = service.history.newest(who.name, n, before)
        state = service.state
        rows = [{**vars(entry), "synthetic": entry.image in state.synthetic} for entry in entries]
        return {"answers": app_state.pictures.beside(rows, state), "more": more}

    @app.get("/api/stopping", responses=READING)
    def stopping(who: Who) -> dict[str, Any]:
        """Return what the stopping criteria say."""
        return dashboard.stopping()

    @app.get("/api/team", responses=READING)
    def team(who: Who) -> dict[str, Any]:
        """Return who did what, and how far people agree."""
        facts = dashboard.team(who)
        return {**facts, "disputed": app_state.pictures.beside(facts["disputed"], service.state)}

    @app.get("/api/why/{image}", responses=ABOUT)
    def why(image: Place, who: Who) -> dict[str, Any]:
        """Return why an image was chosen."""
        why: dict[str, Any] = _known(dashboard.why(image), image)
        return why

    @app.get("/api/guess/{image}", responses=ABOUT)
    def guess(image: Place, who: Who) -> dict[str, Any]:
        """Return the classifier's probabilities, for whoever asks for them: they bias annotators."""
        _known(dashboard.why(image), image)
        return {"probs": dashboard.guess(image)}


def _pictures(app: FastAPI, app_state: AppState) -> None:
    service, dashboard = app_state.service, app_state.dashboard

    @app.get("/images/{image}.png", response_class=Response, responses=ABOUT | PICTURE)
    def picture(image: Place, who: Who, of: str = "") -> Response:
        """Return an image that was asked about. With `of`, as in `src`, a browser may keep it."""
        state = service.state
        _known(state.pick(image), image)
        return app_state.pictures.picture(image, state, of)

    @app.get("/photos/{image}.jpg", response_class=Response, responses=ABOUT | PHOTOGRAPH)
    async def photograph(image: Place, who: Who, edge: Edge, of: str = "") -> Response:
        """Return the original of an image that was asked about, encoded again, at most `edge` pixels wide and high.

        The header X-Original says whether it is "here". Where it is "gone", "changed" or "unreadable", the reply is the
        pool's picture; with Retry-After it is still being read.
        """
        state = service.state
        _known(state.pick(image), image)
        return await app_state.pictures.photograph(image, state, of, edge)

    @app.get("/why/{image}.png", response_class=Response, responses=ABOUT | PICTURE)
    def synthetic(image: Place, who: Who) -> Response:
        """Return the synthetic image that led to one that was asked about."""
        reason = dashboard.supervisor.reason(image)
        return Response(_known(reason and reason.synthetic, image), media_type="image/png")


def _tasks(app_state: AppState, tasks: Sequence[ImageTask]) -> list[dict[str, Any]]:
    state = app_state.service.state
    rows = []
    for task in tasks:
        guided = "latent" in state.notes.get(task.image, {})  # a synthetic image led to it
        votes = [{"by": by, "label": label} for by, label in task.votes]
        rows.append({**vars(task), "votes": votes, "why": guided})
    return app_state.pictures.beside(rows, state)


def _known(value: Any, image: int) -> Any:
    if value is None:
        raise Refusal(
            404,
            f"nothing is known of image {image}",
            rule="only images that were chosen for labelling are shown",
            hint="go on with the next image: this one was not chosen, or its details are not there yet",
        )
    return value


def explain_errors(app: FastAPI) -> None:
    """Let an application reply to errors in the form that the page reads."""
    for kind in (UserError, RequestValidationError, HTTPException, Refusal):
        app.add_exception_handler(kind, _explained)


def _explained(request: Request, error: Exception) -> Response:
    """Return an error as JSON."""
    headers: Mapping[str, str] | None = None
    if isinstance(error, Refusal):
        body, status = error_body(error.got, error.rule, error.hint), error.status
    elif isinstance(error, UserError):
        body, status = error_body(error.got, error.rule, error.hint), 503 if isinstance(error, RETRY_LATER) else 409
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        got = f"the request does not fit: {'.'.join(str(step) for step in first['loc'])[:80]}: {first['msg'][:200]}"
        body, status = error_body(got, "", "send what /api/openapi.json describes"), 422
    else:
        status, headers = getattr(error, "status_code", 404), getattr(error, "headers", None)
        got = f"there is nothing at {request.method} {request.url.path[:200]}"
        body = error_body(got, "", "see /api/openapi.json for what there is")
    # In ASCII: the request may hold half a surrogate pair, which UTF-8 cannot encode.
    return Response(json.dumps(body), status, headers, "application/json")
