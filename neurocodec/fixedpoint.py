"""The leaves of the prior in arithmetic that is exact on every machine.

Every tensor holds integers, in float64. An activation is an integer in units of 2**-8; a weight is
an integer in units of 2**-12. A product is then a multiple of 2**-12 (in activation units), and so
is every partial sum of products: as long as its magnitude stays below 2**41, it needs no more than
53 bits and float64 holds it without rounding. So the order of summation, fused multiply-add, the
number of threads, the library and the device cannot change a result. :func:`check_bound` proves the
bound for given weights; loading a model runs it.

Only exact operations are used: multiply-add, leaky ReLU with slope 1/8, round to nearest (ties to
even), clamp. FORMAT.md, "Exact arithmetic", is the normative text.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurocodec.errors import WeightsError
from neurocodec.layers import LEAKY_SLOPE, Depthwise, Pointwise
from neurocodec.prior import TABLES, QualityTable, ToTable, lerp

ACTIVATION_BITS = 8  # fractional bits of an activation
WEIGHT_BITS = 12  # fractional bits of a weight
MEAN_BITS = 4  # fractional bits of a mean
POSITION_BITS = 12  # fractional bits of a quality position t
ONE = float(1 << ACTIVATION_BITS)  # the activation 1.0
LIMIT = float(1 << (ACTIVATION_BITS + 10))  # a layer's output is clamped to +-1024.0
ADDS = 8  # at most so many layer outputs are added up before the next layer


class ExactPointwise(nn.Module):
    """The twin of ``Pointwise``: x (..., C_in) -> clamp(round(lrelu(x W + b)))."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, activation: bool) -> None:
        super().__init__()
        self.activation = activation
        self.register_buffer("weight", weight.double().T.contiguous() / (1 << WEIGHT_BITS))
        self.register_buffer("bias", bias.double() / (1 << WEIGHT_BITS))

    def forward(self, x: Tensor) -> Tensor:
        v = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        if self.activation:
            v = F.leaky_relu_(v, LEAKY_SLOPE)
        return v.round_().clamp_(-LIMIT, LIMIT).view(*x.shape[:-1], v.shape[-1])


def half_of(head: nn.Sequential, half: int) -> nn.Sequential:
    """An exact head, reduced to the means and tables of one half of the channels."""
    *before, last, to_table = head
    if not isinstance(last, ExactPointwise):
        raise TypeError("the head is not exact")
    means, tables = last.weight.chunk(2, dim=1), last.bias.chunk(2)
    reduced = ExactPointwise.__new__(ExactPointwise)
    nn.Module.__init__(reduced)
    reduced.activation = last.activation
    reduced.register_buffer("weight", torch.cat([w.chunk(2, dim=1)[half] for w in means], dim=1).contiguous())
    reduced.register_buffer("bias", torch.cat([b.chunk(2)[half] for b in tables]))
    return nn.Sequential(*before, reduced, to_table)


class ExactDepthwise(nn.Module):
    """The twin of ``Depthwise``: nine shifted multiply-adds, which no library turns into an FFT."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        taps = weight.double().permute(2, 3, 1, 0).contiguous()  # (3, 3, 1, C)
        self.register_buffer("weight", taps / (1 << WEIGHT_BITS))
        self.register_buffer("bias", bias.double() / (1 << WEIGHT_BITS))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        v = self.bias.expand(x.shape).clone()
        for i in range(3):
            for j in range(3):
                v.addcmul_(padded[:, i : i + height, j : j + width], self.weight[i, j])
        return v.round_().clamp_(-LIMIT, LIMIT)


class ExactQualityTable(nn.Module):
    """The twin of ``QualityTable``, for t in multiples of 2**-12."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table.double())

    def forward(self, t: Tensor) -> Tensor:
        return lerp(self.table, t).round_().clamp_(-LIMIT, LIMIT)


class ExactToTable(nn.Module):
    """The twin of ``ToTable``: means in units of 2**-4 of a step, whole table numbers."""

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, table = raw.chunk(2, dim=-1)
        mean = (mean * 2.0 ** (MEAN_BITS - ACTIVATION_BITS)).round_()
        table = (table * (8 / ONE) + 16).round_().clamp_(0, TABLES - 1)
        return mean, table


def load_float(module: nn.Module, exact: nn.Module) -> None:
    """Give a float prior the parameters of its exact twin: the same function but for the rounding of
    activations, and with a gradient."""
    for name, leaf in module.named_modules():
        if not isinstance(leaf, Pointwise | Depthwise | QualityTable):
            continue
        twin = exact.get_submodule(name)
        with torch.no_grad():
            if isinstance(leaf, QualityTable) and isinstance(twin, ExactQualityTable):
                leaf.table.copy_(twin.table / ONE)
            elif isinstance(leaf, Pointwise) and isinstance(twin, ExactPointwise):
                leaf.weight.copy_(twin.weight.T)
                leaf.bias.copy_(twin.bias / ONE)
            elif isinstance(leaf, Depthwise) and isinstance(twin, ExactDepthwise):
                leaf.weight.copy_(twin.weight.permute(3, 2, 0, 1))
                leaf.bias.copy_(twin.bias / ONE)
            else:
                raise TypeError(f"{name} is not the exact twin of a {type(leaf).__name__}")


def to_integers(module: nn.Module) -> dict[str, Tensor]:
    """The parameters of a float prior, rounded to what the exact path will use, as int32."""
    integers = {}
    for name, leaf in module.named_modules():
        if isinstance(leaf, Pointwise | Depthwise):
            integers[f"{name}.weight"] = _round(leaf.weight, WEIGHT_BITS)
            integers[f"{name}.bias"] = _round(leaf.bias, ACTIVATION_BITS + WEIGHT_BITS)
        elif isinstance(leaf, QualityTable):
            integers[f"{name}.table"] = _round(leaf.table, ACTIVATION_BITS)
    return integers


def _round(parameter: Tensor, bits: int) -> Tensor:
    return (parameter.detach().double() * (1 << bits)).round().int()


def make_exact(module: nn.Module, integers: Mapping[str, Tensor], path: str = "") -> None:
    """Replace every leaf of a float prior, in place, by its exact twin with these integers.

    Raises WeightsError when a tensor is missing, has another shape, or breaks the bound.
    """
    for name, child in module.named_children():
        here = f"{path}{name}"
        twin: nn.Module
        if isinstance(child, Pointwise | Depthwise):
            weight, bias = _take(integers, here, "weight", child.weight), _take(integers, here, "bias", child.bias)
            check_bound(here, weight, bias)
            if isinstance(child, Pointwise):
                twin = ExactPointwise(weight, bias, child.activation)
            else:
                twin = ExactDepthwise(weight, bias)
        elif isinstance(child, QualityTable):
            twin = ExactQualityTable(_take(integers, here, "table", child.table))
        elif isinstance(child, ToTable):
            twin = ExactToTable()
        else:
            make_exact(child, integers, f"{here}.")
            continue
        setattr(module, name, twin)


def _take(integers: Mapping[str, Tensor], layer: str, name: str, like: Tensor) -> Tensor:
    tensor = integers.get(f"{layer}.{name}")
    if tensor is None or tensor.shape != like.shape or tensor.is_floating_point():
        raise WeightsError(f"the exact layer {layer} has no integer {name} of shape {tuple(like.shape)}.")
    return tensor


def check_bound(layer: str, weight: Tensor, bias: Tensor) -> None:
    """Raise WeightsError unless no input can bring a partial sum of this layer to 2**53 units.

    In units of 2**-20: |partial sum| <= |bias| + sum |weight| * ADDS * LIMIT, row by row.
    """
    reach = weight.flatten(1).long().abs().sum(1) * int(ADDS * LIMIT) + bias.long().abs()
    if int(reach.max()) >= 1 << 53:
        raise WeightsError(f"the exact layer {layer} could exceed 2**53; its weights are too large.")
