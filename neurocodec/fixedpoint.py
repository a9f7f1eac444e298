"""The leaves of the prior in arithmetic that is exact on every machine.

Every tensor holds integers, in float32. An activation is an integer in units of 2**-7. A layer clamps its
inputs to +-reach, and a row of its weights is integers in units of 2**-shift, with a shift that is as large as
this allows: that no sum of products, whatever part of it is added up first, can come to 2**24 units. So
float32 holds every partial sum without rounding, and the order of summation, fused multiply-add, the number
of threads, the library and the device cannot change a result. :func:`check_bound` proves the bound for
given weights; loading a model runs it.

The same integers in float64 give the same results, at half the speed: what is done where something
multiplies float32 with fewer bits than it has (:func:`working_dtype`).

Only exact operations are used: multiply-add, leaky ReLU with slope 1/8, round to nearest (ties to
even), clamp. FORMAT.md, "Exact arithmetic", is the normative text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurocodec.errors import WeightsError
from neurocodec.layers import LEAKY_SLOPE, Depthwise, Pointwise, product
from neurocodec.prior import TABLES, Join, QualityTable, Raw, ToTable, lerp

LATENT_BITS = 8  # fractional bits of a latent and of its mean
ACTIVATION_BITS = 7  # fractional bits of an activation
JOINED_BITS = 5  # fractional bits of a latent that the context sees
POSITION_BITS = 12  # fractional bits of a quality position t
MEAN_LIMIT = float(1 << (LATENT_BITS + 10))  # a mean is clamped to +-1024.0
ONE = float(1 << LATENT_BITS)  # the latent 1.0
UNIT = float(1 << ACTIVATION_BITS)  # the activation 1.0
JOINED_UNIT = float(1 << JOINED_BITS)  # the latent 1.0, as the context sees it
EXACT_BITS = 24  # float32 holds every integer up to 2**24
REACHES = range(16)  # of inputs, as powers of two, in units of an activation, or of a latent that the context sees
SHIFTS = range(3, 13)  # of a row of weights: with the first, eight outputs still add up to less than 2**24
# Multiplications at a time for which OpenBLAS stays in one thread: its others would then wait in the way of torch's.
ALONE = 1 << 18
ANY, FIRST, LAST = slice(None), slice(1, None), slice(None, -1)  # all of an axis, all but its first, all but its last
TAPS = ((FIRST, LAST), (ANY, ANY), (LAST, FIRST))  # what a tap of three adds to, and what it reads

Clamp = Callable[[Tensor, float, float], Tensor]  # torch.clamp, or in place
Array = NDArray[np.float32]


class ExactPointwise(nn.Module):
    """The twin of ``Pointwise``: x (..., C_in) -> round(lrelu(clamp(x) W + b)); the twin of ``Raw`` does not round."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, shift: Tensor, reach: Tensor, activation: bool, rounds: bool = True
    ) -> None:
        super().__init__()
        self.reach, self.activation, self.rounds = 1 << int(reach), activation, rounds
        self.clamp: Clamp = torch.clamp
        self.register_buffer("weight", _in_steps(weight, shift))
        self.register_buffer("bias", _in_steps(bias, shift))

    def forward(self, x: Tensor) -> Tensor:
        x = self.clamp(x, -self.reach, self.reach)
        v = product(x, self.weight.to(x.dtype), self.bias.to(x.dtype), self.activation)
        return v.round_() if self.rounds else v


class ArrayPointwise:
    """An ``ExactPointwise`` on arrays x (P, C_in): for a few positions at a time, which NumPy is done with sooner."""

    def __init__(self, exact: nn.Module) -> None:
        if not isinstance(exact, ExactPointwise):
            raise TypeError("the layer is not exact")
        self.weight, self.bias = exact.weight.T.contiguous().cpu().numpy(), exact.bias.cpu().numpy()
        self.reach, self.activation, self.rounds = np.float32(exact.reach), exact.activation, exact.rounds
        self.rows = max(1, ALONE // self.weight.size)

    def __call__(self, x: Array) -> Array:
        x = np.minimum(np.maximum(x, -self.reach), self.reach)
        v = np.empty((len(x), len(self.bias)), np.float32)
        for start in range(0, len(x), self.rows):
            np.matmul(x[start : start + self.rows], self.weight, out=v[start : start + self.rows])
        v += self.bias
        if self.activation:
            np.maximum(v, v * np.float32(LEAKY_SLOPE), out=v)
        if self.rounds:
            np.rint(v, out=v)
        return v


def to_table(raw: Array) -> tuple[Array, Array]:
    """:class:`ExactToTable` on arrays."""
    mean, table = np.split(raw, 2, axis=-1)
    mean = np.rint(mean * np.float32(ONE / UNIT)).clip(-MEAN_LIMIT, MEAN_LIMIT)
    return mean, (np.rint(table * np.float32(8 / UNIT)) + 16).clip(0, TABLES - 1)


class ExactJoin(nn.Module):
    """The twin of ``Join``, for latents that are mostly zero: round(clamp(psi) W + b) + round(clamp(y) V)."""

    weight: Tensor
    bias: Tensor
    half_0: Tensor
    half_1: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, shift: Tensor, reach: Tensor, features: int) -> None:
        super().__init__()
        self.reach, *self.latent_reach = (1 << r for r in reach.tolist())
        self.register_buffer("weight", _in_steps(weight[:, :features], shift[0]))
        self.register_buffer("bias", _in_steps(bias, shift[0]))
        for i, half in enumerate(weight[:, features:].chunk(2, dim=1)):
            self.register_buffer(f"half_{i}", _in_steps(half, shift[1 + i]) * (UNIT / JOINED_UNIT))

    def forward(self, psi: Tensor, parts: Sequence[tuple[Tensor, int, Tensor]]) -> Tensor:
        """psi (..., N) and the latents there are: positions (R,), half, and its elements (R, M/2) in units of 2**-8."""
        x = psi.clamp(-self.reach, self.reach)
        v = product(x, self.weight.to(psi.dtype), self.bias.to(psi.dtype)).round_()
        rows = v.view(-1, v.shape[-1])
        for positions, half, elements in parts:
            y, reach = elements.to(psi.dtype) * (JOINED_UNIT / ONE), self.latent_reach[half]
            weight = (self.half_0, self.half_1)[half].to(psi.dtype)
            rows.index_add_(0, positions, product(y.round_().clamp_(-reach, reach), weight).round_())
        return v


class ExactDepthwise(nn.Module):
    """The twin of ``Depthwise``: nine shifted multiply-adds, which no library turns into an FFT."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, shift: Tensor, reach: Tensor) -> None:
        super().__init__()
        self.reach = 1 << int(reach)
        self.clamp: Clamp = torch.clamp
        taps = _in_steps(weight, shift).permute(2, 3, 1, 0).contiguous()  # (3, 3, 1, C)
        self.register_buffer("weight", taps)
        self.register_buffer("bias", _in_steps(bias, shift))

    def forward(self, x: Tensor) -> Tensor:
        x, weight = self.clamp(x, -self.reach, self.reach), self.weight.to(x.dtype)
        v = torch.addcmul(self.bias.to(x.dtype), x, weight[1, 1])
        for i, (rows, from_rows) in enumerate(TAPS):
            for j, (columns, from_columns) in enumerate(TAPS):
                if (i, j) != (1, 1):
                    v[:, rows, columns].addcmul_(x[:, from_rows, from_columns], weight[i, j])
        return v.round_()


class ExactQualityTable(nn.Module):
    """The twin of ``QualityTable``, for t (1,) float64 in multiples of 2**-12."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table.double())

    def forward(self, t: Tensor) -> Tensor:
        return lerp(self.table, t).round_().float()


class ExactToTable(nn.Module):
    """The twin of ``ToTable``: means in units of 2**-8 of a step, and whole table numbers."""

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, table = raw.chunk(2, dim=-1)
        mean = (mean * (ONE / UNIT)).round_().clamp_(-MEAN_LIMIT, MEAN_LIMIT)
        table = (table * (8 / UNIT)).round_().add_(16).clamp_(0, TABLES - 1)
        return mean, table


def _in_steps(integers: Tensor, shift: Tensor) -> Tensor:
    """Integers (C, ...), row by row in units of 2**-shift -> float32, exactly."""
    steps = torch.exp2(-shift.double()).view(-1, *[1] * (integers.dim() - 1))
    real: Tensor = (integers.double() * steps).float()
    return real


def half_of(head: nn.Sequential, half: int) -> nn.Sequential:
    """An exact head, reduced to the means and tables of one half of the channels."""
    *before, last, to_table = head
    if not isinstance(last, ExactPointwise):
        raise TypeError("the head is not exact")
    rows, biases = last.weight.chunk(2), last.bias.chunk(2)  # of means, and of tables
    reduced = ExactPointwise.__new__(ExactPointwise)
    nn.Module.__init__(reduced)
    reduced.reach, reduced.activation, reduced.rounds = last.reach, last.activation, last.rounds
    reduced.clamp = last.clamp
    reduced.register_buffer("weight", torch.cat([w.chunk(2)[half] for w in rows]))
    reduced.register_buffer("bias", torch.cat([b.chunk(2)[half] for b in biases]))
    return nn.Sequential(*before, reduced, to_table)


def load_float(module: nn.Module, exact: nn.Module) -> None:
    """Give a float prior the parameters of its exact twin: the same function but for the rounding and clamping of
    activations, and with a gradient."""
    for name, leaf in module.named_modules():
        if not isinstance(leaf, Pointwise | Depthwise | QualityTable):
            continue
        twin = exact.get_submodule(name)
        with torch.no_grad():
            if isinstance(leaf, QualityTable) and isinstance(twin, ExactQualityTable):
                leaf.table.copy_(twin.table / UNIT)
                continue
            if isinstance(leaf, Join) and isinstance(twin, ExactJoin):
                latents = torch.cat([twin.half_0, twin.half_1], dim=1) / (UNIT / JOINED_UNIT)
                leaf.weight.copy_(torch.cat([twin.weight, latents], dim=1))
            elif isinstance(leaf, Pointwise) and isinstance(twin, ExactPointwise):
                leaf.weight.copy_(twin.weight)
            elif isinstance(leaf, Depthwise) and isinstance(twin, ExactDepthwise):
                leaf.weight.copy_(twin.weight.permute(3, 2, 0, 1))
            else:
                raise TypeError(f"{name} is not the exact twin of a {type(leaf).__name__}")
            leaf.bias.copy_(twin.bias / UNIT)


def make_exact(module: nn.Module, integers: Mapping[str, Tensor], path: str = "") -> None:
    """Replace every leaf of a float prior, in place, by its exact twin with these integers.

    Raises WeightsError when a tensor is missing, has another shape, or breaks the bound.
    """
    for name, child in module.named_children():
        here = f"{path}{name}"
        twin: nn.Module
        if isinstance(child, Pointwise | Depthwise):
            weight, bias = _take(integers, here, "weight", child.weight), _take(integers, here, "bias", child.bias)
            parts = len(units_of(child))
            shift = _take(integers, here, "shift", child.bias.expand(parts, -1))
            reach = _take(integers, here, "reach", shift[:, 0])
            check_bound(here, child, weight, bias, shift, reach)
            if isinstance(child, Join):
                twin = ExactJoin(weight, bias, shift, reach, child.sizes[0])
            elif isinstance(child, Pointwise):
                twin = ExactPointwise(weight, bias, shift[0], reach, child.activation, not isinstance(child, Raw))
            else:
                twin = ExactDepthwise(weight, bias, shift[0], reach)
        elif isinstance(child, QualityTable):
            twin = ExactQualityTable(_take(integers, here, "table", child.table))
        elif isinstance(child, ToTable):
            twin = ExactToTable()
        else:
            make_exact(child, integers, f"{here}.")
            continue
        if isinstance(module, nn.Sequential) and name != "0" and isinstance(twin, ExactPointwise | ExactDepthwise):
            twin.clamp = torch.clamp_  # what the layer before gave is nobody else's
        setattr(module, name, twin)


def _take(integers: Mapping[str, Tensor], layer: str, name: str, like: Tensor) -> Tensor:
    tensor = integers.get(f"{layer}.{name}")
    if tensor is None or tensor.shape != like.shape or tensor.is_floating_point():
        raise WeightsError(
            f"the exact layer {layer} has no integer {name} of shape {tuple(like.shape)} "
            "(weights of another release have to be exported again)."
        )
    return tensor


def check_bound(layer: str, leaf: nn.Module, weight: Tensor, bias: Tensor, shift: Tensor, reach: Tensor) -> None:
    """Raise WeightsError unless no input can bring a partial sum of this layer to 2**24 units, nor eight of its
    outputs together."""
    for name, values, allowed in (("shift", shift, SHIFTS), ("reach", reach, REACHES)):
        if int(values.min()) < allowed[0] or int(values.max()) > allowed[-1]:
            raise WeightsError(f"the exact layer {layer} has a {name} outside {allowed[0]} to {allowed[-1]}.")
    for i, part in enumerate(parts_of(leaf, weight.double())):
        sums = largest_sums(part, bias.double() if i == 0 else 0 * bias.double(), int(reach[i]))
        if int(sums.max()) >= 1 << EXACT_BITS:
            raise WeightsError(f"the exact layer {layer} could exceed 2**24; its weights are too large.")


def units_of(leaf: nn.Module) -> list[float]:
    """What 1.0 is in each part of a layer's input."""
    return [UNIT, JOINED_UNIT, JOINED_UNIT] if isinstance(leaf, Join) else [UNIT]


def parts_of(leaf: nn.Module, weight: Tensor) -> list[Tensor]:
    """The weights (C_out, terms) of a layer that are added up before anything is rounded: of a join, those of the
    features and of each half of the latents."""
    weight = weight.flatten(1)
    return list(torch.split(weight, leaf.sizes, dim=1)) if isinstance(leaf, Join) else [weight]


def largest_sums(weight: Tensor, bias: Tensor, reach: int) -> Tensor:
    """The largest magnitude that a partial sum of each row can have, (..., C_out), in units of its shift. weight:
    (..., C_out, terms)."""
    largest: Tensor = weight.abs().sum(-1) * 2**reach + bias.abs()
    return largest


def working_dtype(device: torch.device) -> torch.dtype:
    """What the exact path is to compute in: float32 where it multiplies as it should, else float64.

    A graphics card, or a processor that is told to hurry (``torch.set_float32_matmul_precision``, oneDNN's
    fpmath mode), may round the factors of float32 products. The test is made anew each time: it takes no
    longer than a layer of a thumbnail, and settings change.
    """
    if device.type != "cpu":
        return torch.float64
    x, weight, expected = _trial()
    return torch.float32 if torch.equal(product(x, weight), expected) else torch.float64


@lru_cache(maxsize=1)
def _trial() -> tuple[Tensor, Tensor, Tensor]:
    """Factors of 13 bits, and their product, whose sums stay below 2**24."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-4096, 4096, (128, 128), generator=generator) * 2 + 1
    weight = torch.randint(-15, 16, (128, 128), generator=generator)
    return x.float(), weight.float(), (x @ weight.T).float()
