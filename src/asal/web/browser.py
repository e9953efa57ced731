"""Opens the browser without showing the link's token to other users of the machine."""

from __future__ import annotations

import html
import os
import webbrowser
from pathlib import Path


def open_browser(link: str, folder: Path) -> Path:
    """Open the browser at a link; return the file that redirects it there, which only this user can read.

    Everybody on the machine can see a program's command line, but not a file's contents. Where the browser may not
    read the file, the user opens the printed link.
    """
    folder.mkdir(exist_ok=True)
    page = folder / "open.html"
    page.unlink(missing_ok=True)  # never write into what somebody else has put there
    text = f'<!doctype html><title>asal</title><meta http-equiv="refresh" content="0; url={html.escape(link)}">'
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    webbrowser.open(page.absolute().as_uri())
    return page
