"""Serves the page until it is stopped: binds, starts the worker, prints the link, opens the browser."""

from __future__ import annotations

import getpass
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from asal.errors import UserError, counted
from asal.labelling.annotators import NAME, Annotators
from asal.labelling.consensus import OverlapRules
from asal.labelling.dashboard import Dashboard
from asal.labelling.messages import Activity
from asal.labelling.photo_cache import PhotoCache
from asal.labelling.photos import Photos
from asal.labelling.service import AnnotationService
from asal.labelling.supervisor import OnError, WorkerSupervisor, ignore
from asal.labelling.worker import WorkerConfig
from asal.project.classes import check_strategy
from asal.project.folder import ProjectFolder
from asal.project.spec import Spec
from asal.session.events import Record
from asal.session.opening import check_record, opening_body
from asal.session.state import State, fold
from asal.web.addresses import LOOPBACK, Reached, loops_back, public_address
from asal.web.app import AppState, build
from asal.web.browser import open_browser
from asal.web.middleware import Guard
from asal.web.preparing import CurrentApp, build_preparing
from asal.web.project_info import ProjectInfo
from asal.web.signing import SignIn

PORT = 8765
LOOK = 1.0  # seconds between two looks for the images of a project that another server prepares
LINK = 12 * 3600.0  # seconds that the printed link is valid


@dataclass(frozen=True)
class Address:
    """Where the server listens, and where people find it.

    Args:
        port: None for the first free one from 8765 on.
        origin: where people find it behind a proxy, such as https://label.example.org.
        root_path: the path before the page there, such as /tools/asal.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    origin: str = ""
    root_path: str = ""

    @classmethod
    def of(cls, host: str, port: int | None, origin: str, root_path: str) -> Address:
        """Return the address that the command line names.

        Raises:
            UserError: the origin or the path is none.
        """
        return cls(host, port, *public_address(origin, root_path))

    @property
    def loops_back(self) -> bool:
        """Whether it cannot be reached from another machine."""
        return loops_back(self.host)


def serve(
    config: WorkerConfig,
    address: Address,
    name: str = "",
    browser: bool = True,
    say: Callable[[str], object] = print,
    on_error: OnError = ignore,
) -> None:
    """Serve a project's labelling page until Ctrl-C; answers are on the disk before they are acknowledged.

    Args:
        name: of the person at this machine; the user's name if empty.
        say: takes each line that is printed.
        on_error: is called with errors of the worker.

    A project whose images are not there is served as well: the page shows how far they are taken in.

    Raises:
        UserError: the record belongs to another project, the port is taken, or the address can be reached from other
            machines and nobody has a token.
    """
    root = config.root
    with Record.open(config.spec.labelling.place(root)) as record, ExitStack() as held:
        annotators = Annotators(record)
        if not address.loops_back and not annotators.all():
            raise UserError(
                f"nobody has a token, and --host {address.host} can be reached from other machines",
                rule="only people with a token are served beyond the loopback",
                hint=f"add somebody: asal annotator add {root} NAME",
            )
        there = ProjectFolder(root, config.spec).has("pool")
        opened = _opened(config, record) if there else None
        with bound(address) as listening:
            port = listening.getsockname()[1]
            supervisor = WorkerSupervisor(config, on_error, lambda done: say(_finished(done)))
            sign_in = SignIn(annotators, f"asal-{port}", _https(address), address.root_path)
            page = Page(config, record, sign_in, supervisor, held)
            current = CurrentApp(build_preparing(sign_in, page.activity) if opened is None else page.app(*opened))
            link = _introduce(address, port, annotators, name or _user(), say)
            supervisor.start()
            held.callback((root / "labelling" / "open.html").unlink, missing_ok=True)
            held.callback(_say_saved, record, say)
            held.callback(supervisor.close)
            if opened is None:
                threading.Thread(target=page.replace, args=(current, on_error), name="opening", daemon=True).start()
            _run(Guard(current, _reached(address)), listening, link if browser else "", root / "labelling")


@dataclass
class Page:
    """The application of a project, which is built when its images are there.

    Args:
        held: ends what the application has opened, when the server stops.
        error: why it cannot be built.
    """

    config: WorkerConfig
    record: Record
    sign_in: SignIn
    supervisor: WorkerSupervisor
    held: ExitStack
    error: UserError | None = None

    def app(self, project: ProjectInfo, service: AnnotationService) -> FastAPI:
        """Return the application."""
        sign_in, budget = self.sign_in, self.config.spec.protocol.budget
        dashboard = Dashboard(service, self.supervisor, sign_in.annotators, budget)
        photos = Photos(project.folder, PhotoCache(self.config.root / "labelling" / "photos"))
        self.held.callback(photos.close)
        return build(AppState(project, dashboard, sign_in.cookie, sign_in.secure, sign_in.root_path, photos))

    def activity(self) -> Activity:
        """Return what is done until there is something to show."""
        activity = self.supervisor.activity
        return activity if self.error is None else activity.failed(self.error)

    def replace(self, current: CurrentApp, on_error: OnError) -> None:
        """Build the application as soon as the images are there, and let it answer from then on."""
        while not self.supervisor.taken_in.wait(LOOK):
            if ProjectFolder(self.config.root, self.config.spec).has("pool"):  # another server has them taken in
                break
        if self.supervisor.closed:
            return
        try:
            current.app = self.app(*_opened(self.config, self.record))
        except UserError as error:
            self.error = error
            on_error(error)


def _opened(config: WorkerConfig, record: Record) -> tuple[ProjectInfo, AnnotationService]:
    """Open a project whose images are there, and its record.

    Raises:
        UserError: its classes are not known, or the record belongs to another project.
    """
    spec, root = config.spec, config.root
    project = ProjectInfo.of(ProjectFolder(root, spec), config.strategy)
    rules = OverlapRules(spec.labelling.overlap, spec.labelling.share)
    origin = opening_body(project.pool, project.classes, config.seed)
    checked = check_strategy(project.folder, config.strategy)
    service = AnnotationService(record, project.classes, rules, spec.labelling.lease, origin=origin, check=checked)
    check_record(record.name, service.state, project.pool, config.seed)
    service.add_new_classes(str(root))
    return project, service


def _introduce(address: Address, port: int, annotators: Annotators, name: str, say: Callable[[str], object]) -> str:
    """Print where the page is, and return the link that opens it."""
    if not address.loops_back:
        link = f"{address.origin or f'http://{_shown(address.host)}:{port}'}{address.root_path}/"
        say(f"Serving {link}; people sign in with the tokens of `asal annotator add`.")
        return link
    annotators.ensure(name, "adjudicator")
    link = f"http://{_shown(address.host)}:{port}/#token={annotators.token(name, LINK)}"
    say(f"Label at {link}")
    if address.origin or address.root_path:
        at = f"{address.origin or 'the proxy'}{address.root_path}/"
        say(f"Behind the proxy it is {at}; people sign in there with the tokens of `asal annotator add`.")
    say("Ctrl-C stops it; the same command goes on from there.")
    return link


def _finished(done: Activity) -> str:
    return f"Done: {done.note}. Next: {done.next}"


def _say_saved(record: Record, say: Callable[[str], object]) -> None:
    """Say how many labels there are; nothing where the database does not answer."""
    with suppress(UserError):
        number = len(fold(State(), record.read()).answers)
        are = "is" if number == 1 else "are"
        say(f"{counted(number, 'label')} {are} saved in {record.name}; the same command goes on.")


def _run(app: Any, listening: socket.socket, link: str, folder: Path) -> None:
    import uvicorn

    # Addresses and headers are not logged, since a token may stand in them by mistake. Neither are malformed requests:
    # many of them would fill a pipe that nobody reads, and the server would block.
    settings: dict[str, Any] = {"access_log": False, "log_level": "error", "server_header": False}
    settings["proxy_headers"] = False  # nothing that a request says of itself is believed
    # One parser, whatever else is installed: the tests check what this one refuses.
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", timeout_graceful_shutdown=3, **settings)
    # Threads switch sooner than after Python's 5 ms: with eight people at once that saves a third of the time.
    sys.setswitchinterval(0.0005)
    if link:
        threading.Timer(0.7, open_browser, [link, folder]).start()
    uvicorn.Server(config).run([listening])


def bound(address: Address) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        UserError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    tries = [address.port] if address.port is not None else [*range(PORT, PORT + 20), 0]
    for port in tries:
        listening = None
        try:
            listening = socket.socket(family, socket.SOCK_STREAM)  # which a machine without IPv6 refuses
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((address.host, port))
            listening.listen(128)
        except OSError as error:
            if listening is not None:
                listening.close()
            if port == tries[-1] or error.errno not in (98, 48):  # the address is in use, on Linux and macOS
                raise UserError(
                    f"the page cannot be served at {address.host}:{port}: {error.strerror or error}",
                    hint="stop what listens there, or choose another port with --port",
                ) from None
        else:
            return listening
    raise AssertionError


def _user() -> str:
    """Return the user's name, or "me" where the system has none, as in containers, or it is not a name for asal."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):
        name = ""
    return name if NAME.fullmatch(name) else "me"


def _https(address: Address) -> bool:
    return address.origin.startswith("https://")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reached(address: Address) -> Reached:
    """Return by which names people reach the server; by any, beyond the loopback, if no origin is given."""
    own = LOOPBACK | {_shown(address.host).lower()} if address.loops_back else LOOPBACK  # 127.0.0.2 is one, too
    return Reached(own if address.loops_back or address.origin else frozenset(), address.origin, address.root_path)


def worker_config(root: Path, spec: Spec, strategy: str, seed: int, threads: int | None) -> WorkerConfig:
    """Return what a worker works on, after checking that it can.

    Raises:
        UserError: the spec is wrong.
    """
    from asal.project.validate import check

    chosen = strategy or spec.default_strategy
    validated = check(spec, [chosen])
    if spec.labelling.classes:
        validated.strategies[chosen].check_classes(spec.labelling.classes)
    return WorkerConfig(root, spec, chosen, seed, threads)


def with_budget(spec: Spec, budget: int | None) -> Spec:
    """Return the spec with another budget, if one is given."""
    if budget is None:
        return spec
    return spec.model_copy(update={"protocol": spec.protocol.model_copy(update={"budget": budget})})
