"""Files and folders that are no images of a data set: thumbnails, bins, what systems leave behind, annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from asal.errors import counted

FOLDERS = frozenset(
    {"@eadir", "$recycle.bin", "lost+found", "__macosx", ".thumbnails", "system volume information", "#recycle"}
    | {"@recycle", "@recently-snapshot", "#snapshot", "__pycache__", ".ipynb_checkpoints"}
)
FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".ds_store", "icon\r", "picasa.ini", ".nomedia"}
)
NOT_IMAGES = frozenset(  # endings of what may lie beside images, and makes no folder one of images
    {"txt", "csv", "tsv", "json", "jsonl", "ndjson", "xml", "yaml", "yml", "toml", "ini", "cfg", "md", "rst", "html"}
    | {"htm", "py", "pyc", "ipynb", "sh", "bat", "m", "r", "c", "cpp", "js", "log", "cache", "lock", "db", "sqlite"}
    | {"pdf", "doc", "docx", "xls", "xlsx", "ods", "odt", "ppt", "pptx", "zip", "tar", "gz", "tgz", "bz2", "xz", "7z"}
    | {"rar", "mat", "npy", "npz", "h5", "hdf5", "pkl", "pickle", "parquet", "arrow", "tfrecord", "pt", "pth", "mdb"}
    | {"xmp", "aae", "thm", "md5", "sha256", "names", "data", "caption"}
)
SIDECARS = frozenset({"txt", "xml", "json", "xmp", "aae", "yaml", "yml", "csv", "caption", "md5", "thm"})


def system_name(name: str, *, folder: bool = False) -> str:
    """Return what a file or folder is reported as, if it is a system's and no image; "" for any other.

    >>> system_name("Thumbs.db"), system_name("._1.png"), system_name(".Trash-1000", folder=True), system_name("1.png")
    ('Thumbs.db', '._*', '.Trash*', '')
    """
    low = name.casefold()
    if low in (FOLDERS if folder else FILES):
        return name.strip()
    if low.startswith(".trash"):
        return ".Trash*"
    if name.startswith("._"):
        return "._*"
    return "hidden" if name.startswith(".") else ""


def may_be_image(name: str) -> bool:
    """Whether a file may be an image, by its name's ending."""
    stem, dot, ending = name.rpartition(".")
    return not (dot and stem and ending.casefold() in NOT_IMAGES)


def without_sidecars(names: Iterable[str]) -> Iterator[str]:
    """Yield the names of a folder's files without annotations of images: 1.txt or 1.png.json beside 1.png.

    >>> list(without_sidecars(["1.png", "1.txt", "1.png.json", "notes.txt"]))
    ['1.png', 'notes.txt']
    """
    everything = list(names)
    if all(map(may_be_image, everything)):
        yield from everything
        return
    images = {name for name in everything if may_be_image(name)}
    stems = images | {name.rpartition(".")[0] for name in images}
    for name in everything:
        stem, _, ending = name.rpartition(".")
        if name in images or not (ending.casefold() in SIDECARS and stem in stems):
            yield name


def lines(passed: Mapping[str, int], limit: int = 12) -> list[str]:
    """Return what was passed over, in one line; none where that is nothing.

    >>> lines({"Thumbs.db": 2, "hidden": 3})
    ['passed over: 3 files hidden, 2 files Thumbs.db']
    """
    if not passed:
        return []
    most = Counter(passed).most_common(limit)
    counts = ", ".join(f"{counted(number, 'file')} {what}" for what, number in most)
    more = f" and {len(passed) - limit} kinds more" if len(passed) > limit else ""
    return [f"passed over: {counts}{more}"]
