"""What every application of the server has: the page's files, and signing in and out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from asal.labelling.annotators import SESSION, Annotator, Annotators
from asal.web.middleware import PUBLIC, Refusal
from asal.web.schemas import EmptyRequest, ErrorResponse, TokenRequest

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
REFUSALS = {
    400: "The request cannot be read.",
    401: "Nobody has signed in.",
    403: "The request is addressed to another server, comes from another page, or is for adjudicators alone.",
    404: "There is no such image, or nothing is known of it.",
    409: "This cannot be done in the present state; nothing was written.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    422: "The request does not have the form that this document describes.",
    503: "The record is busy or cannot be written at present: send the same request again.",
}


def refusing(*more: int) -> dict[int | str, dict[str, Any]]:
    """Return the error replies of a route, for the OpenAPI document."""
    return {status: {"model": ErrorResponse, "description": REFUSALS[status]} for status in (400, 403, *more)}


READING, WRITING = refusing(401, 422, 503), refusing(401, 409, 413, 415, 422, 503)


@dataclass(frozen=True)
class SignIn:
    """Who may sign in, and with which cookie."""

    annotators: Annotators
    cookie: str = "asal"
    secure: bool = False  # whether people use https at the proxy
    root_path: str = ""  # before the page at the proxy

    def cookie_options(self, request: Request) -> dict[str, Any]:
        """Return for which addresses a cookie is: by the proxy, those under its path, and over https if it has that."""
        public = bool(request.scope.get(PUBLIC))
        path = self.root_path if public else ""
        return {"httponly": True, "samesite": "strict", "secure": self.secure and public, "path": path or "/"}


def signed_in(request: Request) -> Annotator:
    """Return who sent a request, by its cookie or its bearer token."""
    sign_in: SignIn = request.app.state.sign_in
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else request.cookies.get(sign_in.cookie, "")
    person = sign_in.annotators.who(token) if 0 < len(token) <= 200 else None
    if person is None:
        raise Refusal(
            401,
            "the token is not valid" if token else "you are not signed in",
            hint="open the link that `asal label` prints, or paste the token that `asal annotator add` gave",
        )
    return person


Who = Annotated[Annotator, Depends(signed_in)]


def add_pages(app: FastAPI) -> None:
    """Serve the page's files, and say that the server answers."""
    files = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}

    def file(name: str) -> Response:
        if name not in files:  # no path that a client sends reaches the disk
            raise HTTPException(404)
        path = files[name]
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

    app.get("/static/{name}", include_in_schema=False)(file)
    app.get("/", include_in_schema=False)(lambda: file("index.html"))

    @app.get("/healthz", responses=refusing())
    def healthz() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok"}


def add_signing(app: FastAPI, sign_in: SignIn) -> None:
    """Let people sign in and out."""
    annotators, app.state.sign_in = sign_in.annotators, sign_in

    @app.post("/api/enter", responses=WRITING)
    def enter(body: TokenRequest, request: Request) -> Response:
        """Sign in: exchange a token for a cookie that only this server gets."""
        person = annotators.who(body.token)
        if person is None:
            raise Refusal(
                401,
                "this token is not valid in this project",
                hint="paste the complete token, or ask whoever runs this project for a new one",
            )
        reply = JSONResponse({"name": person.name, "role": person.role})
        cookie = annotators.token(person.name, SESSION)
        reply.set_cookie(sign_in.cookie, cookie, max_age=int(SESSION), **sign_in.cookie_options(request))
        return reply

    @app.post("/api/leave", responses=WRITING)
    def leave(body: EmptyRequest, who: Who, request: Request) -> Response:
        """Sign out: the cookie's token becomes invalid."""
        annotators.leave(request.cookies.get(sign_in.cookie, ""))
        reply = JSONResponse({})
        reply.delete_cookie(sign_in.cookie, **sign_in.cookie_options(request))
        return reply

    @app.get("/api/openapi.json", include_in_schema=False)
    def openapi(who: Who) -> dict[str, Any]:
        return app.openapi()
