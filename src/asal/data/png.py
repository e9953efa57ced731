"""Images as PNG files."""

from __future__ import annotations

import io

from asal.core import Images


def png(pixels: Images) -> bytes:
    """Return an image (h, w, c) as a PNG file: lossless, and the same bytes for the same pixels."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()
