"""The same selection by asal, scikit-activeml and modAL: the ten most uncertain images under a linear classifier.

    asal prepare specs/mnist-ten.toml --project projects/mnist-ten
    python benchmarks/peers.py projects/mnist-ten --spec specs/mnist-ten.toml

The pools are small shifts of the project's images, as raw pixels (784 for MNIST) and as their 50 principal components.
Peers get them as float32 arrays in memory, and a fitted classifier of scikit-learn; asal gets the same arrays in
memory, and, as in normal use, images of one byte per pixel or stored features on disk. All share the same weights, and
each runs in its own process, in turn. Seconds are medians of processor time, which other work on the machine does not
change. Memory is the peak beyond that after loading inputs and libraries; mapped file pages (inputs, which the system
may drop at any time) have their own column.

The first call makes the peers' environment from `benchmarks/peers.txt`; or name a Python that has them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from asal.data.augmented_pool import AugmentedPool
from asal.data.pool import shard_name, shard_size
from asal.features.store import write_vectors
from asal.models.tensors import to_batch
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import environment as machine

HERE = Path(__file__).parent
KNOWN, PICKS = 500, 10
PEERS = ("scikit-activeml", "modAL")
CASES = {
    "pixels": (*PEERS, "asal, in memory", "asal, stored images"),
    "features": (*PEERS, "asal, in memory", "asal, stored features"),
}


def environment(folder: Path) -> Path:
    """Return the Python of the peers' environment, which is made where it does not exist."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pins = ["--no-deps", "-r", str(HERE / "peers.txt")]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
    return python


def write_inputs(project: Project, folder: Path, case: str, size: int) -> None:
    """Write the rows of a pool, the same as asal stores them, the labels, and the classifier's weights."""
    from sklearn.linear_model import LogisticRegression

    pool = AugmentedPool(project.pool, size)
    extract = project.space("pixels").extractor if case == "features" else pixels
    width = extract(pool.read(np.arange(1))).shape[1]
    rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (size, width))
    shard = shard_size(pool.shape)
    (folder / "images").mkdir()
    for at in range(0, size, shard):
        images = pool.read(np.arange(at, min(at + shard, size)))
        rows[at : at + shard] = extract(images)
        if case == "pixels":
            np.save(folder / shard_name(at // shard), images)
    if case == "features":
        write_vectors(folder / "vectors", lambda ids: rows[ids], size, batch=65_536)
    known = np.arange(KNOWN)  # the first ones: modAL takes its pool without them
    labels = project.oracle("pool").answer(known)
    fitted = LogisticRegression(max_iter=500).fit(rows[known], labels)
    np.savez(folder / "head.npz", weights=fitted.coef_, biases=fitted.intercept_)
    for name, array in (("known", known), ("labels", labels)):
        np.save(folder / f"{name}.npy", array)
    (folder / "images.json").write_text(
        json.dumps({"shape": pool.shape, "shard": shard, "images": size, "unreadable": 0})
    )
    (folder / "size.json").write_text(json.dumps(size))
    rows.flush()


def pixels(images: np.ndarray) -> np.ndarray:
    """Return images as the network's input, flat: channels first, in [−1, 1]."""
    return np.asarray(to_batch(images).flatten(1))


def measured(library: str, folder: Path, python: Path, score: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a child process."""
    threads = {f"{name}_NUM_THREADS": str(args.threads) for name in ("OMP", "OPENBLAS", "MKL")}
    command = [
        python if library in PEERS else sys.executable,
        HERE / "peers_child.py",
        library,
        folder,
        PICKS,
        args.repeats,
        score,
    ]
    child = subprocess.run(
        [str(word) for word in command], env={**os.environ, **threads}, capture_output=True, text=True, check=False
    )
    if child.returncode:
        raise SystemExit(f"{library} ended with\n{child.stderr}")
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


def table(home: Path, case: str, size: int, score: str, python: Path, args: argparse.Namespace) -> Table:
    """Return one line for each library, on the inputs in `home`."""
    lines = {library: list[dict[str, Any]]() for library in CASES[case]}
    for _ in range(args.rounds):
        for library, results in lines.items():
            results.append(measured(library, home, python, score, args))
    heads = ("", "seconds", "× scikit-activeml's", "extra MiB", "× scikit-activeml's", "mapped MiB", "the same picks")
    shown = Table(*heads, title=f"{PICKS} of {size:,} images by {score}, a linear classifier of {case}")
    first = lines["scikit-activeml"]
    picks = set(first[0]["picked"])
    for library, results in lines.items():
        seconds = [median(it["seconds"]) for it in results]
        extra = max(unmapped(it) for it in results)
        ratio = median(s / median(it["seconds"]) for s, it in zip(seconds, first, strict=True))
        mapped = max(max(it["mapped"]) for it in results)
        same = f"{len(picks & set(results[0]['picked']))} of {PICKS}"
        share = extra / max(unmapped(it) for it in first)
        shown.add_row(
            library, f"{median(seconds):.3f}", f"{ratio:.2f}", f"{extra:.0f}", f"{share:.2f}", f"{mapped:.0f}", same
        )
    return shown


def unmapped(result: dict[str, Any]) -> float:
    """Return a selection's peak memory beyond its inputs, without mapped file pages."""
    return max(extra - mapped for extra, mapped in zip(result["extra"], result["mapped"], strict=True))


def main() -> None:
    """Print a table for each kind of rows and each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a prepared project with the feature space `pixels`, and labels")
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-ten.toml"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--scores", nargs="+", choices=("margin", "entropy"), default=["margin", "entropy"])
    parser.add_argument("--environment", type=Path, default=Path(".venv/peers"), help="where the peers are installed")
    parser.add_argument("--python", type=Path, help="a Python that has the peers")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--repeats", type=int, default=3, help="selections per process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each library, in turn")
    parser.add_argument("--folder", type=Path, help="a temporary place for inputs: 4 GB at a million images")
    args = parser.parse_args()
    python = args.python or environment(args.environment)
    console, project = Console(width=130), Project(args.project, load(args.spec))
    for case in args.cases:
        for size in args.sizes:
            with tempfile.TemporaryDirectory(dir=args.folder) as home:
                write_inputs(project, Path(home), case, size)
                for score in args.scores:
                    console.print(table(Path(home), case, size, score, python, args))
    console.print({**machine.hardware(), "threads": args.threads, "commit": machine.commit()})


if __name__ == "__main__":
    main()
