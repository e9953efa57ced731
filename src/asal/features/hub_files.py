"""Where a pretrained network's weights come from, and the copy that a project keeps: safetensors, and never a pickle.

A checkpoint lies in a folder in the layout of the Hugging Face hub: `config.json` and `model.safetensors`, and for
networks of the library `transformers` also `preprocessor_config.json`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from asal.errors import UserError
from asal.runtime import artifacts
from asal.runtime.progress import Progress

WEIGHTS, CONFIG, PREPROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"
CHUNK = 2**26  # bytes copied between two words of progress: a small network is copied without one


@dataclass(frozen=True)
class Checkpoint:
    """A network's files: where they lie, and which commit of the hub they are, if they come from there."""

    weights: Path
    revision: str = ""

    @property
    def folder(self) -> Path:
        """The folder that they lie in."""
        return self.weights.parent

    def read(self, name: str) -> dict[str, Any]:
        """Return one of the JSON files beside the weights.

        Raises:
            ValueError: it is not there, or is not JSON.
        """
        path = self.folder / name
        if not path.exists():
            raise ValueError(f"there is no {name} beside {self.weights.name}")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"{name} holds no JSON object")
        return found


def find(name: str, weights: str, revision: str, progress: Progress) -> Checkpoint:
    """Return a checkpoint by its name on the hub, or a local copy where `weights` says that there is one.

    Raises:
        UserError: it is not there, cannot be fetched, or is no whole safetensors file.
    """
    checkpoint = _local(name, Path(weights).expanduser()) if weights else _fetched(name, revision, progress)
    try:
        with safe_open(checkpoint.weights, "pt"):  # reads the header, and checks that all it tells of is there
            return checkpoint
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{checkpoint.weights}: {error}",
            rule="pretrained weights are a whole safetensors file",
            hint="fetch it again; what has another format has to be converted first",
        ) from None


def _local(name: str, place: Path) -> Checkpoint:
    file = place / WEIGHTS if place.is_dir() else place
    if not file.is_file():
        raise UserError(
            f"there is no {file}",
            rule="`weights` is a folder that holds model.safetensors, or that file",
            hint=f"check the path, or leave `weights` out to fetch '{name}' from the hub",
        )
    if file.name != WEIGHTS and not name.startswith("torchvision/"):
        raise UserError(
            f"'{name}' in {file}",
            rule="weights lie in the hub's layout: model.safetensors beside its config.json",
            hint="rename the file, and put the config beside it",
        )
    return Checkpoint(file)


def _fetched(name: str, revision: str, progress: Progress) -> Checkpoint:
    if name.startswith("torchvision/"):
        raise UserError(
            f"'{name}' without `weights`",
            rule="torchvision publishes its weights as pickles, which asal never reads",
            hint="convert them once, as docs/how-to/pretrained-features.md shows, and set `weights` to the file",
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            "it is not installed",
            rule="weights are fetched with the library `huggingface_hub`",
            hint="pip install 'asal[pretrained]', or set `weights` to a local copy",
        ) from None
    wanted = [WEIGHTS, CONFIG, PREPROCESSOR]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted, tqdm_class=_telling(progress)))
    except Exception as error:  # a dozen kinds: no network, no such name or revision, a licence to be accepted …
        raise UserError(
            f"'{name}' at '{revision}' could not be fetched: {' '.join(str(error).split())}",
            rule="a pretrained network is on the Hugging Face hub, in its cache, or in a local copy",
            hint="check the name, `revision` and the network, or set `weights` to a local copy",
        ) from None
    if not (folder / WEIGHTS).exists():
        raise UserError(
            f"'{name}' at '{revision}' has none",
            rule="pretrained weights are one file, model.safetensors: asal reads no pickle",
            hint="choose another repository: those of timm have one; or convert the weights, and set `weights`",
        )
    return Checkpoint(folder / WEIGHTS, revision=folder.name)  # the hub's cache names its folders by the commit


def _telling(progress: Progress) -> Any:
    """Return a bar for the hub's client that draws nothing, and tells the watch instead."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    furthest = 0

    class FetchProgress(tqdm):  # type: ignore[misc]  # has no types
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO(), "leave": False, "disable": False})

        def display(self, *_: Any, **__: Any) -> None:
            nonlocal furthest
            if self.unit == "B" and self.total:
                furthest = max(furthest, int(self.n))  # two bars count the same bytes, received and written
                progress("pretrained: MB fetched", furthest // 2**20, int(self.total) // 2**20)

    return FetchProgress


def copy(checkpoint: Checkpoint, folder: Path, progress: Progress) -> str:
    """Copy a checkpoint into a folder under construction, and return the sha256 of its weights.

    Each file appears under its name when all of it is there. Memory: one chunk.
    """
    for name in (CONFIG, PREPROCESSOR):
        if (checkpoint.folder / name).exists():
            artifacts.write(folder / name, (checkpoint.folder / name).read_bytes())
    half = folder / artifacts.SCRATCH / WEIGHTS
    half.parent.mkdir(exist_ok=True)
    digest, done, size = hashlib.sha256(), 0, checkpoint.weights.stat().st_size
    with checkpoint.weights.open("rb") as source, half.open("wb") as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if size > CHUNK:
                progress("pretrained: MB copied", done // 2**20, size // 2**20)
        target.flush()
        os.fsync(target.fileno())
    half.replace(folder / WEIGHTS)
    return digest.hexdigest()
