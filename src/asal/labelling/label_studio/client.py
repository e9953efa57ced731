"""A small client of Label Studio's REST interface: projects, tasks, annotations, webhooks.

Label Studio is a separate program, at a URL, behind a token. It may be down, slow or restarted. Requests that can be
repeated without harm are repeated; others, such as an import whose reply was lost, raise an error, and the caller
checks first what has arrived. Tested with Label Studio 1.23.2 (Community).
"""

from __future__ import annotations

import json
import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

from asal.errors import UserError, without_secrets
from asal.labelling.hotkeys import hotkeys as class_hotkeys
from asal.runtime.optional import require
from asal.runtime.retry import retry

if TYPE_CHECKING:
    import httpx

VARIABLE = "LABEL_STUDIO_API_KEY"  # where the token is looked for
CONTROL = "label"  # what the choice is called in a task's annotations
MODEL = "asal"  # the model of the predictions by whose score Label Studio orders tasks
KEYS = "1234567890qwetasdfgzxcvbyiopjknm"  # the other letters are Label Studio's own commands
BUSY = (429, 503)  # the request was not carried out
BROKEN = (500, 502, 504)  # it may have been
PAGE = 1000  # tasks to a page of a listing
LONGEST = 300  # characters of Label Studio's own words in an error
LONGEST_WAIT = 30.0  # seconds, whatever a server asks for


class AwayError(UserError):
    """Label Studio cannot be reached at present, or is too busy: the request may succeed later."""


@dataclass(frozen=True)
class Annotation:
    """One person's answer to one task."""

    id: int
    by: str  # an e-mail, or the user's number
    choices: tuple[str, ...]
    skipped: bool
    at: str  # when it was last changed: UTC, ISO 8601
    seconds: float | None


@dataclass(frozen=True)
class LabelStudioTask:
    """An image in Label Studio. `meta` is what asal put there: see `asal.labelling.label_studio.bridge`."""

    id: int
    meta: Mapping[str, Any]
    annotations: tuple[Annotation, ...]


class _Unfinished(Exception):  # noqa: N818  it is a reply
    """A reply after which the same request may succeed."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


def token_of(file: Path | None = None) -> str:
    """Return the token in a file, or in the environment where no file is named.

    Raises:
        UserError: there is none, or it is not a token.
    """
    try:
        token = (file.read_text(encoding="utf-8") if file else os.environ.get(VARIABLE, "")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the token's file {file} cannot be read: {type(error).__name__}", hint="correct --token-file"
        ) from None
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        where = str(file) if file else f"${VARIABLE}"
        raise UserError(
            f"{where} {'is empty or not set' if not token else 'does not hold a token'}",
            rule="a token is one word, from Label Studio's page 'Account & Settings'",
            hint=f"put the token into {VARIABLE}, or into a file that --token-file names",
        )
    return token


def hotkeys(classes: Sequence[str]) -> dict[str, str]:
    """Return the key of each class that gets one.

    >>> hotkeys(["cat", "dog", "7", "1"])
    {'cat': '2', 'dog': '3', '7': '7', '1': '1'}
    """
    keys = class_hotkeys(classes, KEYS)
    return {name: key for name, key in zip(classes, keys, strict=True) if key}


def label_config(classes: Sequence[str]) -> str:
    """Return Label Studio's labelling interface: the image, and one choice among the classes, each with a key.

    >>> print(label_config(['<b>', 'a "dog"']))
    <View>
      <Image name="image" value="$image" zoom="true" smoothing="false"/>
      <Choices name="label" toName="image" choice="single" showInline="true" required="true">
        <Choice value="&lt;b&gt;" hotkey="1"/>
        <Choice value='a "dog"' hotkey="2"/>
      </Choices>
    </View>
    """
    keys = hotkeys(classes)
    rows = [f"    <Choice value={quoteattr(n)}" + (f' hotkey="{keys[n]}"/>' if n in keys else "/>") for n in classes]
    head = '  <Image name="image" value="$image" zoom="true" smoothing="false"/>'
    one = f'  <Choices name="{CONTROL}" toName="image" choice="single" showInline="true" required="true">'
    return "\n".join(["<View>", head, one, *rows, "  </Choices>", "</View>"])


class LabelStudio:
    """A Label Studio server, used in one person's name."""

    def __init__(self, url: str, token: str, *, patience: float = 60.0, tries: int = 4, pause: float = 0.5) -> None:
        """Name the server; nothing is requested yet.

        Args:
            url: as in a browser, up to where `/projects` begins.
            token: a legacy token, or a personal access token, for which short-lived ones are fetched.
            patience: seconds that one reply may take.
            tries: how often a request is sent at most, if repeating it does no harm.
            pause: seconds before the second try; twice as many before each next one.
        """
        self.url, self._token, self._tries, self._pause = _checked_url(url), token, tries, pause
        self._fetched = ""  # the short-lived token that a personal access token is exchanged for
        self._users: dict[int, str] = {}
        httpx = require("httpx", extra="labelstudio", why="httpx talks to Label Studio")
        # Proxies of the environment are not for this machine.
        local = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(timeout=httpx.Timeout(patience, connect=min(10.0, patience)), trust_env=not local)
        weakref.finalize(self, self._http.close)  # if nobody closes it

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> LabelStudio:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def me(self) -> str:
        """Return the e-mail of the token's user: to be called first, as it checks the URL and the token."""
        return str(self._ask("GET", "/api/current-user/whoami")["email"])

    def project(self, number: int) -> dict[str, Any]:
        """Return the facts of a project."""
        return dict(self._ask("GET", f"/api/projects/{number}/"))

    def find(self, mark: str) -> int | None:
        """Return the project whose description contains this mark, if there is one."""
        page: Any = {"next": True, "results": []}
        number = 0
        while page["next"]:
            number += 1
            asked = {"include": "id,description", "page": number, "page_size": 100}
            page = self._ask("GET", "/api/projects/", params=asked)
            for project in page["results"]:
                if mark in (project.get("description") or ""):
                    return int(project["id"])
        return None

    def create(self, title: str, config: str, mark: str, people: int = 1) -> int:
        """Create a project that asks one question per image, lowest score first; return its number.

        Args:
            mark: goes into its description, for `find`.
            people: who answer each task.

        Raises:
            UserError: Label Studio refuses the configuration.
        """
        self._ask("POST", "/api/projects/validate/", json={"label_config": config}, repeatable=True)
        facts = {
            "title": title[:50],  # the longest that Label Studio allows
            "description": f"Filled and read by asal. Please leave this mark: {mark}",
            "label_config": config,
            "sampling": "Uncertainty sampling",  # lowest prediction score first
            "model_version": MODEL,
            "maximum_annotations": people,
            "show_skip_button": True,
            "enable_empty_annotation": False,
            "show_collab_predictions": False,  # there is none to show, and it would bias people
            "skip_queue": "IGNORE_SKIPPED",  # skipped tasks are not served again
        }
        return int(self._ask("POST", "/api/projects/", json=facts)["id"])

    def configure(self, project: int, config: str) -> None:
        """Give a project another question; Label Studio refuses one that its answers do not fit."""
        self._ask("PATCH", f"/api/projects/{project}/", json={"label_config": config}, repeatable=True)

    def put(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Import tasks in Label Studio's form; return their numbers there.

        Raises:
            AwayError: there was no reply. The tasks may have arrived nevertheless: check before trying again.
        """
        if not tasks:
            return []
        path, asked = f"/api/projects/{project}/import", {"return_task_ids": "true", "commit_to_project": "true"}
        return [int(number) for number in self._ask("POST", path, params=asked, json=list(tasks))["task_ids"]]

    def tasks(self, project: int) -> Iterator[LabelStudioTask]:
        """Yield every task of a project with its annotations, in the order of their numbers, without the images.

        This uses the listing, not the export, which sends every image again and does not exist in Enterprise. Each page
        starts after the last number of the one before, so that deleting a task meanwhile skips no other one.
        """
        fields = "id,meta,annotations,result,completed_by,was_cancelled,updated_at,lead_time"
        after, left = 0, 1
        while left > 0:
            beyond = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}
            query = {"filters": {"conjunction": "and", "items": [beyond]}, "ordering": ["tasks:id"]}
            asked = {
                "project": project, "fields": "all", "include": fields, "page_size": PAGE, "query": json.dumps(query),
            }  # fmt: skip
            page = self._ask("GET", "/api/tasks", params=asked)
            left = page["total"] - len(page["tasks"]) if page["tasks"] else 0
            for found in page["tasks"]:
                after = int(found["id"])
                yield LabelStudioTask(
                    after, found.get("meta") or {}, tuple(map(self._annotation, found["annotations"]))
                )

    def _annotation(self, found: Mapping[str, Any]) -> Annotation:
        choices: list[str] = []
        for part in found.get("result") or ():
            if part.get("type") == "choices" and part.get("from_name") == CONTROL:
                choices += map(str, part.get("value", {}).get("choices", ()))
        seconds, who = found.get("lead_time"), found.get("completed_by")
        who = who.get("id") if isinstance(who, Mapping) else who
        return Annotation(
            int(found["id"]),
            self._email(who) if who is not None else f"nobody-{found['id']}",  # whose account was deleted
            tuple(choices),
            bool(found.get("was_cancelled")),
            str(found["updated_at"]),
            None if seconds is None else float(seconds),
        )

    def _email(self, user: int) -> str:
        if user not in self._users:
            self._users = {int(one["id"]): str(one["email"]) for one in self._ask("GET", "/api/users/")}
            self._users.setdefault(user, str(user))
        return self._users[user]

    def add_webhook(self, project: int, url: str) -> None:
        """Let Label Studio call a URL whenever an annotation is created, changed or deleted; once for each URL."""
        known = self._ask("GET", "/api/webhooks/", params={"project": project})
        if any(hook["url"] == url for hook in known):
            return
        actions = ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"]
        facts = {"url": url, "project": project, "actions": actions}
        try:
            self._ask("POST", "/api/webhooks/", json={**facts, "send_payload": False, "send_for_all_actions": False})
        except UserError as error:
            raise UserError(
                f"Label Studio refuses the webhook {without_secrets(url)}: {error.got}",
                hint="leave the webhook out, or start Label Studio with SSRF_PROTECTION_ENABLED=false",
            ) from None

    def _ask(self, method: str, path: str, *, repeatable: bool = False, **what: Any) -> Any:
        """Send a request, again where that does no harm, and return the JSON of the reply; None if it is empty."""
        repeatable = repeatable or method == "GET"

        def send() -> httpx.Response:
            answer: httpx.Response = self._send(method, path, what)
            if answer.status_code in ((*BUSY, *BROKEN) if repeatable else BUSY):
                raise _Unfinished(answer)
            return answer

        def may_succeed(error: Exception) -> bool:
            unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            return isinstance(error, _Unfinished) or unsent or (repeatable and isinstance(error, httpx.RequestError))

        def pause(failed: int, error: Exception) -> float:
            asked = _seconds(error.answer.headers.get("retry-after")) if isinstance(error, _Unfinished) else 0.0
            return float(max(self._pause * 2 ** (failed - 1), min(asked, LONGEST_WAIT)))

        import httpx

        try:
            return self._read(retry(send, tries=self._tries, on=may_succeed, pause=pause), path)
        except _Unfinished as error:
            return self._read(error.answer, path)
        except httpx.InvalidURL as error:
            raise self._no_label_studio(str(error)) from None
        except httpx.RequestError as error:
            raise self._away(error) from None

    def _send(self, method: str, path: str, what: Mapping[str, Any]) -> httpx.Response:
        personal = self._token.count(".") == 2  # a JSON web token
        if personal and not self._fetched:
            self._fetched = self._exchanged()
        answer: httpx.Response = self._http.request(method, self.url + path, headers=self._name(personal), **what)
        if personal and answer.status_code == 401:  # it lives for minutes
            self._fetched = self._exchanged()
            answer = self._http.request(method, self.url + path, headers=self._name(personal), **what)
        return answer

    def _name(self, personal: bool) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._fetched}" if personal else f"Token {self._token}"}

    def _exchanged(self) -> str:
        path = "/api/token/refresh/"
        return str(self._read(self._http.post(self.url + path, json={"refresh": self._token}), path)["access"])

    def _read(self, answer: httpx.Response, path: str) -> Any:
        if answer.is_success:
            if not answer.content:
                return None
            try:
                return answer.json()
            except ValueError:
                raise self._no_label_studio(f"what replies at {path} is not Label Studio") from None
        message = self._message(answer)
        if answer.is_redirect:
            where = without_secrets(answer.headers.get("location", ""))
            raise self._no_label_studio(f"{path} is redirected to {where}")
        if answer.status_code == 401:
            raise UserError(
                f"Label Studio at {self._place} refuses the token: {message}",
                hint="copy it again from 'Account & Settings'; the organization must allow legacy tokens",
            )
        if answer.status_code == 404 and not message:
            raise self._no_label_studio(f"there is no {path}")
        if answer.status_code >= 500 or answer.status_code == 429:
            raise AwayError(
                f"Label Studio failed at {self._place}{path}: {answer.status_code} {message}",
                hint="see its log, then run the same command again: nothing is done twice",
            )
        raise UserError(
            f"Label Studio refuses {self._place}{path}: {answer.status_code} {message}",
            hint="correct --project-id, or ask who runs it for the right to do this",
        )

    def _message(self, answer: httpx.Response) -> str:
        """Return Label Studio's reason, shortened and without the token; "" if it is not JSON."""
        try:
            body = answer.json()
        except ValueError:
            return ""
        words = str(body.get("detail", "")) if isinstance(body, Mapping) else str(body)
        if isinstance(body, Mapping) and (more := body.get("validation_errors") or (not words and body)):
            words = f"{words} {json.dumps(more, ensure_ascii=False)}".strip()
        for secret in (self._token, self._fetched):
            words = words.replace(secret, "…") if secret else words
        return words if len(words) <= LONGEST else words[:LONGEST] + " …"

    @property
    def _place(self) -> str:
        return without_secrets(self.url)

    def _away(self, error: Exception) -> AwayError:
        slow = "timeout" in type(error).__name__.lower()
        got = "no reply in time" if slow else str(error).replace(self._token, "…") or type(error).__name__
        return AwayError(
            f"Label Studio at {self._place} cannot be reached: {got}",
            hint="start it, or correct --url; then run the same command again: nothing is done twice",
        )

    def _no_label_studio(self, got: str) -> UserError:
        return UserError(
            f"there is no Label Studio at {self._place}: {got}",
            hint="correct --url: it is the part before /projects in a browser's address",
        )


def _seconds(text: str | None) -> float:
    return float(text) if text and re.fullmatch(r"\d{1,6}", text) else 0.0


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise UserError(
            f"{without_secrets(url) or 'nothing'} is not the URL of a Label Studio",
            rule="it is one such as https://labels.example.org, without a name or a token in it",
            hint="correct --url",
        )
    return url.rstrip("/")
