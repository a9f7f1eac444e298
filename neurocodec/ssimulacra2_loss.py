"""SSIMULACRA 2 with a gradient, for training and refinement.

The measure itself is in ``neurocodec.ssimulacra2``. This module computes the error that the score is a power of. It
leaves out every map with a weight below 0.003, which moves no score by 0.01. Seven of the sixteen maps that cost
anything remain, and the finest scale keeps one plane of three.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from neurocodec.ssimulacra2 import (
    C2,
    CUBIC,
    LINEAR_TO_LMS,
    LMS_BIAS,
    LMS_TO_XYB,
    RADIUS,
    SCALE_WEIGHT,
    TAPS,
    WEIGHTS,
    XYB_BIAS,
)

NEGLIGIBLE = 0.003  # weight of a map that is left out
SCALES = 5  # of six: the last one has no weight above NEGLIGIBLE
SMALLEST = 8 * 2 ** (SCALES - 1) - 15  # pixels: the shortest side whose last scale still has 8 pixels
TINY = 1e-20  # keeps the gradient of a fourth root finite where a map is zero


def ssimulacra2_error(decoded: Tensor, original: Tensor) -> Tensor:
    """Compute the error e of SSIMULACRA 2, whose score is 100 - 10 * e ** 0.6276.

    decoded and original are (B, H, W, 3) sRGB in [0, 1], float32. decoded may leave [0, 1] a little. Returns (B,).
    Raises ValueError for pictures with a side under 113 pixels.
    """
    if min(decoded.shape[1:3]) < SMALLEST:
        raise ValueError(f"SSIMULACRA 2 needs sides of at least {SMALLEST} pixels: {tuple(decoded.shape[1:3])}")
    batch = decoded.shape[0]
    d, o = _linear(decoded), _linear(original)
    total = decoded.new_zeros(batch)
    for scale in range(SCALES):
        if scale:
            d, o = (F.avg_pool2d(v, 2, ceil_mode=True, count_include_pad=False) for v in (d, o))
        planes = [plane for plane in range(3) if WEIGHTS[plane, scale].max() >= NEGLIGIBLE]
        maps = _maps(_xyb(d, planes, batch), _xyb(o, planes, batch))
        for kind, values in enumerate(maps):
            weights = WEIGHTS[planes, scale, :, kind]  # (planes, norms)
            if weights.max() < NEGLIGIBLE:
                continue
            squared = values.square()
            norms = torch.stack([values.mean((2, 3)), (squared.square().mean((2, 3)) + TINY) ** 0.25], -1)
            by_plane = norms.view(len(planes), batch, 2)
            total = total + (by_plane * torch.tensor(weights, device=total.device).float()[:, None]).sum((0, 2))
    s = total * SCALE_WEIGHT
    return s * (CUBIC[0] + s * (CUBIC[1] + s * CUBIC[2]))


def _linear(x: Tensor) -> Tensor:
    """(B, H, W, 3) sRGB -> linear RGB, (1, 3 * B, H, W) in channels_last memory: red of all pictures, then green."""
    height, width = x.shape[1:3]
    x = x.permute(1, 2, 3, 0).reshape(height, width, -1)
    curve = ((x.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(x > 0.04045, curve, x / 12.92).permute(2, 0, 1)[None]


def _xyb(linear: Tensor, planes: list[int], batch: int) -> Tensor:
    """Linear RGB (1, 3 * B, H, W) -> these planes of positive XYB, (1, planes * B, H, W)."""
    mix, to_planes, offset = _matrices(tuple(planes), batch, linear.device)
    lms = F.linear(linear[0].permute(1, 2, 0), mix) + LMS_BIAS
    return F.linear(lms.clamp_min(1e-6) ** (1 / 3), to_planes, offset).permute(2, 0, 1)[None]


@lru_cache(maxsize=32)
def _matrices(planes: tuple[int, ...], batch: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The two matrices of XYB, and its offset, for planes of which each holds a batch of pictures."""
    one = torch.eye(batch)
    mix = torch.kron(torch.tensor(LINEAR_TO_LMS).float(), one)
    to_planes = torch.kron(torch.tensor(LMS_TO_XYB[list(planes)]).float(), one)
    offset = torch.tensor(XYB_BIAS[list(planes)]).float().repeat_interleave(batch)
    return mix.to(device), to_planes.to(device), offset.to(device)


def _maps(d: Tensor, o: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Structural dissimilarity, artifacts and lost detail of one scale, each (1, C, H, W)."""
    channels = d.shape[1]
    mean_d, powers, product = torch.split(_blur(torch.cat([d, o * o + d * d, o * d], 1)), channels, 1)
    mean_o = _blur(o)
    luminance = 1 - (mean_o - mean_d).square()
    means = mean_o * mean_d
    contrast = (2 * (product - means) + C2) / (powers - mean_o.square() - mean_d.square() + C2)
    dissimilarity = F.relu(1 - luminance * contrast)
    edges = (1 + (d - mean_d).abs()) / (1 + (o - mean_o).abs()) - 1
    return dissimilarity, F.relu(edges), F.relu(-edges)


def _blur(v: Tensor) -> Tensor:
    """Gaussian blur: rows beyond the picture mirror it, columns beyond it are zero, as in the reference."""
    channels = v.shape[1]
    kernel = torch.tensor(TAPS, device=v.device).float().expand(channels, 1, 1, -1)
    v = F.conv2d(v, kernel, padding=(0, RADIUS), groups=channels)
    v = torch.cat([v[:, :, :RADIUS].flip(2), v, v[:, :, -RADIUS:].flip(2)], 2)
    return F.conv2d(v, kernel.transpose(2, 3), groups=channels)
