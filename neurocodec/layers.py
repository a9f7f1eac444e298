"""The three layers everything is built from, and the moves between resolutions.

All tensors are channels-last, (B, H, W, C): a 1x1 convolution is then a plain matrix product, which
is the fastest thing a CPU does, and the only product that the exact path (``fixedpoint``) allows.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.125  # a power of two, so that the exact path can take it without rounding

# Products with what follows them in one pass: in bfloat16 the activation alone takes as long as the product. And
# weights as the processor reads them. Private to torch, whose compiler calls them, so that a version may lack them, and
# tried on one kind of processor only.
TRIED = platform.machine().lower() in ("x86_64", "amd64")
FUSED = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if TRIED else None
LAY_OUT = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None) if TRIED else None
FUSED_SUM = getattr(getattr(torch.ops.mkldnn, "_convolution_pointwise_", None), "binary", None) if TRIED else None

ROWS = 1 << 12  # positions, or about so many, that weights are laid out for
AT_ONCE = 1 << 21  # elements that are added up at once: what is larger leaves the cache

_undrawn: ContextVar[bool] = ContextVar("undrawn", default=False)


@contextmanager
def undrawn() -> Iterator[None]:
    """Layers made within hold anything, for what a file holds is about to take its place: to draw millions of
    numbers takes longer than all else of loading a model, and moves the program's random state."""
    token = _undrawn.set(True)
    try:
        yield
    finally:
        _undrawn.reset(token)


def drawn(shape: Sequence[int], *factors: float) -> Tensor:
    """First weights: normally distributed, times factors."""
    if _undrawn.get():
        return torch.empty(*shape)
    weight = torch.randn(*shape)
    for factor in factors:
        weight = weight * factor
    return weight


class Pointwise(nn.Module):
    """A 1x1 convolution, (..., C_in) -> (..., C_out), with an optional leaky ReLU behind it."""

    def __init__(self, c_in: int, c_out: int, activation: bool = False, gain: float = 1.0) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(drawn((c_out, c_in), gain, c_in**-0.5))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.frozen = False
        self._once: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.dim() != 4:
            x = F.linear(x, self.weight, self.bias)
            return F.leaky_relu(x, LEAKY_SLOPE) if self.activation else x
        device = x.device.type
        if not torch.is_autocast_enabled(device):
            return product(x, self.weight, self.bias, self.activation)
        dtype = torch.get_autocast_dtype(device)
        return product(x.to(dtype), *self._rounded(dtype, device), self.activation)

    def _rounded(self, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
        """Weight and bias in autocast's precision; for a frozen layer, once."""
        if self._once is None or self._once[1].dtype != dtype or self._once[1].device.type != device:
            weight, bias = self.weight.to(dtype), self.bias.to(dtype)
            if not self.frozen:
                return weight, bias
            if device == "cpu" and FUSED is not None and LAY_OUT is not None:
                weight = LAY_OUT(weight, ROWS)
            self._once = weight, bias
        return self._once

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_once": None}  # which nothing can copy


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: bool = False) -> Tensor:
    """A 1x1 convolution without a gradient: x (..., C_in), weight (C_out, C_in), bias (C_out,) -> (..., C_out), all of
    one type. On a CPU this is not a convolution's work: that splits long sums by the number of threads."""
    rows = x.reshape(-1, x.shape[-1])
    if x.device.type == "cpu" and x.dtype != torch.float64 and FUSED is not None:
        then: tuple[str, list[float]] = ("leaky_relu", [LEAKY_SLOPE]) if activation else ("none", [])
        v: Tensor = FUSED(rows, weight, bias, *then, "")
    else:
        v = rows @ weight.T
        if bias is not None:
            v = v.add_(bias)  # in place, for `linear` would spread the bias out first
        if activation:
            v = F.leaky_relu_(v, LEAKY_SLOPE)
    return v.view(*x.shape[:-1], v.shape[-1])


def freeze(module: nn.Module) -> None:
    """The weights of a module change no more: they may be laid out for the processor, once."""
    module.eval().requires_grad_(False)
    for layer in module.modules():
        if isinstance(layer, Pointwise):
            layer.frozen = True


class Depthwise(nn.Module):
    """A k x k convolution of each channel with itself, zero padding, (B, H, W, C) -> (B, H, W, C). k is odd."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        weight = drawn((channels, 1, kernel, kernel), 0.3 / kernel)
        weight[:, :, kernel // 2, kernel // 2] += 0.7
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        # The permuted view is what torch calls channels_last: no copy in, none out.
        x = x.permute(0, 3, 1, 2)
        x = F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[2] // 2, groups=x.shape[1])
        return x.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Two residual branches: one looks at the neighbours, one mixes the channels.

    x ──┬── pw, lrelu ── dw kxk ── pw ──(+)──┬── pw (C -> 2C), lrelu ── pw (2C -> C) ──(+)──
        └────────────────────────────────┘   └─────────────────────────────────────┘

    Where no gradient is asked for, the sums may take x's place in memory.
    """

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.look = nn.Sequential(
            Pointwise(channels, channels, activation=True),
            Depthwise(channels, kernel),
            Pointwise(channels, channels, gain=0.1),  # near zero: a new block starts as identity
        )
        self.mix = nn.Sequential(
            Pointwise(channels, 2 * channels, activation=True),
            Pointwise(2 * channels, channels, gain=0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            x = x + self.look(x)
            x = x + self.mix(x)
        else:
            x = _plus(x, self.look)
            x = _plus(x, self.mix)
        return x


def _plus(x: Tensor, branch: nn.Sequential) -> Tensor:
    """x + branch(x), in place of one or the other, for fresh memory costs as much as the addition."""
    *before, last = branch
    h = x
    for layer in before:
        h = layer(h)
    plain = x.device.type == "cpu" and x.dtype == h.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if plain and isinstance(last, Pointwise) and FUSED_SUM is not None:
        weight, here, there = last.weight[:, :, None, None], x.permute(0, 3, 1, 2), h.permute(0, 3, 1, 2)
        FUSED_SUM(here, there, weight, last.bias, [0, 0], [1, 1], [1, 1], 1, "add", None, None, [], None)
        return x
    more: Tensor = last(h)
    if more.dtype == x.dtype:
        return more.add_(x)
    # Under autocast the branches are in bfloat16, but their sum is not, here as in training. The CPU adds a copy in
    # x's precision.
    rows = max(1, AT_ONCE // (x.shape[2] * x.shape[3])) if x.device.type == "cpu" else x.shape[1]
    for part, more_of_it in zip(torch.split(x, rows, 1), torch.split(more, rows, 1), strict=True):
        part.add_(more_of_it)
    return x


def in_full(layer: Pointwise, x: Tensor, factor: Tensor | None = None) -> Tensor:
    """layer(x), times a factor (B, 1, 1, C_out) if there is one, of a layer without activation, in the precision of its
    weights, where autocast would round x to the 8 bits of bfloat16."""
    with torch.autocast(x.device.type, enabled=False):
        x, weight, bias = x.to(layer.weight.dtype), layer.weight, layer.bias
        if torch.is_grad_enabled() or (factor is not None and len(factor) > 1):
            x = F.linear(x, weight, bias)
            return x if factor is None else x * factor
        if factor is None:
            return product(x, weight, bias)
        # Of all positions: it is as well a factor of the weights, which are fewer.
        return product(x, weight * factor.view(-1, 1), bias * factor.view(-1))


def space_to_depth(x: Tensor, r: int) -> Tensor:
    """(B, H, W, C) -> (B, H/r, W/r, r*r*C): every r x r patch becomes one position."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // r, r, w // r, r, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // r, w // r, r * r * c)


def depth_to_space(x: Tensor, r: int) -> Tensor:
    """(B, H, W, r*r*C) -> (B, H*r, W*r, C): the inverse of :func:`space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, r, r, c // (r * r)).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * r, w * r, c // (r * r))
