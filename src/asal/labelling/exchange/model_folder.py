"""The classifier out of a project: a folder that needs torch alone, and says what the classifier was trained on.

OUT/README.md           the model card
    model.json          the classes, and how an image becomes what the network reads
    model.safetensors   the weights of all of it: backbone, projection and head, or whatever network the classifier is
    network.py          what is computed with them, as plain calls of torch
    preprocess.py       from an image file to the network's input
    load_model.py       puts these together
    model.pt2           the same network for torch.export.load
    part.json           what was exported, and the sha256 of every file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from asal.experiments.evaluation import held_out
from asal.labelling.exchange.export import clear_for_export
from asal.labelling.exchange.model_card import Measured, model_card
from asal.models.portable import PortableNetwork, portable
from asal.project.classifier import Classifier, classifier_of
from asal.project.new_images import InputReader, logits_of, tensors_of
from asal.project.project import Project
from asal.project.validate import learner_space
from asal.runtime import artifacts

FORM = "model"
TEMPLATES = ("load_model.py", "preprocess.py")


@dataclass(frozen=True)
class ExportedModel:
    """What was written, in words."""

    folder: Path
    lines: list[str]


def export_model(project: Project, out: Path, strategy: str = "") -> ExportedModel:
    """Write the classifier of all labels of a project into a folder.

    Args:
        strategy: one of the spec's, where it has a classifier of its own; see `classifier_of`.

    Raises:
        UserError: there is no classifier, it is no network of torch, or the folder holds files that no export wrote.
    """
    from safetensors.torch import save

    classifier = classifier_of(project, strategy)
    reader = InputReader.of(project, classifier.model.reads)
    logits = logits_of(project, classifier.model)
    clear_for_export(out, project.folder)
    network = portable(logits, reader.form.shape, tensors_of(project, classifier.model))
    measured = [
        Measured.of(name, test_set, classifier.model)
        for name, test_set in held_out(project, classifier.session).items()
    ]
    facts = _facts(project, classifier, reader, network)
    facts["accuracy"] = [each.to_json() for each in measured]
    made_from = {"export": FORM, "pool": project.pool.fingerprint, "events": classifier.session.state.seq}
    with artifacts.explain_disk_errors(out), artifacts.building(out, {**made_from, "at": facts["written"]}) as folder:
        artifacts.write(folder / "model.safetensors", save(dict(network.weights), {"format": "pt"}))
        artifacts.write(folder / "model.pt2", network.program)
        artifacts.write_json(folder / "model.json", facts)
        _write(folder / "network.py", network.source)
        for name in TEMPLATES:
            _write(folder / name, _template(name))
        _write(folder / "README.md", model_card(facts, measured))
    return ExportedModel(out, _lines(out, classifier, network, measured))


def _facts(project: Project, classifier: Classifier, reader: InputReader, network: PortableNetwork) -> dict[str, Any]:
    """Return the contents of model.json."""
    spec, state, form = project.spec, classifier.session.state, reader.form
    space = learner_space(spec) if classifier.model.reads == "features" else ""
    height, width, channels = form.shape
    ranges = form.how.ranges
    return {
        "name": spec.name,
        "asal": metadata.version("asal"),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(classifier.classes),
        "input": {
            "height": height,
            "width": width,
            "channels": channels,
            "size": form.size,
            "fit": form.how.fit,
            "background": form.how.background,
            "ranges": {kind: list(ends) for kind, ends in ranges.items()} if isinstance(ranges, Mapping) else ranges,
            "values": "uint8 / 127.5 − 1",
        },
        "labels": classifier.counts,
        "events": state.seq,
        "cant_tell": len(state.skips),
        "learner": spec.learner.model_dump(mode="json", exclude_none=True),
        "features": spec.features[space].model_dump(mode="json", exclude_none=True) if space else None,
        "strategies": sorted({asked.strategy for asked in state.rounds}),
        "parameters": network.parameters,
    }


def _lines(out: Path, classifier: Classifier, network: PortableNetwork, measured: list[Measured]) -> list[str]:
    labels = sum(classifier.counts.values())
    trained = f"trained on {labels:,} labels of {len(classifier.classes)} classes"
    lines = [f"The classifier, {trained}, {network.parameters:,} numbers: {out}"]
    lines += [each.sentence for each in measured] or ["Its accuracy was not measured: no labelled images are held out."]
    return [*lines, f"Try it where only torch and Pillow are installed: python {out / 'load_model.py'} PHOTO"]


def _template(name: str) -> str:
    home = resources.files("asal.labelling.exchange")
    return home.joinpath(f"templates/{name}.txt").read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    artifacts.write(path, text.encode())
