"""SSIMULACRA 2 with a gradient, for training and refinement.

The measure itself is in ``neurocodec.ssimulacra2``. This module computes the error whose power gives the
score. It leaves out every plane of a scale whose weights are all below 0.003, which changes no score by 0.01. So the
last scale is left out, and the first scale keeps one plane of three.
"""

from __future__ import annotations

from typing import Any

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

NEGLIGIBLE = 0.003  # weight; planes of a scale with only lower weights are left out
SCALES = 5  # number of scales: the sixth one has no weight above NEGLIGIBLE
SMALLEST = 8 * 2 ** (SCALES - 1) - 15  # pixels; shortest side whose last scale still has 8 pixels
KNEE = 0.04045  # end of the linear part of sRGB
TINY = 1e-28  # addend that keeps the gradient of a fourth root finite where a map is zero
# Lists, because torch.compile treats NumPy arrays as tensors.
_PLANES = [[plane for plane in range(3) if WEIGHTS[plane, scale].max() >= NEGLIGIBLE] for scale in range(SCALES)]
_WEIGHTS: list[Any] = [WEIGHTS[planes, scale].transpose(2, 1, 0).tolist() for scale, planes in enumerate(_PLANES)]
_MIX: list[Any] = LINEAR_TO_LMS.tolist()
_TO_XYB: list[Any] = [LMS_TO_XYB[planes].tolist() for planes in _PLANES]
_OFFSETS: list[Any] = [XYB_BIAS[planes].tolist() for planes in _PLANES]
_WINDOW: list[float] = TAPS.tolist()


def ssimulacra2_error(decoded: Tensor, original: Tensor) -> Tensor:
    """Compute the error e of SSIMULACRA 2, whose score is 100 - 10 * e ** 0.6276.

    decoded and original are (B, H, W, 3) sRGB in [0, 1], float32. decoded may exceed [0, 1] slightly.
    Returns (B,).
    Agrees with the measure only for sides of at least 225 pixels. The measure uses fewer scales for smaller pictures.
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
        norms = _norms(_xyb(d, scale, batch), _xyb(o, scale, batch))
        weights = torch.tensor(_WEIGHTS[scale], device=total.device)[..., None]  # (maps, norms, planes, 1)
        total = total + (weights * norms.view(3, 2, -1, batch)).sum((0, 1, 2))
    s = total * SCALE_WEIGHT
    return s * (CUBIC[0] + s * (CUBIC[1] + s * CUBIC[2]))


def _linear(x: Tensor) -> Tensor:
    """Convert sRGB (B, H, W, 3) to linear light (1, 3 * B, H, W), channels_last: red of all pictures, then green."""
    height, width = x.shape[1:3]
    x = x.permute(1, 2, 3, 0).reshape(height, width, -1)
    curve = ((x.clamp_min(KNEE) + 0.055) / 1.055) ** 2.4
    return torch.add(curve, x.clamp_max(KNEE) - KNEE, alpha=1 / 12.92).permute(2, 0, 1)[None]


def _xyb(linear: Tensor, scale: int, batch: int) -> Tensor:
    """Convert linear light (1, 3 * B, H, W) to the positive XYB planes of a scale, (1, planes * B, H, W)."""
    one = torch.eye(batch, device=linear.device)
    mix, to_xyb, offset = (torch.tensor(v, device=linear.device) for v in (_MIX, _TO_XYB[scale], _OFFSETS[scale]))
    lms = F.linear(linear[0].permute(1, 2, 0), torch.kron(mix, one)) + LMS_BIAS
    roots = lms.clamp_min(1e-6) ** (1 / 3)
    return F.linear(roots, torch.kron(to_xyb, one), offset.repeat_interleave(batch)).permute(2, 0, 1)[None]


def _norms(d: Tensor, o: Tensor) -> Tensor:
    """Compute the norms of one scale's maps: dissimilarity, artifacts and lost detail.

    d and o are (1, C, H, W). Returns (3, 2, C): for each map, its mean and the fourth root of the mean of its fourth
    power.
    """
    mean_d, powers, product = _blur(torch.cat([d, o * o + d * d, o * d], 1)).chunk(3, 1)
    mean_o = _blur(o)
    luminance = 1 - (mean_o - mean_d).square()
    means = mean_o * mean_d
    contrast = (2 * (product - means) + C2) / (powers - mean_o.square() - mean_d.square() + C2)
    edges = (1 + (d - mean_d).abs()) / (1 + (o - mean_o).abs()) - 1
    norms = []
    for values in (F.relu(1 - luminance * contrast), F.relu(edges), F.relu(-edges)):
        fourth = values.square().square().mean((0, 2, 3))
        norms.append(torch.stack([values.mean((0, 2, 3)), (fourth + TINY) ** 0.25]))
    return torch.stack(norms)


def _blur(v: Tensor) -> Tensor:
    """Apply the Gaussian window. Outside the picture, rows are mirrored and columns are zero, as in the reference."""
    channels = v.shape[1]
    kernel = torch.tensor(_WINDOW, device=v.device).expand(channels, 1, 1, -1)
    v = F.conv2d(v, kernel, padding=(0, RADIUS), groups=channels)
    v = torch.cat([v[:, :, :RADIUS].flip(2), v, v[:, :, -RADIUS:].flip(2)], 2)
    return F.conv2d(v, kernel.transpose(2, 3), groups=channels)
