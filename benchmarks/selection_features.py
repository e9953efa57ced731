"""Frozen features for `selection.py`, computed once: `python benchmarks/selection_features.py --out OUT`.

EfficientNet-Lite0 as it was published, 1,280 numbers an image, reduced to 64 by principal components that are fitted to
the images of the training part. No label and no test image is used. Near-copies are real ones: an image is shifted, and
perhaps mirrored, and goes through the network again. What is there already is left alone. In bfloat16 where the
processor has instructions for it, which is three times as fast; each folder's `facts.json` says what was used.

MNIST, CIFAR-10 and the photographs of clothing are read from $ASAL_DATA_DIR, as on the Hugging Face hub; Fashion-MNIST
from its idx files (https://github.com/zalandoresearch/fashion-mnist; on Debian the package dataset-fashion-mnist).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from asal.core import Features, Ids, Images
from asal.data.augmented_pool import AugmentedPool
from asal.data.sources import Source, sources
from asal.features.efficientnet import FEATURES
from asal.features.efficientnet_lite0 import EfficientNetLite0Features, load_network
from asal.features.pca import Pca, fit_pca
from asal.features.pretrained import BackboneFacts, preprocess
from asal.runtime.devices import Device
from asal.runtime.progress import no_progress
from asal.runtime.rng import stream

DIMENSIONS = 64
BATCH, BLOCK = 32, 2048  # images per forward pass, and read together
LARGE = 1_000_000  # near-copies of CIFAR-10's images, the images among them
BURSTS, BURST, REACH = 250, 100, 3  # images taken again and again, how often, and how far apart in pixels


class Kept:
    """Images in memory, as a pool."""

    fingerprint = "kept"

    def __init__(self, images: Images) -> None:
        self.images, self.shape = images, images.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, ids: Ids) -> Images:
        return self.images[ids]


class Network:
    """EfficientNet-Lite0 for squares of `size` pixels."""

    def __init__(self, size: int) -> None:
        with tempfile.TemporaryDirectory() as place:
            kept = Kept(np.zeros((1, 1, 1, 3), np.uint8))
            EfficientNetLite0Features(size).train(kept, Path(place), 0, Device(), no_progress)
            net, facts = load_network(Path(place)), BackboneFacts.load(Path(place))
        self.half = "avx512_bf16" in Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else False
        self.dtype, self.preprocessing = torch.bfloat16 if self.half else torch.float32, facts.preprocessing
        self.net = net.to(self.dtype).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: Images) -> Features:
        """Map images (n, h, w, c) to their features (n, 1280)."""
        features = np.empty((len(images), FEATURES), np.float32)
        for at in range(0, len(images), BATCH):
            batch = preprocess(images[at : at + BATCH], self.preprocessing).to(self.dtype)
            features[at : at + BATCH] = self.net.features(batch.contiguous(memory_format=torch.channels_last)).float()
        return features


def read(source: Source, split: str, size: int | None = None) -> Images:
    """Return all images of a split: in colour, and padded to squares where a size is given."""
    images = []
    for record in source.records(split, np.arange(source.splits[split])):
        raw = record.raw
        if isinstance(raw, np.ndarray):
            image = Image.fromarray(raw)
        else:
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw))
        image = image.convert("RGB")
        images.append(np.asarray(image if size is None else ImageOps.pad(image, (size, size), color=(128, 128, 128))))
    return np.stack(images)


def computed(net: Network, images: Kept | AugmentedPool, pca: Pca | None, name: str) -> Features:
    """Return the features of a pool of images: all of them, or what is left of them by principal components."""
    features = np.empty((len(images), FEATURES if pca is None else pca.dim), np.float32)
    start = time.perf_counter()
    for at in range(0, len(images), BLOCK):
        raw = net(images.read(np.arange(at, min(at + BLOCK, len(images)))))
        features[at : at + BLOCK] = raw if pca is None else pca.apply(raw)
        done, seconds = at + len(raw), time.perf_counter() - start
        rate = f"{done / seconds:,.0f} images/s, {(len(images) - done) * seconds / done:,.0f} s to go"
        print(f"\r{name}: {done:,} of {len(images):,}, {rate}   ", end="", flush=True)
    print()
    return features


def labelled(out: Path, source: Source, net: Network, size: int | None = None) -> None:
    """Compute the features of a data set's training and test part."""
    if (out / "facts.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    train, pca = computed(net, Kept(read(source, "train", size)), None, f"{out.name}, training part"), None
    pca = fit_pca(lambda ids: train[ids], len(train), DIMENSIONS, rng=stream(0, "benchmark", "pca"))
    np.save(out / "train.npy", pca.apply(train))
    np.save(out / "test.npy", computed(net, Kept(read(source, "test", size)), pca, f"{out.name}, test part"))
    for split in ("train", "test"):
        np.save(out / f"{split}-labels.npy", source.labels(split))
    pca.save(out)
    write_facts(out, net, pca.summary)


def copies(out: Path, source: Source, net: Network, images: int) -> None:
    """Compute the features of near-copies of CIFAR-10: of all images, some each; and of a few, very many each."""
    pca = Pca.load(out / "cifar10")
    base = read(source, "train")
    if not (out / "bursts" / "facts.json").exists():
        (out / "bursts").mkdir(exist_ok=True)
        rng = stream(0, "benchmark", "bursts")
        chosen = np.sort(rng.choice(len(base), BURSTS, replace=False))
        rows, moves = np.repeat(chosen, BURST), rng.integers(-REACH, REACH + 1, size=(BURSTS * BURST, 2))
        mirrored = rng.random(len(rows)) < 0.5
        shots = [shot(base[row], *move, mirror) for row, move, mirror in zip(rows, moves, mirrored, strict=True)]
        np.save(out / "bursts" / "train.npy", computed(net, Kept(np.stack(shots)), pca, "bursts"))
        np.save(out / "bursts" / "base.npy", rows)
        write_facts(out / "bursts", net, f"{BURST} shots of each of {BURSTS} images, up to {REACH} pixels apart")
    if not (out / "copies" / "facts.json").exists():
        (out / "copies").mkdir(exist_ok=True)
        pool = AugmentedPool(Kept(base), images, mirror=True)
        np.save(out / "copies" / "train.npy", computed(net, pool, pca, "copies"))
        write_facts(out / "copies", net, f"image i is image i mod {len(base)} of CIFAR-10, shifted, perhaps mirrored")


def shot(image: Images, down: int, right: int, mirror: bool) -> Images:
    """Return an image (h, w, c) moved by so many pixels, its edge repeated; mirrored first, if asked."""
    moved = np.pad(image[:, ::-1] if mirror else image, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
    height, width, _ = image.shape
    return moved[REACH - down : REACH - down + height, REACH - right : REACH - right + width]


def write_facts(out: Path, net: Network, what: str) -> None:
    """Say what was computed, and on what; the folder is complete then."""
    facts = {"what": what, "size": net.preprocessing.size, "precision": str(net.dtype), "torch": torch.__version__}
    facts |= {"processor": platform.processor() or platform.machine(), "date": time.strftime("%Y-%m-%d")}
    (out / "facts.json").write_text(json.dumps(facts, indent=1))


def main() -> None:
    """Compute what is not there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fashion", default="/usr/share/datasets/fashion-mnist", help="its idx files")
    parser.add_argument("--large", type=int, default=LARGE, help="images of the largest pool")
    args = parser.parse_args()
    cifar, mnist = (sources["hub"].bind({"id": name}) for name in ("uoft-cs/cifar10", "ylecun/mnist"))
    small = Network(96)
    labelled(args.out / "cifar10", cifar, small)
    clothing = sources["folder"].bind({"path": os.path.join(os.environ["ASAL_DATA_DIR"], "clothing")})
    labelled(args.out / "clothing", clothing, Network(224), 224)
    labelled(args.out / "mnist", mnist, small)
    labelled(args.out / "fashion-mnist", sources["mnist"].bind({"path": args.fashion}), small)
    copies(args.out, cifar, small, args.large)


if __name__ == "__main__":
    main()
