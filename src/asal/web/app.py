"""The routes: each is parse, one call, reply."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from asal.errors import BusyError, DamageError, OutageError, UserError
from asal.labelling.annotators import SESSION, Annotator
from asal.labelling.dashboard import Dashboard
from asal.labelling.decisions import Answer
from asal.labelling.service import AnnotationService, AnswerOutcome, ImageTask
from asal.web.middleware import Refusal, error_body
from asal.web.project_info import ProjectInfo
from asal.web.schemas import (
    AnswersRequest,
    EmptyRequest,
    ErrorResponse,
    NextRequest,
    Place,
    TokenRequest,
    WithdrawalRequest,
)

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}  # an id is the same image for ever
LATER = (BusyError, DamageError, OutageError)  # no fault of what was sent: the page keeps it and sends it again
REFUSALS = {
    400: "The request is not readable.",
    401: "Nobody has signed in.",
    403: "The request is addressed to somebody else, or comes from another page.",
    404: "There is no such image, or nothing is known of it.",
    409: "As things stand that cannot be done; nothing was written.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    422: "The request does not have the form that is told here.",
    503: "The record is busy, or cannot be written just now: send the same once more.",
}


@dataclass(frozen=True)
class AppState:
    """All that the routes serve."""

    facts: ProjectInfo
    dashboard: Dashboard
    cookie: str = "asal"
    secure: bool = False  # whether people come over https

    @property
    def service(self) -> AnnotationService:
        """Gives images and takes answers."""
        return self.dashboard.service


def refusing(*more: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route may say beside what is asked of it, for the OpenAPI."""
    return {status: {"model": ErrorResponse, "description": REFUSALS[status]} for status in (400, 403, *more)}


READING, WRITING = refusing(401, 422, 503), refusing(401, 409, 413, 415, 422, 503)
ABOUT = READING | refusing(404)
PICTURE: dict[int | str, dict[str, Any]] = {200: {"description": "A PNG file.", "content": {"image/png": {}}}}


def build(app_state: AppState) -> FastAPI:
    """Return the application, without its guard."""
    app = FastAPI(title="asal label", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.app_state = app_state
    for wrong in (UserError, RequestValidationError, HTTPException, Refusal):
        app.add_exception_handler(wrong, _explained)
    _pages(app)
    _signing(app, app_state)
    _answering(app, app_state)
    _looking(app, app_state)
    _pictures(app, app_state)
    return app


def _signed_in(request: Request) -> Annotator:
    """Return who a request comes from, by its cookie or its bearer token."""
    app_state: AppState = request.app.state.app_state
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else request.cookies.get(app_state.cookie, "")
    person = app_state.dashboard.people.who(token) if 0 < len(token) <= 200 else None
    if person is None:
        raise Refusal(
            401,
            "no valid token" if token else "no token",
            rule="whoever answers has signed in",
            hint="open the link that `asal label` prints, or paste the token that `asal annotator add` gave",
        )
    return person


Who = Annotated[Annotator, Depends(_signed_in)]


def _pages(app: FastAPI) -> None:
    files = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}

    def file(name: str) -> Response:
        if name not in files:  # a name of ours, or nothing: no path of a client's reaches the disk
            raise HTTPException(404)
        path = files[name]
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

    app.get("/static/{name}", include_in_schema=False)(file)
    app.get("/", include_in_schema=False)(lambda: file("index.html"))

    @app.get("/healthz", responses=refusing())
    def healthz() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok"}


def _signing(app: FastAPI, app_state: AppState) -> None:
    people = app_state.dashboard.people

    @app.post("/api/enter", responses=WRITING)
    def enter(given: TokenRequest) -> Response:
        """Sign in: a token for a cookie that only this server sees."""
        person = people.who(given.token)
        if person is None:
            raise Refusal(
                401,
                "one that is not",
                rule="a token is one of this project's",
                hint="ask for a new one: asal annotator token",
            )
        reply = JSONResponse({"name": person.name, "role": person.role})
        cookie = people.token(person.name, SESSION)
        options: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": app_state.secure}
        reply.set_cookie(app_state.cookie, cookie, max_age=int(SESSION), **options)
        return reply

    @app.post("/api/leave", responses=WRITING)
    def leave(given: EmptyRequest, who: Who, request: Request) -> Response:
        """Sign out: the cookie's token is good no more."""
        people.leave(request.cookies.get(app_state.cookie, ""))
        reply = JSONResponse({})
        reply.delete_cookie(app_state.cookie)
        return reply

    @app.get("/api/openapi.json", include_in_schema=False)
    def openapi(who: Who) -> dict[str, Any]:
        return app.openapi()


def _answering(app: FastAPI, app_state: AppState) -> None:
    service, dashboard = app_state.service, app_state.dashboard

    @app.post("/api/next", responses=WRITING)
    def give(hand: NextRequest, who: Who) -> dict[str, Any]:
        """Give images to answer beyond those that a tab has, and renew its hold on these."""
        given = service.next(who, hand.tab, hand.n, hand.have)
        counts = {"open": given.open, "others": given.others}
        tasks = [_task(app_state, task) for task in given.tasks]
        return {"tasks": tasks, "gone": given.gone, "waiting": counts, "doing": dashboard.supervisor.doing}

    def written(change: Callable[..., list[AnswerOutcome]], who: Annotator, told: AnswersRequest) -> dict[str, Any]:
        done = change(who, [Answer(**one.model_dump()) for one in told.answers], told.key)
        dashboard.supervisor.nudge(dashboard.rate())
        return {"accepted": [vars(one) for one in done], "progress": dashboard.progress()}

    @app.post("/api/answers", responses=WRITING)
    def answer(told: AnswersRequest, who: Who) -> dict[str, Any]:
        """Take answers, all of them or none. The same key again is the same reply, and nothing is written."""
        return written(service.tell, who, told)

    @app.post("/api/corrections", responses=WRITING)
    def correct(told: AnswersRequest, who: Who) -> dict[str, Any]:
        """Change one's own answers; an adjudicator changes anybody's."""
        return written(service.correct, who, told)

    @app.post("/api/withdrawals", responses=WRITING)
    def withdraw(back: WithdrawalRequest, who: Who) -> dict[str, Any]:
        """Take an answer back: the image waits again, before the same tab."""
        task = service.withdraw(who, back.tab, back.image, back.key)
        dashboard.supervisor.nudge(dashboard.rate())
        return {"task": _task(app_state, task), "progress": dashboard.progress()}


def _looking(app: FastAPI, app_state: AppState) -> None:
    service, dashboard = app_state.service, app_state.dashboard

    @app.get("/api/project", responses=READING)
    def project(who: Who) -> dict[str, Any]:
        """Return what does not change: classes and their keys, the images' shape, the budget, who I am."""
        return {**app_state.facts.told(service.record.name), "me": {"name": who.name, "role": who.role}}

    @app.get("/api/status", responses=READING)
    def status(who: Who) -> dict[str, Any]:
        """Return how far the labelling is, and what the worker does."""
        return dashboard.status(who)

    @app.get("/api/history", responses=READING)
    def history(
        who: Who, n: Annotated[int, Query(ge=1, le=500)] = 50, before: Annotated[int | None, Query(ge=0)] = None
    ) -> dict[str, Any]:
        """Return my own answers, newest first; `before` is the `seq` of the last one had."""
        service.refresh()
        entries, more = service.timeline.newest(who.name, n, before)
        made = service.state.made
        return {
            "answers": [{**vars(it), "src": _src(app_state, it.image), "made": it.image in made} for it in entries],
            "more": more,
        }

    @app.get("/api/stopping", responses=READING)
    def stopping(who: Who) -> dict[str, Any]:
        """Return what the stopping criteria say."""
        return dashboard.stopping()

    @app.get("/api/team", responses=READING)
    def team(who: Who) -> dict[str, Any]:
        """Return who did what, and how far people agree."""
        found = dashboard.team(who)
        return {**found, "disputed": [{**one, "src": _src(app_state, one["image"])} for one in found["disputed"]]}

    @app.get("/api/why/{image}", responses=ABOUT)
    def why(image: Place, who: Who) -> dict[str, Any]:
        """Return why an image was chosen."""
        return {**_found(dashboard.why(image), image), "score_name": app_state.facts.score}

    @app.get("/api/guess/{image}", responses=ABOUT)
    def guess(image: Place, who: Who) -> dict[str, Any]:
        """Return the classifier's probabilities, for whoever asks for them: they bias people."""
        _found(dashboard.why(image), image)
        return {"probs": dashboard.supervisor.guess(image)}


def _pictures(app: FastAPI, app_state: AppState) -> None:
    service, dashboard = app_state.service, app_state.dashboard

    @app.get("/images/{image}.png", response_class=Response, responses=ABOUT | PICTURE)
    def picture(image: Place, who: Who, of: str = "") -> Response:
        """Return an image that was asked about. `of` names the pool, as in `src`: then a browser may keep it."""
        state = service.state
        _found(state.pick(image), image)
        kept = FOR_EVER if of == app_state.facts.tag(image, state) else {}
        return Response(app_state.facts.picture(image, state), media_type="image/png", headers=kept)

    @app.get("/why/{image}.png", response_class=Response, responses=ABOUT | PICTURE)
    def synthetic(image: Place, who: Who) -> Response:
        """Return the made-up image that led to one that was asked about."""
        told = dashboard.supervisor.reason(image) or {}
        data = base64.b64decode(_found(told.get("synthetic"), image))
        return Response(data, media_type="image/png")


def _src(app_state: AppState, image: int) -> str:
    """Return an image's address. Another project at the same port has other images under the same ids."""
    return f"/images/{image}.png?of={app_state.facts.tag(image, app_state.service.state)}"


def _task(app_state: AppState, task: ImageTask) -> dict[str, Any]:
    led = "latent" in app_state.service.state.notes.get(task.image, {})  # a made-up image led to it
    opinions = [{"by": by, "label": label} for by, label in task.opinions]
    return {**vars(task), "opinions": opinions, "src": _src(app_state, task.image), "why": led}


def _found(what: Any, image: int) -> Any:
    if what is None:
        raise Refusal(
            404, f"image {image}", rule="what is shown is about an image that was asked", hint="ask `next` for one"
        )
    return what


def _explained(request: Request, error: Exception) -> Response:
    """Return what went wrong, in three lines."""
    headers: Mapping[str, str] | None = None
    if isinstance(error, Refusal):
        told, status = error_body(error.got, error.rule, error.hint), error.status
    elif isinstance(error, UserError):
        told, status = error_body(error.got, error.rule, error.hint), 503 if isinstance(error, LATER) else 409
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        got = f"{'.'.join(str(step) for step in first['loc'])[:80]}: {first['msg'][:200]}"
        told, status = error_body(got, "a request has the form that the API describes", "see /api/openapi.json"), 422
    else:
        status, headers = getattr(error, "status_code", 404), getattr(error, "headers", None)
        got = f"{request.method} {request.url.path[:200]}"
        told = error_body(f"there is nothing at {got}", "", "see /api/openapi.json")
    # In ASCII: what came may hold half a character, which UTF-8 cannot.
    return Response(json.dumps(told), status, headers, "application/json")
