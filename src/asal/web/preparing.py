"""What is served while a project's images are taken in: the page, which shows how far that is, and signing in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from asal.labelling.messages import Activity
from asal.project.durations import duration
from asal.web.app import explain_errors
from asal.web.middleware import App, Receive, Scope, Send, error_body
from asal.web.signing import SignIn, Who, add_pages, add_signing

HINT = "the page opens by itself as soon as the images are there"


@dataclass
class CurrentApp:
    """The application that answers requests at present: another one takes its place at once, for later requests."""

    app: App

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.app(scope, receive, send)


def build_preparing(sign_in: SignIn, activity: Callable[[], Activity]) -> FastAPI:
    """Return the application of a project whose images are being taken in.

    Whoever has signed in gets status 503, "later", with what is done now: the page shows it, and tries again.
    """
    app = FastAPI(title="asal label", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    explain_errors(app)
    add_pages(app)
    add_signing(app, sign_in)

    @app.api_route("/api/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
    def later(rest: str, who: Who) -> JSONResponse:
        now = activity()
        body = error_body(sentence(now), "", HINT) if now.error is None else {"error": now.error.to_json()}
        return JSONResponse({"error": {**body["error"], "doing": now.to_json()}}, 503)

    return app


def sentence(activity: Activity) -> str:
    """Return how far it is, for people.

    >>> sentence(Activity("taking in images", 1234, 3068))
    'Taking in your photographs: 1,234 of 3,068'
    """
    if activity.stage == "waiting":
        return activity.note or "Waiting"
    if activity.stage != "taking in images" or not activity.total:
        return "Taking in your photographs"
    left = activity.to_json()["left"]
    rest = f", about {duration(left)} left" if left is not None and activity.done < activity.total else ""
    return f"Taking in your photographs: {activity.done:,} of {activity.total:,}{rest}"
