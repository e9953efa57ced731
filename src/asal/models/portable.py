"""A network as files that need nothing but torch: its weights by name, and its computation as plain calls.

`torch.export` records what is computed; from that record comes a Python function of few lines a layer, which anybody
can read, and which no class of asal, timm or transformers is needed for.
"""

from __future__ import annotations

import copy
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

Logits = Callable[[Tensor], Tensor]

TOLERANCE = 1e-5  # of logits, relative to the largest: what the function's own check allows
UNCHANGED = {"lift_fresh_copy.default", "detach.default", "detach_.default", "alias.default", "dropout.default"}
CHECK = "_assert_tensor_metadata.default"
HEADER = '''"""What the classifier computes: plain calls of torch, recorded by torch.export from the trained network.

`w` holds the tensors of model.safetensors by their names. Written by asal; change it as you like.
"""

from math import inf, nan  # noqa: F401

import torch
from torch import device  # noqa: F401

aten = torch.ops.aten


def logits(batch, w):
    """Map images (n, {channels}, {height}, {width}), values −1 … 1, to logits (n, classes)."""
'''


@dataclass(frozen=True)
class PortableNetwork:
    """A network without the code that it was written in.

    Args:
        weights: by name, on the CPU.
        source: of a Python module with a function `logits(batch, weights)`.
        program: what `torch.export.load` opens.
    """

    weights: Mapping[str, Tensor]
    source: str
    program: bytes

    @property
    def parameters(self) -> int:
        """How many numbers it consists of."""
        return sum(weight.numel() for weight in self.weights.values())


def portable(logits: Logits, shape: Sequence[int], named: Mapping[str, Tensor]) -> PortableNetwork:
    """Record what a network computes for any number of images.

    Args:
        logits: maps float images (n, c, h, w) in [−1, 1] to (n, k).
        shape: (h, w, c) of an image.
        named: names for its tensors, as far as they are known; others are called by their number.

    Raises:
        RuntimeError: the network cannot be recorded: what it does depends on the values of the images.
    """
    height, width, channels = shape
    draws = torch.Generator().manual_seed(0)
    batch = torch.rand(2, channels, height, width, generator=draws) * 2 - 1
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.export: that tensors are constants, which they are to be
        expected = logits(batch).cpu()
        count = torch.export.Dim("images", min=1)
        recorded = torch.export.export(_Network(logits).eval(), (batch,), dynamic_shapes=({0: count},))
        recorded = move_to_device_pass(recorded, "cpu")
        for name, value in recorded.constants.items():
            recorded.constants[name] = value.detach().clone(memory_format=torch.contiguous_format)
        names = _names(recorded.constants, named)
        weights = {names[name]: value for name, value in recorded.constants.items()}
        file = io.BytesIO()
        torch.export.save(recorded, file)
        head = HEADER.format(channels=channels, height=height, width=width)
        found = PortableNetwork(weights, head + _body(recorded, names), file.getvalue())
        _check(found, batch, expected)
    return found


class _Network(nn.Module):
    def __init__(self, logits: Logits) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, batch: Tensor) -> Tensor:
        return self.logits(batch)


def _names(constants: Mapping[str, Tensor], named: Mapping[str, Tensor]) -> dict[str, str]:
    """Return a name for each constant: that of an equal tensor, or its number."""
    free = {name: value.detach().cpu() for name, value in named.items()}
    names: dict[str, str] = {}
    for number, (constant, value) in enumerate(constants.items()):
        alike = (name for name, its in free.items() if its.shape == value.shape and torch.equal(its, value))
        names[constant] = next(alike, f"tensor.{number}")
        free.pop(names[constant], None)
    return names


def _body(recorded: Any, names: Mapping[str, str]) -> str:
    """Return the lines of the function."""
    graph = _tidied(recorded.graph_module.graph)
    specs = recorded.graph_signature.input_specs
    places = {spec.arg.name: f'w["{names[spec.target]}"]' for spec in specs if spec.target}
    text = graph.python_code("self").src.partition(":\n")[2]
    return "".join(f"    {line}\n" for line in _lines(text, places))


def _lines(text: str, places: Mapping[str, str]) -> Iterator[str]:
    """Yield statements with the weights' names in place of arguments, and what is not needed any more deleted."""
    for line in filter(None, map(str.strip, text.splitlines())):
        statement, _, freed = line.partition(";  ")
        statement = re.sub(r"\b[a-z]\w*\b", lambda found: places.get(found.group(), found.group()), statement)
        statement = statement.replace("torch.ops.aten.", "aten.").replace("device(type='cpu')", "batch.device")
        statement = re.sub(r"^return \((.*),\)$", r"return \1", statement)
        gone = [name for name in freed.split(" = ") if name not in ("", "None", *places)]
        kept = [name for name in gone if name != "batch" or "batch.device" not in text]
        yield f"{statement}; del {', '.join(kept)}" if kept else statement


def _tidied(graph: Any) -> Any:
    """Return the graph without calls that change nothing."""
    graph = copy.deepcopy(graph)
    for node in list(graph.nodes):
        name = str(node.target).removeprefix("aten.")
        if node.op != "call_function":
            continue
        if name == CHECK:
            graph.erase_node(node)
        elif name in UNCHANGED or (name.startswith("to.") and _dtype(node) == _dtype(node.args[0])):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return graph


def _dtype(node: Any) -> Any:
    return getattr(node.meta.get("val"), "dtype", None)


def _check(found: PortableNetwork, batch: Tensor, expected: Tensor) -> None:
    """Run the written function twice, and compare: it must not change the weights, either."""
    module: dict[str, Any] = {}
    exec(compile(found.source, "network.py", "exec"), module)
    for _ in range(2):
        error = (module["logits"](batch.clone(), found.weights) - expected).abs().max()
        if not error <= TOLERANCE * expected.abs().max().clamp(min=1):
            raise RuntimeError(f"the network that was written differs from the trained one by {float(error)}")
