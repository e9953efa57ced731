"""EfficientNet-Lite0: a small network for photographs, as it was published, written for reading features.

Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"; the Lite variants (Liu 2020)
leave out squeeze-and-excitation and replace swish by ReLU6. The names of the weights are those of the package
efficientnet_lite_pytorch. Batch normalisation is folded into the convolution before it when the weights are loaded:
the same function in half the passes over memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES, CLASSES = 1280, 1000
EPSILON = 1e-3  # of batch normalisation, as in TensorFlow, where the weights were trained
STAGES = (  # repeats, kernel, stride, expansion, channels in and out: table 1 of the paper
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class Convolution(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME": ⌈side / stride⌉ pixels, and an odd row is padded at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=inputs if depthwise else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, ⌈h / stride⌉, ⌈w / stride⌉)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, left = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        if top % 2 or left % 2:  # more at the end than at the beginning: as zeros around the image
            x, padding = F.pad(x, (left // 2, left - left // 2, top // 2, top - top // 2)), (0, 0)
        else:
            padding = (top // 2, left // 2)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)


class Block(nn.Module):
    """An inverted residual (Sandler et al. 2018): expand the channels, filter each one, project them."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner) if expansion > 1 else None
        self.depthwise = Convolution(inner, inner, kernel, stride, depthwise=True)
        self.project = Convolution(inner, outputs)
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, ⌈h / stride⌉, ⌈w / stride⌉)."""
        hidden = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        projected: Tensor = self.project(F.relu6(self.depthwise(hidden), inplace=True))
        return projected + x if self.adds_input else projected


class EfficientNetLite0(nn.Module):
    """3.4 million parameters for features, 1.3 million for the 1,000 classes of ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, 3, 2)
        self.blocks = nn.Sequential(
            *(
                Block(kernel, 1 if repeat else stride, expansion, outputs if repeat else inputs, outputs)
                for repeats, kernel, stride, expansion, inputs, outputs in STAGES
                for repeat in range(repeats)
            )
        )
        self.top = Convolution(320, FEATURES)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def features(self, batch: Tensor) -> Tensor:
        """Map normalised images (n, 3, h, w) to the input of the classifier (n, 1280)."""
        hidden = self.blocks(F.relu6(self.stem(batch), inplace=True))
        return F.relu6(self.top(hidden), inplace=True).mean((2, 3))

    def forward(self, batch: Tensor) -> Tensor:
        """Map normalised images (n, 3, h, w) to the logits of ImageNet's classes (n, 1000)."""
        logits: Tensor = self.classifier(self.features(batch))
        return logits

    @classmethod
    def from_published(cls, weights: Mapping[str, Tensor]) -> EfficientNetLite0:
        """Build the network from weights under their published names.

        Raises:
            KeyError: one is missing.
            RuntimeError: one has another shape.
        """
        net = cls()
        folded = {"classifier.weight": weights["_fc.weight"], "classifier.bias": weights["_fc.bias"]}
        names = {"stem": ("_conv_stem", "_bn0"), "top": ("_conv_head", "_bn1")}
        for number, block in enumerate(net.blocks):
            for own, convolution, norm in BLOCK:
                if getattr(block, own) is not None:
                    names[f"blocks.{number}.{own}"] = (f"_blocks.{number}.{convolution}", f"_blocks.{number}.{norm}")
        for own, (convolution, norm) in names.items():
            folded |= {f"{own}.{name}": value for name, value in _folded(weights, convolution, norm).items()}
        net.load_state_dict(folded)
        return net.eval().requires_grad_(False)


BLOCK = (  # a convolution here, its name as published, and that of the normalisation behind it
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
)


def _folded(weights: Mapping[str, Tensor], convolution: str, norm: str) -> dict[str, Tensor]:
    """Return a convolution's weight and bias with the normalisation behind it: γ (Wx − μ) / √(σ² + ε) + β."""
    weight, scale, shift, mean, variance = (
        weights[name].double()
        for name in (
            f"{convolution}.weight",
            *(f"{norm}.{it}" for it in ("weight", "bias", "running_mean", "running_var")),
        )
    )
    factor = scale / torch.sqrt(variance + EPSILON)
    return {"weight": (weight * factor[:, None, None, None]).float(), "bias": (shift - mean * factor).float()}
