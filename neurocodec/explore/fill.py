"""Smooth fills: the harmonic function that the values around a hole ask for, and nothing more.

It is where inpainting starts from, and, on what the decoder misses of the visible pixels, what joins a
decoded hole to its rim without a seam (Perez, Gangnet, Blake 2003, "Poisson image editing").
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 300  # of conjugate gradients, at most
TOLERANCE = 1e-4  # of the residual, as a share of what it was


def harmonic(values: Tensor, known: Tensor) -> Tensor:
    """values (H, W, C) float, known (H, W) bool, somewhere true -> values that are unchanged where known, and
    elsewhere the mean of their neighbours within the picture."""
    free = ~known
    start = _pyramid(values * known[:, :, None], known.to(values.dtype)[:, :, None])
    x = torch.where(known[:, :, None], values, start)
    if not bool(free.any()):
        return x
    moving = free.to(values.dtype)[:, :, None]
    residual = -_laplacian(x) * moving
    direction, energy = residual, residual.square().sum((0, 1))
    enough = energy * TOLERANCE**2
    for _ in range(STEPS):
        if bool((energy <= enough).all()):
            break
        applied = _laplacian(direction) * moving
        step = energy / (direction * applied).sum((0, 1)).clamp(min=1e-12)
        x = x + step * direction
        residual = residual - step * applied
        before, energy = energy, residual.square().sum((0, 1))
        direction = residual + energy / before.clamp(min=1e-12) * direction
    return x


def _laplacian(x: Tensor) -> Tensor:
    """Four times (H, W, C) minus its neighbours; at the edges, fewer of them."""
    rows, columns = x[1:] - x[:-1], x[:, 1:] - x[:, :-1]
    none = (0, 0)
    down = F.pad(rows, (*none, *none, 1, 0)) - F.pad(rows, (*none, *none, 0, 1))
    return down + F.pad(columns, (*none, 1, 0)) - F.pad(columns, (*none, 0, 1))


def _pyramid(sums: Tensor, weights: Tensor) -> Tensor:
    """Means of sums (H, W, C) of weights (H, W, 1), and where there are none those of the coarser picture."""
    height, width = sums.shape[:2]
    means = sums / weights.clamp(min=1e-6)
    if height == width == 1 or bool((weights > 0).all()):
        return means
    both = torch.cat([sums, weights], 2).permute(2, 0, 1)[None]
    quarters = F.avg_pool2d(F.pad(both, (0, width % 2, 0, height % 2)), 2)[0].permute(1, 2, 0)
    coarse = _pyramid(quarters[:, :, :-1], quarters[:, :, -1:])
    finer = F.interpolate(coarse.permute(2, 0, 1)[None], scale_factor=2, mode="bilinear")[0].permute(1, 2, 0)
    return torch.where(weights > 0, means, finer[:height, :width])
