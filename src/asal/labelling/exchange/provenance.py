"""Whose ids a file has: an export's folder says which pool and which record they are of."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from asal.labelling.exchange.import_report import is_export
from asal.labelling.exchange.writers import INDEX
from asal.runtime import artifacts


class Provenance(NamedTuple):
    """The pool and the record of a file's ids; empty if the file does not say."""

    pool: str = ""  # its fingerprint
    record: str = ""  # see `record_name`


def provenance(place: Path) -> Provenance:
    """Return whose ids a file or folder has, by the manifest of the export that it belongs to, if it is unchanged."""
    folder = place.parent if place.is_file() else place
    listed = (folder / name for name in (INDEX, "dataset_info.json"))
    proof = place if place.is_file() else next((path for path in listed if path.is_file()), None)
    if proof is None or not is_export(folder):
        return Provenance()
    wrote = artifacts.manifest(folder)
    entry = wrote["files"].get(proof.relative_to(folder).as_posix())
    if entry is None or entry["sha256"] != artifacts.sha256(proof):
        return Provenance()
    return Provenance(str(wrote.get("pool", "")), str(wrote.get("record", "")))
