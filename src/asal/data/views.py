"""An original as people see it, if it still shows what the pool holds: a label is given to what the pool has.

A file may have been replaced since its image was taken in. Its pixels, fitted as the pool's are and reduced, are
compared with the pool's picture; where they differ the original is not shown.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from asal.core import Images
from asal.data.decoding import Conversion, Unreadable
from asal.data.decoding.fitting import content
from asal.data.decoding.transparency import flattened
from asal.data.decoding.viewing import encoded_for_people, in_srgb, shrink_to, within
from asal.data.originals import GONE
from asal.data.sources import Lost, Raw
from asal.data.sources.decode import eight_bits, why_broken

SMALL = 256  # pixels: a file up to this edge is encoded without loss
SIDE = 32  # pixels to which both pictures are reduced at last
SHAPE = 0.02  # by which the shapes of images that were not fitted may differ
ALIKE = 16.0  # mean difference up to which two pictures may be the same: of 255
DETAIL = 0.4  # and up to which share of the mean deviation from their own means: two photographs on white differ little
FLAT = 4.0  # levels that compression alone changes

State: TypeAlias = Literal["here", "gone", "changed", "unreadable"]
STATES = ("here", "gone", "changed", "unreadable")


@dataclass(frozen=True)
class View:
    """What became of an original.

    Args:
        state: "here"; "gone"; "changed", where its place holds another image by now; or "unreadable".
        files: of "here": an encoded image for each edge, in pixels.
        reason: of "unreadable", in a few words.
    """

    state: State
    files: Mapping[int, bytes] = field(default_factory=dict)
    reason: str = ""


def view(places: Iterable[Raw], picture: Images, how: Conversion, edges: Sequence[int]) -> View:
    """Return an original for people: the first of several places where the pool's image is.

    Args:
        places: what lies where the original may be, the most probable place first.
        picture: the pool's (h, w, c).
        how: the pool's images were made.
        edges: wanted, in pixels; an image is never enlarged.
    """
    found = View("gone")
    for raw in places:
        now = _view(raw, picture, how, edges)
        if now.state == "here":
            return now
        if found.state == "gone":
            found = now
    return found


def _view(raw: Raw, picture: Images, how: Conversion, edges: Sequence[int]) -> View:
    if isinstance(raw, Lost):
        return View("gone") if raw.reason == GONE else View("unreadable", reason=raw.reason)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about broken EXIF data and the like
            sizes = list[tuple[int, int]]()

            def shrink(opened: Image.Image) -> None:
                sizes.append(opened.size)
                shrink_to(opened, max(edges), how.limit)

            image = eight_bits(raw, how, shrink)
            if not shows(image, picture, how):
                return View("changed")
            shown, _ = flattened(in_srgb(image), how.background, gray=False)
            longest = max(max(size) for size in (*sizes, image.size))  # before it is decoded at a fraction
            return View("here", dict(_files(shown, edges, lossless=longest <= SMALL)))
    except Unreadable as error:
        return View("unreadable", reason=error.reason)
    except MemoryError:
        return View("unreadable", reason="the memory for decoding it was too small")
    except Exception as error:  # Pillow's decoders raise many kinds of errors on broken bytes
        return View("unreadable", reason=why_broken(raw, error))


def _files(image: Image.Image, edges: Sequence[int], *, lossless: bool) -> Iterator[tuple[int, bytes]]:
    for edge in sorted(edges, reverse=True):  # the smaller one is made of the larger one
        image = within(image, edge)
        yield edge, encoded_for_people(image, lossless=lossless)


def shows(image: Image.Image, picture: Images, how: Conversion) -> bool:
    """Say whether an image, upright and of any size, shows what a picture of a pool (h, w, c) does."""
    height, width, channels = picture.shape
    flat, _ = flattened(image, how.background, gray=channels == 1)
    flat = flat.convert("L" if channels == 1 else "RGB")
    own = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
    if height == width and how.fit == "pad":  # without the padding, in which all images are alike
        return any(_alike(flat, own.crop(box)) for box in _boxes(image.size, height))
    if height == width and how.fit == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        flat = flat.crop((left, top, left + side, top + side))
    elif height != width and abs(image.width * height - image.height * width) > SHAPE * image.height * width:
        return False
    return _alike(flat, own)


def _boxes(size: tuple[int, int], square: int) -> set[tuple[int, int, int, int]]:
    """Return where in a padded square an image may lie: when it was taken in, a fraction of it may have been decoded,
    whose sides were rounded.
    """
    fractions = [(-(-size[0] // scale), -(-size[1] // scale)) for scale in (1, 2, 4, 8)]
    return {content(each, square) for each in fractions}


def _alike(image: Image.Image, picture: Image.Image) -> bool:
    """Say whether an image shows what a picture of a pool does, both L or RGB, as far as small reductions can tell.

    The image comes to the picture's size as the picture did: another filter leaves other patterns of fine textures.
    """
    image = image.resize(picture.size, Image.Resampling.BICUBIC, reducing_gap=4.0)
    scale = min(1.0, SIDE / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    one, other = (np.asarray(each.resize(size, Image.Resampling.BOX), np.float64) for each in (image, picture))
    difference = float(np.abs(one - other).mean())
    deviation = max(float(np.abs(each - each.mean(axis=(0, 1))).mean()) for each in (one, other))
    return difference <= min(ALIKE, max(FLAT, DETAIL * deviation))
