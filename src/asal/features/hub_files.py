"""The weights of a pretrained network: from the hub or a local copy, as safetensors and never as a pickle.

A checkpoint is a folder in the layout of the Hugging Face hub: `config.json` and `model.safetensors`, and for
networks of the library `transformers` also `preprocessor_config.json`.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from asal.errors import UserError
from asal.runtime import artifacts
from asal.runtime.optional import require
from asal.runtime.progress import Progress

WEIGHTS, CONFIG, PREPROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"
CHUNK = 2**26  # bytes copied between two reports of progress


@dataclass(frozen=True)
class Checkpoint:
    """A network's files, and their commit on the hub, if they come from there."""

    weights: Path
    revision: str = ""

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.weights.parent

    def read(self, name: str) -> dict[str, Any]:
        """Return one of the JSON files beside the weights.

        Raises:
            ValueError: it is missing, or not JSON.
        """
        path = self.folder / name
        if not path.exists():
            raise ValueError(f"there is no {name} beside {self.weights.name}")
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"{name} holds no JSON object")
        return config


def find_checkpoint(name: str, weights: str, revision: str, progress: Progress) -> Checkpoint:
    """Return a checkpoint by its name on the hub, or from a local copy at `weights`.

    Raises:
        UserError: it is missing, cannot be fetched, or is not a complete safetensors file.
    """
    checkpoint = _local(name, Path(weights).expanduser()) if weights else _fetched(name, revision, progress)
    try:
        with safe_open(checkpoint.weights, "pt"):  # reads the header, and checks that the file is complete
            return checkpoint
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{checkpoint.weights} is not a complete safetensors file: {error}",
            hint="fetch it again; weights of another format have to be converted first",
        ) from None


def _local(name: str, place: Path) -> Checkpoint:
    file = place / WEIGHTS if place.is_dir() else place
    if not file.is_file():
        raise UserError(
            f"there is no file {file}",
            rule="`weights` is a folder that holds model.safetensors, or that file",
            hint=f"check the path, or leave `weights` out to fetch '{name}' from the hub",
        )
    if file.name != WEIGHTS and not name.startswith("torchvision/"):
        raise UserError(
            f"the weights of '{name}' are called {file.name}: {file}",
            rule="weights have the hub's layout: model.safetensors beside its config.json",
            hint="rename the file, and put the config beside it",
        )
    return Checkpoint(file)


def _fetched(name: str, revision: str, progress: Progress) -> Checkpoint:
    if name.startswith("torchvision/"):
        raise UserError(
            f"'{name}' needs the option `weights`",
            rule="torchvision publishes its weights as pickles, which asal never reads",
            hint="convert them once, as docs/how-to/pretrained-features.md shows, and set `weights` to the file",
        )
    hub = require(
        "huggingface_hub",
        extra="pretrained",
        why="weights are fetched with the library huggingface_hub",
        hint="or set `weights` to a local copy",
    )
    files = [WEIGHTS, CONFIG, PREPROCESSOR]
    try:
        bar = _progress_bar(progress)
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=files, tqdm_class=bar))
    except Exception as error:  # many kinds: no network, unknown name or revision, a licence to be accepted …
        raise UserError(
            f"'{name}' at '{revision}' could not be fetched: {' '.join(str(error).split())}",
            rule="a pretrained network is on the Hugging Face hub, in its cache, or in a local copy",
            hint="check the name, `revision` and the network, or set `weights` to a local copy",
        ) from None
    if not (folder / WEIGHTS).exists():
        raise UserError(
            f"'{name}' at '{revision}' has no model.safetensors",
            rule="asal reads safetensors and no pickles",
            hint="choose another repository, such as timm's; or convert the weights, and set `weights`",
        )
    return Checkpoint(folder / WEIGHTS, revision=folder.name)  # the hub's cache names its folders by the commit


def _progress_bar(progress: Progress) -> Any:
    """Return a class of bars for the hub's client that draw nothing, and report progress instead."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    furthest = 0

    class FetchProgress(tqdm):  # type: ignore[misc]  # has no types
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO(), "leave": False, "disable": False})

        def display(self, *_: Any, **__: Any) -> None:
            nonlocal furthest
            if self.unit == "B" and self.total:
                furthest = max(furthest, int(self.n))  # two bars count the same bytes: received and written
                progress("pretrained: MB fetched", furthest // 2**20, int(self.total) // 2**20)

    return FetchProgress


def copy_checkpoint(checkpoint: Checkpoint, folder: Path, progress: Progress) -> str:
    """Copy a checkpoint into a folder under construction, and return the sha256 of its weights.

    Each file appears under its name when it is complete. Memory: one chunk.
    """
    for name in (CONFIG, PREPROCESSOR):
        if (checkpoint.folder / name).exists():
            artifacts.write(folder / name, (checkpoint.folder / name).read_bytes())
    digest, done, size = hashlib.sha256(), 0, checkpoint.weights.stat().st_size
    with checkpoint.weights.open("rb") as source, artifacts.replacing(folder / WEIGHTS) as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if size > CHUNK:
                progress("pretrained: MB copied", done // 2**20, size // 2**20)
    return digest.hexdigest()
