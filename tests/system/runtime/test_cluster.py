"""A real cluster of a head and two machines' worth of workers, one of which is killed half-way."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.photographs import draw, small

from asal.core import as_ids
from asal.index.sharded import Sharded
from asal.project import extraction
from asal.project.project import Project
from asal.project.spec import parse, to_toml
from asal.runtime.engine import InProcess
from asal.runtime.engine.ray import Ray
from asal.testing.index import toy_queries

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

ROWS, IMAGES = 16, 320  # 20 shards


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "SHARD", ROWS)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a cluster whose head does no work, so that all is done by the two beside it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture(scope="module")
def local(spec: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that one process prepared: large images and a wide network, so that a shard takes its time."""
    folder = tmp_path_factory.mktemp("local")
    images = np.random.default_rng(0).integers(256, size=(IMAGES, 64, 64, 3)).astype(np.uint8)
    np.savez(folder / "images.npz", x=images, y=np.arange(IMAGES) % 2)
    make(folder, spec, folder)
    return folder


def table(spec: Any, folder: Path) -> Any:
    encoder = {"steps": 1, "width": 96, "batch": 4, "dimensions": 6, "fit_on": 32}
    source = {"kind": "arrays", "path": str(folder / "images.npz")}
    pool = {"gray": None, "split": {"train": IMAGES, "test": None}}
    return spec(source=source, pool=pool, generator=None, features={"autoencoder": encoder}, strategies=None)


def make(root: Path, spec: Any, home: Path, **options: Any) -> Project:
    """Prepare the project's one space and its index."""
    project = Project(root, parse(table(spec, home)), **options)
    project.prepare()
    return project


def processes_of(node: Any) -> list[int]:
    """Return the raylet of a node and whatever it started."""
    raylet = node.all_processes["raylet"][0].process.pid
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return [raylet, *(pid for pid, parent in parents.items() if parent == raylet)]


class Killer:
    """A watch that kills a node once so many images are done, while one of its processes writes a shard."""

    def __init__(self, cluster: Any, node: Any, root: Path, after: int) -> None:
        self.cluster, self.node, self.root, self.after = cluster, node, root, after
        self.whole: dict[str, tuple[int, int]] = {}
        self.lost: list[str] = []

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if "compute the features" in stage and self.after <= done < total and not self.whole:
            self.kill()

    def kill(self) -> None:
        """Kill the node, if one of its processes is in the middle of a shard now; else wait for the next word."""
        raylet, *workers = processes_of(self.node)
        send(signal.SIGSTOP, workers)  # so that what is half-written stays so
        halves = [path.name for path in self.root.glob("features/*/vectors/.*.partial")]
        self.lost = [name[1:10] for name in halves if int(name.split(".")[3].partition("-")[0]) in workers]
        if not self.lost:
            send(signal.SIGCONT, workers)
            return
        (folder,) = self.root.glob("features/*/vectors")
        self.whole = stamps(folder)
        send(signal.SIGKILL, [raylet, *workers])
        self.cluster.remove_node(self.node, allow_graceful=False)


def send(sign: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sign)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return which file each shard is; a shard that is written again is another file."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("[0-9]*.npy")}


def derived(root: Path) -> dict[str, bytes]:
    homes = (path for home in ("features", "indexes") for path in (root / home).rglob("*"))
    return {str(path.relative_to(root)): path.read_bytes() for path in homes if path.is_file()}


def bare(local: Path, root: Path) -> Path:
    """Return a copy of a project that has no features yet."""
    return Path(shutil.copytree(local, root, ignore=shutil.ignore_patterns("features", "indexes")))


def test_a_machine_is_killed_half_way_and_the_features_are_those_of_one_process(
    cluster: Any, local: Path, spec: Any, tmp_path: Path
) -> None:
    root = bare(local, tmp_path / "ray")
    engine = Ray(cluster.address)
    node = next(iter(cluster.worker_nodes))
    progress = Killer(cluster, node, root, after=6 * ROWS)
    engine.connect()
    project = make(root, spec, local, engine=engine, progress=progress)
    assert progress.lost and 6 <= len(progress.whole) < 20 and not set(progress.lost) & set(progress.whole)
    after = stamps(project.space("autoencoder").vectors.folder)
    assert len(after) == 20 and progress.whole.items() <= after.items(), "a shard that was whole was written again"
    assert derived(root) == derived(local)


def test_a_cluster_that_sees_the_originals_reads_them(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "LEAST", 8)
    draw(tmp_path / "images", [f"{image:02d}.png" for image in range(30)])
    photos = {"kind": "efficientnet-lite0", **small(), "dimensions": 5}
    tables = {
        "name": "photographs",
        "source": {"kind": "folder", "path": str(tmp_path / "images")},
        "pool": {"size": 16},
        "features": {"photos": photos},
    }
    found = []
    for name, engine in (("one", InProcess()), ("cluster", Ray(cluster.address))):
        project = Project(tmp_path / name, parse(tables), engine=engine)
        project.prepare()
        space = project.space("photos")
        assert project.parts.features("photos").facts["reads"] == "originals"
        found.append(space.stored.read(np.arange(30)))
    assert np.array_equal(*found)


def test_queries_through_actors_are_answered_as_by_the_exact_scan(
    cluster: Any, local: Path, spec: Any, tmp_path: Path
) -> None:
    engine = Ray(cluster.address)
    root = Path(shutil.copytree(local, tmp_path / "ray"))
    whole = make(root, spec, local)
    parts = make(root, spec, local, spread=lambda kind: Sharded(kind, 3, engine))
    assert len(list(root.glob("indexes/auto-*"))) == 2
    queries = toy_queries(whole.space("autoencoder").vectors.read(np.arange(IMAGES)), 20)
    for k, gone in ((1, []), (10, range(0, IMAGES, 3)), (320, range(100, 300))):
        found, true = (
            project.index("autoencoder").search(queries, k, without=as_ids(gone)) for project in (parts, whole)
        )
        assert np.array_equal(found.ids, true.ids) and np.array_equal(found.distances, true.distances)


def test_the_command_gives_its_work_to_a_cluster(
    asal: Any, cluster: Any, local: Path, write_spec: Any, spec: Any, tmp_path: Path
) -> None:
    root = bare(local, tmp_path / "ray")
    (root / "asal.toml").write_text(to_toml(table(spec, local)))
    said = asal(
        "prepare", root, "--engine", "ray", "--address", cluster.address, "--storage", f"file://{tmp_path}/storage"
    )
    assert said.code == 0, said.err
    assert derived(root) == derived(local)
