"""MS-SSIM with a gradient, as a loss: the measure of pytorch-msssim at about two and a half times its speed.

A third of a training step and half of a refinement step went into pytorch-msssim's blurs, which take
each picture of moments alone, three channels at a time. Here the moments of both pictures are one
tensor in channels_last, which depthwise convolution is fast on, and the gradient of the blur is the
blur again: the window is symmetric. What is reported (``neurocodec.metrics``) stays pytorch-msssim's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Wang, Simoncelli, Bovik 2003, "Multi-scale structural similarity for image quality assessment".
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first
WINDOW, SIGMA = 11, 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2
STRIP = 256  # rows
FLOOR = 1e-6  # of a scale, which may be negative; pytorch-msssim's 0 has no finite gradient under a power
SMALLEST = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1  # pixels: the coarsest scale holds one window


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """a, b (B, C, H, W) in [0, 1], float32 -> MS-SSIM (B,), the mean over channels.

    Raises ValueError for pictures with a side under 161 pixels, where it is not defined.
    """
    if min(a.shape[2:]) < SMALLEST:
        raise ValueError(f"MS-SSIM needs sides of at least {SMALLEST} pixels: {tuple(a.shape[2:])}")
    a, b = (v.contiguous(memory_format=torch.channels_last) for v in (a, b))
    scales = []
    for scale in range(len(WEIGHTS)):
        if scale:
            a, b = (F.avg_pool2d(v, 2, padding=[side % 2 for side in v.shape[2:]]) for v in (a, b))
        luminance, contrast = similarity(a, b)
        last = scale == len(WEIGHTS) - 1
        scales.append((luminance * contrast if last else contrast).mean((2, 3)).clamp_min(FLOOR))
    weights = torch.tensor(WEIGHTS, device=a.device)
    return torch.stack(scales, -1).pow(weights).prod(-1).mean(1)


def ms_ssim_in_strips(a: Tensor, b: Tensor) -> float:
    """MS-SSIM of two pictures (H, W, C) uint8 of any size, in little memory: channel by channel, strip by strip.

    Raises ValueError as :func:`ms_ssim`.
    """
    if min(a.shape[:2]) < SMALLEST:
        raise ValueError(f"MS-SSIM needs sides of at least {SMALLEST} pixels: {tuple(a.shape[:2])}")
    channels = []
    for channel in range(a.shape[2]):
        x, y = (v[None, None, :, :, channel].float() / 255 for v in (a, b))
        product = 1.0
        for scale, weight in enumerate(WEIGHTS):
            if scale:
                x, y = (F.avg_pool2d(v, 2, padding=[side % 2 for side in v.shape[2:]]) for v in (x, y))
            product *= max(_mean_in_strips(x, y, last=scale == len(WEIGHTS) - 1), FLOOR) ** weight
        channels.append(product)
    return sum(channels) / len(channels)


def _mean_in_strips(x: Tensor, y: Tensor, last: bool) -> float:
    """The mean of contrast (and luminance, on the last scale) over one channel (1, 1, H, W)."""
    height, width = (side - (WINDOW - 1) for side in x.shape[2:])
    total = 0.0
    for top in range(0, height, STRIP):
        rows = slice(top, min(top + STRIP, height) + WINDOW - 1)
        luminance, contrast = similarity(x[:, :, rows], y[:, :, rows])
        total += float((luminance * contrast if last else contrast).double().sum())
    return total / (height * width)


def similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) twice -> SSIM's factors of luminance, and of contrast and structure, (B, C, H-10, W-10)."""
    moments = blur(torch.cat([a, b, a * a, b * b, a * b], 1))
    mean_a, mean_b, square_a, square_b, product = moments.chunk(5, 1)
    means, powers = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    luminance = (2 * means + C1) / (powers + C1)
    contrast = (2 * (product - means) + C2) / (square_a + square_b - powers + C2)
    return luminance, contrast


class Blur(torch.autograd.Function):
    """A Gaussian window over each channel, without padding: (B, C, H, W) -> (B, C, H-10, W-10)."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        return windowed(v)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        border = WINDOW - 1
        batch, channels, height, width = gradient.shape
        padded = gradient.new_zeros(batch, height + 2 * border, width + 2 * border, channels).permute(0, 3, 1, 2)
        padded[:, :, border:-border, border:-border] = gradient
        return windowed(padded)


blur: Callable[[Tensor], Tensor] = Blur.apply


def windowed(v: Tensor) -> Tensor:
    distance = torch.arange(WINDOW, device=v.device) - WINDOW // 2
    window = torch.exp(-(distance**2) / (2 * SIGMA**2))
    channels = v.shape[1]
    kernel = (window / window.sum()).expand(channels, 1, 1, WINDOW)
    along_width = F.conv2d(v, kernel, groups=channels)
    return F.conv2d(along_width, kernel.transpose(2, 3), groups=channels)
