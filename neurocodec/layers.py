"""The three layers everything is built from, and the moves between resolutions.

All tensors are channels-last, (B, H, W, C): a 1x1 convolution is then a plain matrix product, which
is the fastest thing a CPU does, and the only product that the exact path (``fixedpoint``) allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.125  # a power of two, so that the exact path can take it without rounding

# A convolution with what follows it in one pass: in bfloat16 the activation alone takes as long as the product, and in
# float32 the sum of a residual branch a twentieth of g_s. Private to torch, whose compiler calls them, so that a
# version may lack them.
FUSED = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
FUSED_SUM = getattr(getattr(torch.ops.mkldnn, "_convolution_pointwise_", None), "binary", None)

IN_CACHE = 1 << 17  # elements

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

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.dim() != 4:
            x = F.linear(x, self.weight, self.bias)
            return F.leaky_relu(x, LEAKY_SLOPE) if self.activation else x
        # The same product; as a convolution it is faster in float32, for the bias is fused.
        x, weight = x.permute(0, 3, 1, 2), self.weight[:, :, None, None]
        if self.activation and x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and FUSED is not None:
            x, weight, bias = (v.to(torch.get_autocast_dtype("cpu")) for v in (x, weight, self.bias))
            fused: Tensor = FUSED(x, weight, bias, [0, 0], [1, 1], [1, 1], 1, "leaky_relu", [LEAKY_SLOPE], "")
            return fused.permute(0, 2, 3, 1)
        x = F.conv2d(x, weight, self.bias).permute(0, 2, 3, 1)
        return F.leaky_relu_(x, LEAKY_SLOPE) if self.activation else x


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
    # x's precision, which stays in the cache and in memory that is at hand if it is of a few rows.
    rows = max(1, IN_CACHE // (x.shape[2] * x.shape[3])) if x.device.type == "cpu" else x.shape[1]
    for part, more_of_it in zip(torch.split(x, rows, 1), torch.split(more, rows, 1), strict=True):
        part.add_(more_of_it)
    return x


def in_full(layer: Pointwise, x: Tensor) -> Tensor:
    """layer(x), of a layer without activation, in the precision of its weights, where autocast would round x to
    the 8 bits of bfloat16."""
    with torch.autocast(x.device.type, enabled=False):
        # Not as a convolution: that one splits long sums by the number of threads.
        x = x.to(layer.weight.dtype)
        if torch.is_grad_enabled():
            return F.linear(x, layer.weight, layer.bias)
        return F.linear(x, layer.weight).add_(layer.bias)  # in place, for `linear` would spread the bias out first


def times(x: Tensor, factor: Tensor) -> Tensor:
    """x * factor, in x's place where no gradient is asked for: fresh memory costs as much as the product."""
    return x * factor if torch.is_grad_enabled() else x.mul_(factor)


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
