"""What the page shows of images: their addresses, their names, and the files behind the addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any

from fastapi import Response
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool

from asal.data.decoding.viewing import kind_of_file
from asal.data.views import View
from asal.features import features
from asal.labelling.photos import PHOTO, THUMB, Photos
from asal.project.validate import learner_space
from asal.session.state import State
from asal.web.project_info import ProjectInfo
from asal.web.schemas import digits

IMMUTABLE = {"cache-control": "private, max-age=31536000, immutable"}  # an id always means the same image
SHORTLY = {"cache-control": "private, max-age=20"}  # a share may come back
NOT_YET = {"cache-control": "no-store", "retry-after": "3"}
ORIGINAL = "x-original"  # a header of every reply that may be an original: "here", "gone", "changed", "unreadable"


class EdgeLength(IntEnum):
    """At most so many pixels on the longer edge."""

    THUMB = THUMB
    PHOTO = PHOTO


Edge = Annotated[EdgeLength, BeforeValidator(digits)]  # in an address


@dataclass(frozen=True)
class Pictures:
    """The images of a project for the page.

    Args:
        photos: their originals, where the source keeps them.
    """

    project: ProjectInfo
    photos: Photos | None = None

    def to_json(self, images: Sequence[int], state: State) -> dict[int, dict[str, str | None]]:
        """Return for each image the addresses of its picture, its photograph and its thumbnail, and its name."""
        real = [image for image in images if image not in state.synthetic]
        keys = self.photos.keys(real) if self.photos is not None else {}
        found: dict[int, dict[str, str | None]] = {}
        for image in images:
            # Another project at the same port has other images under the same ids.
            tag = self.project.tag(image, state)
            about: dict[str, str | None] = {"src": f"/images/{image}.png?of={tag}"}
            for name, edge in (("photo", PHOTO), ("thumb", THUMB)):
                about[name] = f"/photos/{image}.jpg?of={tag}&edge={edge}" if image in keys else None
            found[image] = {**about, "key": keys.get(image)}
        return found

    def beside(self, rows: Sequence[Mapping[str, Any]], state: State) -> list[dict[str, Any]]:
        """Return JSON objects that have an `image`, with the addresses and the name of each image beside the rest."""
        about = self.to_json([row["image"] for row in rows], state)
        return [{**row, **about[row["image"]]} for row in rows]

    def ahead(self, images: Sequence[int], state: State) -> None:
        """Have photographs decoded that were handed out."""
        if self.photos is not None:
            real = [image for image in images if image not in state.synthetic]
            if real:
                self.photos.ahead(real, self.project.tag(real[0], state))

    def picture(self, image: int, state: State, of: str) -> Response:
        """Return the pool's picture. With the right `of` a browser may keep it."""
        kept = IMMUTABLE if of == self.project.tag(image, state) else {}
        return Response(self.project.picture(image, state), media_type="image/png", headers=kept)

    async def photograph(self, image: int, state: State, of: str, edge: int) -> Response:
        """Return the original for people; where that cannot be had now, the pool's picture, and why in a header."""
        tag = self.project.tag(image, state)
        found = View("gone") if image in state.synthetic else await self._found(image, tag, edge)
        if found is not None and found.state == "here":
            kept = IMMUTABLE if of == tag else {}
            data = found.files[edge]
            return Response(data, media_type=kind_of_file(data), headers={**kept, ORIGINAL: "here"})
        data = await run_in_threadpool(self.project.picture, image, state)
        headers = {**(NOT_YET if found is None else SHORTLY), ORIGINAL: "unreadable" if found is None else found.state}
        return Response(data, media_type="image/png", headers=headers)

    async def _found(self, image: int, tag: str, edge: int) -> View | None:
        """Return what became of an original; None while it is still being read, and others have waited long enough."""
        if self.photos is None or not self.photos.are_kept:
            return View("gone")
        data = await run_in_threadpool(self.photos.kept, image, tag, edge)
        if data is not None:
            return View("here", {edge: data})
        waited = asyncio.wrap_future(await run_in_threadpool(self.photos.get, image, tag))
        with suppress(TimeoutError):
            # It goes on being decoded when nobody waits any longer.
            return await asyncio.wait_for(asyncio.shield(waited), self.photos.patience(image))
        return None


def sees(project: ProjectInfo) -> dict[str, Any]:
    """Return what the classifier sees of a photograph: how it is fitted to a square of how many pixels, and whether
    that is the pool's picture or made from the original.
    """
    spec = project.folder.spec
    height, width, _ = project.pool.shape
    found = {"fit": project.fit, "size": max(height, width), "reads": "pictures"}
    space = learner_space(spec)
    if space and "originals" in features[spec.features[space].kind].provides:
        table = spec.features[space]
        own = features[table.kind].options(table.options).get("size")  # of squares
        found |= {"size": own or found["size"], "reads": "originals"}
    return found
