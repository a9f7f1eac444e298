"""The prior while it learns, in the arithmetic of files (``fixedpoint``).

Weights and activations are rounded as they will be, with the gradient of what was not rounded (Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference").
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurocodec.fixedpoint import ONE, UNIT, parts_of, units_of
from neurocodec.layers import LEAKY_SLOPE, Depthwise, Pointwise
from neurocodec.prior import Join, QualityTable, Raw, ToTable, lerp
from neurocodec.training.rounding import rounded_layer

Network = TypeVar("Network", bound=nn.Module)


def quantized(module: Network, integers: Mapping[str, Tensor], path: str) -> Network:
    """A twin of a float prior, or a part of one, which shares its parameters and computes what their integers would.

    integers: a weights file's tensors, by whose reaches inputs are clamped; path: the module's name in it, with a dot.
    """
    twin = copy.copy(module)
    children: dict[str, nn.Module | None] = {}
    for name, child in module.named_children():
        here = f"{path}{name}"
        if isinstance(child, Pointwise | Depthwise):
            children[name] = QuantizedLayer(child, integers[f"{here}.reach"].tolist())
        elif isinstance(child, QualityTable):
            children[name] = QuantizedTable(child)
        elif isinstance(child, ToTable):
            children[name] = QuantizedMeans()
        else:
            children[name] = quantized(child, integers, f"{here}.")
    twin._modules = children  # the module's own stay what they are
    return twin


class QuantizedLayer(nn.Module):
    """The differentiable twin of ``ExactPointwise``, ``ExactJoin`` and ``ExactDepthwise``."""

    def __init__(self, leaf: Pointwise | Depthwise, reaches: list[int]) -> None:
        super().__init__()
        self.leaf, self.reaches = leaf, reaches

    def forward(self, x: Tensor) -> Tensor:
        leaf = self.leaf
        weights, bias = self.rounded()
        limits = [2**reach / unit for reach, unit in zip(self.reaches, units_of(leaf), strict=True)]
        if isinstance(leaf, Join):
            psi, *latents = torch.split(x, leaf.sizes, dim=-1)
            joined = to_multiple(F.linear(psi.clamp(-limits[0], limits[0]), weights[0], bias), UNIT)
            for half, weight, limit, unit in zip(latents, weights[1:], limits[1:], units_of(leaf)[1:], strict=True):
                joined = joined + to_multiple(F.linear(to_multiple(half, unit).clamp(-limit, limit), weight), UNIT)
            return joined
        x = x.clamp(-limits[0], limits[0])
        if isinstance(leaf, Depthwise):
            channels_first = x.permute(0, 3, 1, 2)
            side = leaf.weight.shape[2]
            kernel = weights[0].view(leaf.weight.shape)
            v = F.conv2d(channels_first, kernel, bias, padding=side // 2, groups=x.shape[3]).permute(0, 2, 3, 1)
            return to_multiple(v, UNIT)
        v = F.linear(x, weights[0], bias)
        if leaf.activation:
            v = F.leaky_relu(v, LEAKY_SLOPE)
        return v if isinstance(leaf, Raw) else to_multiple(v, UNIT)

    def rounded(self) -> tuple[list[Tensor], Tensor]:
        """The weights (C_out, terms) of each part of the input, and the bias (C_out,), as their integers say."""
        weight, bias = self.leaf.weight, self.leaf.bias
        integers, whole, shifts = rounded_layer(self.leaf, weight.detach(), bias.detach(), self.reaches)
        steps = [torch.exp2(-shift.float()) for shift in shifts]
        weights = [
            straight_through(rounded * step[:, None], part)
            for rounded, step, part in zip(integers, steps, parts_of(self.leaf, weight), strict=True)
        ]
        return weights, straight_through(whole * steps[0] / UNIT, bias)


class QuantizedTable(nn.Module):
    """The differentiable twin of ``ExactQualityTable``."""

    def __init__(self, leaf: QualityTable) -> None:
        super().__init__()
        self.leaf = leaf

    def forward(self, t: Tensor) -> Tensor:
        return to_multiple(lerp(to_multiple(self.leaf.table, UNIT), t), UNIT)


class QuantizedMeans(ToTable):
    """The differentiable twin of ``ExactToTable``, but for the table numbers, which stay fractional: they are what
    scales learn by."""

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, table = super().forward(raw)
        return to_multiple(mean, ONE), table


def to_multiple(v: Tensor, unit: float) -> Tensor:
    """v, rounded to multiples of 1 / unit."""
    return straight_through((v.detach() * unit).round() / unit, v)


def straight_through(value: Tensor, v: Tensor) -> Tensor:
    """A value of v's shape with the gradient of v."""
    return v + (value - v).detach()
