"""The prior P(z | q) P(y | z, q): from decoded symbols to a mean and a probability table for each latent.

Everything here is written once and runs twice: in float while training, and in exact arithmetic in
the codec, where ``fixedpoint.make_exact`` has replaced the leaves (``Pointwise``, ``Depthwise``, ``Join``, ``Raw``,
``QualityTable``, ``ToTable``) by their fixed-point twins. So this module may only add, concatenate
and reshape between its leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from neurocodec.layers import Block, Pointwise, depth_to_space

SCALE_MIN = 0.11  # standard deviation of table 0, in quantization steps
SCALE_OCTAVE = 6  # tables per factor of two: table i has standard deviation 0.11 * 2 ** (i / 6)
TABLES = 64
PHASES = 8  # of the mean of a hyper-latent between two symbols, each with tables of its own


NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1))  # (row, column) from a position of z: its context


class QualityTable(nn.Module):
    """A learned vector per quality anchor, interpolated linearly between anchors."""

    def __init__(self, anchors: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(anchors, channels))

    def forward(self, t: Tensor) -> Tensor:
        """t (B,) in [0, anchors - 1] -> (B, 1, 1, C)."""
        return lerp(self.table, t)


def lerp(table: Tensor, t: Tensor) -> Tensor:
    """Rows of table (A, C) at the fractional row numbers t (B,) -> (B, 1, 1, C)."""
    low = t.floor().clamp(0, table.shape[0] - 2)
    f = (t - low)[:, None].to(table.dtype)
    i = low.long()
    return (table[i] * (1 - f) + table[i + 1] * f)[:, None, None, :]


class ToTable(nn.Module):
    """Raw network output (..., 2M) -> mean (..., M) in steps, table number (..., M), not rounded."""

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, table = raw.chunk(2, dim=-1)
        return mean, table * 8 + 16


class Join(Pointwise):
    """The 1x1 convolution of features and, behind them, latents of the same position: (..., N + M) -> (..., C_out)."""

    def __init__(self, features: int, latents: int, width: int) -> None:
        super().__init__(features + latents, width)
        self.sizes = [features, latents // 2, latents // 2]  # the latents come in halves


class Raw(Pointwise):
    """The last layer of a head, which gives means and tables: (..., C) -> (..., 2M), not rounded before ``ToTable``."""

    def __init__(self, width: int, latents: int) -> None:
        super().__init__(width, 2 * latents, gain=0.1)


class HyperContext(nn.Module):
    """Means and tables of z, given the four neighbours of a position that come before it (:func:`fronts`)."""

    def __init__(self, latents: int, width: int, anchors: int) -> None:
        super().__init__()
        self.enter = Pointwise(len(NEIGHBOURS) * (latents + 1), width)
        self.quality = QualityTable(anchors, width)
        self.mix = nn.Sequential(Pointwise(width, 2 * width, activation=True), Pointwise(2 * width, width, gain=0.1))
        self.head = nn.Sequential(Raw(width, latents), ToTable())

    def forward(self, z_hat: Tensor, t: Tensor, unit: float = 1.0) -> tuple[Tensor, Tensor]:
        """z_hat (B, H/64, W/64, Z), in which unit is one -> mean and table number of each element, not rounded."""
        inside = F.pad(z_hat, (0, 1), value=unit)  # what tells a neighbour from none
        around = F.pad(inside, (0, 0, 1, 1, 1, 0))
        height, width = z_hat.shape[1:3]
        near = [around[:, 1 + row :, 1 + column :][:, :height, :width] for row, column in NEIGHBOURS]
        return self.predict(torch.cat(near, dim=-1), self.quality(t))

    def predict(self, near: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """near (..., 4 * (Z + 1)): of each neighbour the latents and a one, or zeros where there is none; quality:
        what the table of that name has for t."""
        x = self.enter(near) + quality
        x = x + self.mix(x)
        mean, table = self.head(x)
        return mean, table


def whole_and_phase(mean: Tensor) -> tuple[Tensor, Tensor]:
    """A mean of a hyper-latent -> the symbol that is nearest to it, and how far between this one and the next it is,
    from half a step below it to half a step above, in phases from 0 to PHASES."""
    whole = (mean + 0.5).floor()
    return whole, (mean - whole + 0.5) * PHASES


@lru_cache(maxsize=16)
def fronts(height: int, width: int) -> tuple[NDArray[np.int64], list[slice]]:
    """The positions of z in coding order, numbered in raster order, and where in it each front is.

    Position (row, column) is of front 2 * row + column: what it is predicted from lies in fronts before its own.
    """
    number = (2 * np.arange(height)[:, None] + np.arange(width)).ravel()
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1)).tolist()
    return order, [slice(*pair) for pair in pairwise([*starts, len(order)])]


class HyperSynthesis(nn.Module):
    """h_s: z_hat (B, H/64, W/64, Z) -> psi (B, H/16, W/16, N), features for both context steps."""

    def __init__(self, latents: int, width: int, anchors: int) -> None:
        super().__init__()
        self.enter = Pointwise(latents, width)
        self.quality_64 = QualityTable(anchors, width)
        self.block_64 = Block(width)
        self.up_32 = Pointwise(width, 4 * width, activation=True)
        self.block_32 = Block(width)
        self.up_16 = Pointwise(width, 4 * width, activation=True)
        self.quality_16 = QualityTable(anchors, width)
        self.block_16 = Block(width)

    def forward(self, z_hat: Tensor, t: Tensor) -> Tensor:
        x = self.enter(z_hat) + self.quality_64(t)  # (B, H/64, W/64, N)
        x = self.block_64(x)
        x = self.block_32(depth_to_space(self.up_32(x), 2))  # (B, H/32, W/32, N)
        x = depth_to_space(self.up_16(x), 2) + self.quality_16(t)  # (B, H/16, W/16, N)
        psi: Tensor = self.block_16(x)
        return psi


class Context(nn.Module):
    """Two steps over a checkerboard of space and channels.

    Step 1 codes the first half of the channels on the even colour and the second half on the odd
    colour, given psi. Step 2 codes the rest, given psi and what step 1 decoded.
    """

    def __init__(self, latents: int, hyper_width: int, width: int) -> None:
        super().__init__()
        self.head_1 = nn.Sequential(
            Pointwise(hyper_width, width, activation=True),
            Raw(width, latents),
            ToTable(),
        )
        self.join = Join(hyper_width, latents, width)
        self.block = Block(width)
        self.head_2 = nn.Sequential(Raw(width, latents), ToTable())

    def features_2(self, psi: Tensor, y_hat_1: Tensor) -> Tensor:
        """psi, y_hat (zero where not of step 1) -> features (B, H/16, W/16, C) for head_2."""
        x: Tensor = self.block(self.join(torch.cat([psi, y_hat_1], dim=-1)))
        return x


class Halves:
    """Which latents belong to which step, and their coding order.

    Positions have colour 0 where row + column is even, else 1. Step 1 codes channel half 0 at the
    positions of colour 0, in raster order, then channel half 1 at those of colour 1. Step 2 codes
    half 1 at colour 0, then half 0 at colour 1. Height and width are even.
    """

    def __init__(self, height: int, width: int, channels: int, device: torch.device) -> None:
        self.height, self.width, self.channels = height, width, channels
        colour = (torch.arange(height)[:, None] + torch.arange(width)[None, :]).flatten() % 2
        self.positions = tuple((colour == c).nonzero()[:, 0].to(device) for c in (0, 1))

    @staticmethod
    def channel_half(step: int, colour: int) -> int:
        return colour if step == 1 else 1 - colour

    def take(self, step: int, y: Tensor) -> Tensor:
        """(1, H, W, M) -> (H * W, M / 2), the elements of a step in coding order."""
        elements = torch.empty((self.height * self.width, self.channels // 2), dtype=y.dtype, device=y.device)
        for ours, theirs in self._pairs(step, elements, y):
            ours.copy_(theirs)
        return elements

    def put(self, step: int, y: Tensor, elements: Tensor) -> None:
        """The inverse of :meth:`take`, in place."""
        for ours, theirs in self._pairs(step, elements, y):
            theirs.copy_(ours)

    def _pairs(self, step: int, elements: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The same elements in coding order and in y, (H/2, W/2, M/2), for each colour in even and in odd rows."""
        rows, columns, half = self.height // 2, self.width // 2, self.channels // 2
        ours = elements.view(2, rows, 2, columns, half)
        theirs = y.view(rows, 2, columns, 2, self.channels)  # never a copy, also of a window
        for colour in (0, 1):
            channels = theirs.narrow(-1, self.channel_half(step, colour) * half, half)
            for odd in (0, 1):
                yield ours[colour, :, odd], channels[:, odd, :, colour ^ odd]


def mask_1(y: Tensor) -> Tensor:
    """True where an element of y (B, H, W, M) belongs to step 1, (H, W, M)."""
    height, width, channels = (torch.arange(side, device=y.device) for side in y.shape[1:])
    colour = (height[:, None] + width[None, :]) % 2
    half = (channels >= y.shape[3] // 2).long()
    return colour[:, :, None] == half
