"""A small client of Label Studio's REST interface: projects, tasks, annotations, webhooks.

Label Studio is other people's program, at a URL, behind a token. It may be away, slow or restarted. What can be asked
twice without harm is asked again; what cannot, such as an import whose answer was lost, is told as an error, and
whoever calls looks first at what is there. Tried with Label Studio 1.23.2 (Community).
"""

from __future__ import annotations

import json
import os
import re
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

from asal.errors import UserError, without_secrets

if TYPE_CHECKING:
    import httpx

VARIABLE = "LABEL_STUDIO_API_KEY"  # where the token is looked for
CONTROL = "label"  # what the choice is called in a task's annotations
MODEL = "asal"  # the predictions by whose score Label Studio orders tasks are of this model
KEYS = "1234567890qwetasdfgzxcvbyiopjknm"  # Label Studio's own commands have the other letters
BUSY = (429, 503)  # the request was not carried out
BROKEN = (500, 502, 504)  # it may have been
PAGE = 1000  # tasks to a page of a listing
LONGEST = 300  # characters of Label Studio's own words in an error
LONGEST_WAIT = 30.0  # seconds, whatever a server asks for


class AwayError(UserError):
    """Label Studio is not there at present, or too busy: what was asked may succeed later."""


@dataclass(frozen=True)
class Annotation:
    """What one person said about one task."""

    id: int
    by: str  # an e-mail, or the user's number
    choices: tuple[str, ...]
    skipped: bool
    at: str  # when it was last changed: UTC, ISO 8601
    seconds: float | None


@dataclass(frozen=True)
class LabelStudioTask:
    """An image in Label Studio. `meta` is what came with it: see `asal.labelling.label_studio.bridge`."""

    id: int
    meta: Mapping[str, Any]
    annotations: tuple[Annotation, ...]


def token_of(file: Path | None = None) -> str:
    """Return the token in a file, or in the environment where no file is named.

    Raises:
        UserError: there is none, or it is not a token.
    """
    try:
        token = (file.read_text(encoding="utf-8") if file else os.environ.get(VARIABLE, "")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file}: {type(error).__name__}", rule="a token's file can be read", hint="correct --token-file"
        ) from None
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        where = str(file) if file else f"${VARIABLE}"
        raise UserError(
            f"{where} {'is empty or not set' if not token else 'holds something else'}",
            rule="Label Studio is asked with a token: one word, from its page 'Account & Settings'",
            hint=f"put the token into {VARIABLE}, or into a file that --token-file names",
        )
    return token


def hotkeys(classes: Sequence[str]) -> dict[str, str]:
    """Return the key of each class: its own character where its name is one, else the next free one; some may get none.

    >>> hotkeys(["cat", "dog", "7", "1"])
    {'7': '7', '1': '1', 'cat': '2', 'dog': '3'}
    """
    keys = {name: name for name in classes if len(name) == 1 and name in KEYS}
    free = (key for key in KEYS if key not in keys)
    keys.update(zip((name for name in classes if name not in keys), free, strict=False))
    return keys


def label_config(classes: Sequence[str]) -> str:
    """Return Label Studio's description of the page: the image, and one choice among the classes, a key each.

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
    """A Label Studio server, asked in one person's name."""

    def __init__(self, url: str, token: str, *, patience: float = 60.0, tries: int = 4, pause: float = 0.5) -> None:
        """Name the server; nothing is asked yet.

        Args:
            url: as in a browser, up to where `/projects` begins.
            token: a legacy token, or a personal access token, for which short-lived ones are fetched.
            patience: seconds that one answer may take.
            tries: how often at most the same thing is asked, where asking twice does no harm.
            pause: seconds before the second try; twice as many before each next one.
        """
        self.url, self._token, self._tries, self._pause = _checked_url(url), token, tries, pause
        self._fetched = ""  # the short-lived token that a personal access token is exchanged for
        self._users: dict[int, str] = {}
        try:
            import httpx
        except ModuleNotFoundError:
            raise UserError(
                "it is not installed", rule="Label Studio is asked by httpx", hint="pip install 'asal[labelstudio]'"
            ) from None
        # Proxies of the environment are for other hosts than this one.
        here = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(timeout=httpx.Timeout(patience, connect=min(10.0, patience)), trust_env=not here)
        weakref.finalize(self, self._http.close)  # where nobody closes it

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def __enter__(self) -> LabelStudio:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def me(self) -> str:
        """Return in whose name it is asked: the first thing to call, as it checks the URL and the token."""
        return str(self._ask("GET", "/api/current-user/whoami")["email"])

    def project(self, number: int) -> dict[str, Any]:
        """Return what Label Studio says of a project."""
        return dict(self._ask("GET", f"/api/projects/{number}/"))

    def find(self, mark: str) -> int | None:
        """Return the project whose description holds this mark, if there is one."""
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
        """Create a project that asks one question an image and serves the lowest score first; return its number.

        Args:
            mark: stands in its description, so that `find` finds it.
            people: that are to answer each task.

        Raises:
            UserError: Label Studio does not take the configuration.
        """
        self._ask("POST", "/api/projects/validate/", json={"label_config": config}, harmless=True)
        facts = {
            "title": title[:50],  # Label Studio takes no longer ones
            "description": f"Filled and read by asal. Please leave this mark: {mark}",
            "label_config": config,
            "sampling": "Uncertainty sampling",  # lowest prediction score first
            "model_version": MODEL,
            "maximum_annotations": people,
            "show_skip_button": True,
            "enable_empty_annotation": False,
            "show_collab_predictions": False,  # there is nothing to show, and it would bias people
            "skip_queue": "IGNORE_SKIPPED",  # what nobody could tell does not come back
        }
        return int(self._ask("POST", "/api/projects/", json=facts)["id"])

    def put(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Import tasks, as Label Studio wants them; return their numbers there.

        Raises:
            AwayError: no answer came. They may have arrived all the same: look before trying again.
        """
        if not tasks:
            return []
        path, asked = f"/api/projects/{project}/import", {"return_task_ids": "true", "commit_to_project": "true"}
        return [int(number) for number in self._ask("POST", path, params=asked, json=list(tasks))["task_ids"]]

    def tasks(self, project: int) -> Iterator[LabelStudioTask]:
        """Yield every task of a project with its annotations, in the order of their numbers, without the images.

        This is the listing, and not the export: the export sends every image again, and Enterprise has none. It goes
        from each page's last number on, so that a task that is deleted meanwhile makes it miss no other one.
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
            self._email(who) if who is not None else f"nobody-{found['id']}",  # whose account is gone
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

    def tell(self, project: int, url: str) -> None:
        """Let Label Studio call a URL whenever an annotation is made, changed or deleted; once for each URL."""
        known = self._ask("GET", "/api/webhooks/", params={"project": project})
        if any(hook["url"] == url for hook in known):
            return
        actions = ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"]
        facts = {"url": url, "project": project, "actions": actions}
        try:
            self._ask("POST", "/api/webhooks/", json={**facts, "send_payload": False, "send_for_all_actions": False})
        except UserError as error:
            raise UserError(
                f"{without_secrets(url)}: {error.got}",
                rule="Label Studio calls webhooks at addresses that it may reach",
                hint="leave the webhook out, or start Label Studio with SSRF_PROTECTION_ENABLED=false",
            ) from None

    def _ask(self, method: str, path: str, *, harmless: bool = False, **what: Any) -> Any:
        """Ask, again where that does no harm, and return the JSON that came; None where nothing did."""
        import httpx

        harmless = harmless or method == "GET"
        for attempt in range(1, self._tries + 1):
            last, wait = attempt == self._tries, self._pause * 2 ** (attempt - 1)
            try:
                answer = self._send(method, path, what)
            except httpx.InvalidURL as error:
                raise self._nothing_there(str(error)) from None
            except httpx.RequestError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                if last or not (unsent or harmless):
                    raise self._away(error) from None
            else:
                if last or answer.status_code not in ((*BUSY, *BROKEN) if harmless else BUSY):
                    return self._read(answer, path)
                wait = max(wait, min(_seconds(answer.headers.get("retry-after")), LONGEST_WAIT))
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, path: str, what: Mapping[str, Any]) -> httpx.Response:
        personal = self._token.count(".") == 2  # a JSON web token
        if personal and not self._fetched:
            self._fetched = self._exchanged()
        answer = self._http.request(method, self.url + path, headers=self._name(personal), **what)
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
                raise self._nothing_there(f"what answers {path} is no Label Studio") from None
        said = self._words(answer)
        if answer.is_redirect:
            where = without_secrets(answer.headers.get("location", ""))
            raise self._nothing_there(f"it sends {path} on to {where}")
        if answer.status_code == 401:
            raise UserError(
                f"{self._place} refuses it: {said}",
                rule="Label Studio knows the token",
                hint="copy it anew from 'Account & Settings'; legacy tokens must be allowed by the organization",
            )
        if answer.status_code == 404 and not said:
            raise self._nothing_there(f"it knows no {path}")
        if answer.status_code >= 500 or answer.status_code == 429:
            raise AwayError(
                f"{self._place}{path}: {answer.status_code} {said}",
                rule="Label Studio does what it is asked",
                hint="see its log, then run the same command again: nothing is done twice",
            )
        raise UserError(
            f"{self._place}{path}: {answer.status_code} {said}",
            rule="Label Studio does what it is asked",
            hint="correct --project-id, or ask who runs it for the right to do this",
        )

    def _words(self, answer: httpx.Response) -> str:
        """Return what Label Studio says of its refusal, short and without the token; nothing where it is no JSON."""
        try:
            said = answer.json()
        except ValueError:
            return ""
        words = str(said.get("detail", "")) if isinstance(said, Mapping) else str(said)
        if isinstance(said, Mapping) and (more := said.get("validation_errors") or (not words and said)):
            words = f"{words} {json.dumps(more, ensure_ascii=False)}".strip()
        for secret in (self._token, self._fetched):
            words = words.replace(secret, "…") if secret else words
        return words if len(words) <= LONGEST else words[:LONGEST] + " …"

    @property
    def _place(self) -> str:
        return without_secrets(self.url)

    def _away(self, error: Exception) -> AwayError:
        slow = "timeout" in type(error).__name__.lower()
        got = "no answer in time" if slow else str(error).replace(self._token, "…") or type(error).__name__
        return AwayError(
            f"{self._place}: {got}",
            rule="Label Studio answers at its URL",
            hint="start it, or correct --url; then run the same command again: nothing is done twice",
        )

    def _nothing_there(self, got: str) -> UserError:
        return UserError(
            f"{self._place}: {got}",
            rule="Label Studio answers at its URL",
            hint="correct --url: it is what stands before /projects in a browser",
        )


def _seconds(text: str | None) -> float:
    return float(text) if text and re.fullmatch(r"\d{1,6}", text) else 0.0


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise UserError(
            without_secrets(url) or "nothing",
            rule="Label Studio has a URL such as https://labels.example.org, without a name or a token in it",
            hint="correct --url",
        )
    return url.rstrip("/")
