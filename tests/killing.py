"""A labelling run whose server and worker are killed over and over, while people answer."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from people import free_port

# Servers are forks of a process that has imported asal, and their workers are forks of another one, which outlives
# them: to import torch takes longer than all the rest. Neither has opened anything when it is forked.
NEST = """
import json, multiprocessing, os, sys, types
from multiprocessing import forkserver, resource_tracker
import uvicorn, asal.cli.main, asal.cli.label, asal.web.app, asal.web.serve
import asal.project.project, asal.labelling.supervisor as office
multiprocessing.set_forkserver_preload(["torch._dynamo", "sklearn.decomposition", "asal.labelling.worker_session"])
resource_tracker.ensure_running()
forkserver.ensure_running()
forkserver._forkserver.ensure_running = lambda: None  # the servers are not its parents
forked = types.SimpleNamespace(get_context=lambda _: multiprocessing.get_context("forkserver"))
office.multiprocessing, office.AGAIN, office.MOST = forked, 0.02, 0.02
print(forkserver._forkserver._forkserver_pid, flush=True)
for line in sys.stdin:
    words, out = json.loads(line)
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = ["asal", *words]
    asal.cli.main.main()
"""


@dataclass
class Victim:
    """`asal label`, to be killed: the whole server, or its worker alone."""

    root: Path
    out: Path
    port: int = field(default_factory=free_port)
    pid: int = 0

    def __enter__(self) -> Victim:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.nest = subprocess.Popen(
            [sys.executable, "-c", NEST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.nest.stdout
        self.workers = int(self.nest.stdout.readline())
        self.start()
        return self

    def start(self) -> None:
        assert self.nest.stdin and self.nest.stdout
        options = ["--no-browser", "--threads", "1", "--strategy", "uncertainty"]
        words = ["label", str(self.root), "--port", str(self.port), *options]
        self.nest.stdin.write(json.dumps([words, str(self.out)]) + "\n")
        self.nest.stdin.flush()
        self.pid = int(self.nest.stdout.readline())

    def kill_server(self) -> bool:
        """Kill the server; its worker ends by itself. Start the next one at once."""
        os.kill(self.pid, signal.SIGKILL)
        self.start()
        return True

    def kill_worker(self) -> bool:
        """Kill whatever worker is there."""
        told = Path(f"/proc/{self.workers}/task/{self.workers}/children").read_text().split()
        for pid in map(int, told):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(told)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        assert self.nest.stdin
        self.nest.stdin.close()
        self.nest.wait(20)
        if self.nest.stdout:
            self.nest.stdout.close()


@dataclass
class Stubborn:
    """Somebody who sends everything until it is acknowledged; takes back and corrects now and then."""

    url: str
    token: str
    rng: random.Random
    over: threading.Event  # no more kills will come
    budget: int
    patience: float = 90.0  # seconds
    told: dict[int, int | None] = field(default_factory=dict)  # image → what was acknowledged last
    late: int = 0  # answers that came after another person's
    keys: list[str] = field(default_factory=list)  # of all that was acknowledged
    repeats: int = 0

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        until = time.monotonic() + self.patience
        while True:
            try:
                reply = self.http.post(path, json=body)
                break
            except httpx.TransportError:
                assert time.monotonic() < until, "the server stays away"
                self.repeats += 1
                time.sleep(0.02)
        assert reply.status_code in (200, 409), reply.text
        return reply.status_code, reply.json()

    def work(self) -> Stubborn:
        headers = {"Authorization": f"Bearer {self.token}"}
        tab, until = uuid.uuid4().hex, time.monotonic() + self.patience
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as self.http:
            while True:
                _, came = self.post("/api/next", {"tab": tab, "n": 2})
                for task in came["tasks"]:
                    self.answer(tab, task["image"])
                    until = time.monotonic() + self.patience
                if not came["tasks"]:
                    if came["doing"]["stage"] == "finished":
                        return self
                    assert time.monotonic() < until, came
                    time.sleep(0.02)

    def answer(self, tab: str, image: int) -> None:
        time.sleep(self.rng.random() * 0.05)
        spent = self.send("answers", tab, image, self.rng.randrange(10))
        chance = self.rng.random()
        if image in self.told and chance < 0.1:
            key = uuid.uuid4().hex
            status, _ = self.post("/api/withdrawals", {"key": key, "tab": tab, "image": image})
            if status == 409:  # it was taken back, and somebody else has answered it since
                del self.told[image]
            else:
                self.keys.append(key)
                self.send("answers", tab, image, self.rng.randrange(10))
        elif image in self.told and chance < 0.2:
            self.send("corrections", tab, image, self.rng.choice([None, *range(10)]))
        while spent > self.budget - 30 and not self.over.is_set():
            time.sleep(0.05)  # so that the kills come while there is work

    def send(self, what: str, tab: str, image: int, label: int | None) -> int:
        key = uuid.uuid4().hex
        body = {"key": key, "tab": tab, "answers": [{"image": image, "label": label}]}
        status, reply = self.post(f"/api/{what}", body)
        assert status == 200, reply
        (done,) = reply["accepted"]
        if done["outcome"] == "voted":
            self.late += 1
            self.told.pop(image, None)
        else:
            self.told[image] = label
        self.keys.append(key)
        return int(reply["progress"]["spent"])


def run(victim: Victim, bots: list[Stubborn], kills: int, share: float, seed: int) -> Counter[str]:
    """Let everybody work while so many kills come; return how many of which.

    Args:
        share: of the kills that strike the server.
    """
    rng, done, over = random.Random(seed), Counter[str](), bots[0].over
    with ThreadPoolExecutor(len(bots)) as threads:
        works = [threads.submit(bot.work) for bot in bots]
        try:
            while done.total() < kills and not any(work.done() for work in works):
                time.sleep(0.6 * rng.random() ** 2)
                server = rng.random() < share
                if victim.kill_server() if server else victim.kill_worker():
                    done["server" if server else "worker"] += 1
        finally:
            over.set()
        for work in works:
            work.result()
    return done
