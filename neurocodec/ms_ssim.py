"""MS-SSIM with a gradient, as a loss: the measure of pytorch-msssim at about half its time.

A third of a training step and half of a refinement step went into pytorch-msssim's. What this costs is passes over
memory: here pictures are in channels_last, which depthwise convolution is fast on, moments lie dense, and the
gradient of a blur is the blur again, for the window is symmetric. What is reported (``neurocodec.metrics``)
stays pytorch-msssim's.
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
_gaussian = torch.exp(-((torch.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
TAPS: list[float] = (_gaussian / _gaussian.sum()).tolist()  # of the window; in float32, as pytorch-msssim's
FLOOR = 1e-6  # of a scale, which may be negative; pytorch-msssim's 0 has no finite gradient under a power
SMALLEST = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1  # pixels: the coarsest scale holds one window


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """a, b (B, C, H, W) in [0, 1], float32 -> MS-SSIM (B,), the mean over channels.

    Raises ValueError for pictures with a side under 161 pixels, where it is not defined.
    """
    if min(a.shape[2:]) < SMALLEST:
        raise ValueError(f"MS-SSIM needs sides of at least {SMALLEST} pixels: {tuple(a.shape[2:])}")
    a, b = (v.contiguous(memory_format=torch.channels_last) for v in (a, b))
    product = torch.ones_like(a[:, :, 0, 0])  # (B, C)
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            a, b = (F.avg_pool2d(v, 2, padding=[side % 2 for side in v.shape[2:]]) for v in (a, b))
        if scale < len(WEIGHTS) - 1:
            mean = mean_contrast(a, b)
        else:
            luminance, contrast = similarity(a, b)
            mean = (luminance * contrast).mean((2, 3))
        # Not by `prod`, whose gradient counts zeros, and so waits for a GPU.
        product = product * mean.clamp_min(FLOOR).pow(weight)
    return product.mean(1)


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
    mean_a, mean_b, squares, product = (blur(v) for v in (a, b, a * a + b * b, a * b))
    means, powers = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    luminance = (2 * means + C1) / (powers + C1)
    contrast = (2 * (product - means) + C2) / (squares - powers + C2)
    return luminance, contrast


class MeanContrast(torch.autograd.Function):
    """The mean of :func:`similarity`'s contrast over each channel, (B, C, H, W) twice -> (B, C).

    The same as by autograd, with half of its passes over memory, which is what this costs.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        mean_a, mean_b = windowed(a), windowed(b)
        below = windowed((a * a).addcmul_(b, b)).addcmul_(mean_a, mean_a, value=-1).addcmul_(mean_b, mean_b, value=-1)
        below.add_(C2)
        contrast = windowed(a * b).addcmul_(mean_a, mean_b, value=-1).mul_(2).add_(C2).div_(below)
        ctx.save_for_backward(a, b, mean_a, mean_b, below, contrast)
        return contrast.mean((2, 3))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b, mean_a, mean_b, below, contrast = ctx.saved_tensors
        height, width = contrast.shape[2:]
        of_half_product = gradient[:, :, None, None] / (height * width) / below
        of_squares = spread(-contrast * of_half_product)
        of_product = spread(2 * of_half_product)
        found: list[Tensor | None] = []
        for needed, own, other, mean, mean_of_other in zip(
            ctx.needs_input_grad, (a, b), (b, a), (mean_a, mean_b), (mean_b, mean_a), strict=True
        ):
            if needed:
                of_mean = (mean * contrast).sub_(mean_of_other).mul_(of_half_product).mul_(2)
                found.append(spread(of_mean).addcmul_(own, of_squares, value=2).addcmul_(other, of_product))
            else:
                found.append(None)
        return found[0], found[1]


mean_contrast: Callable[[Tensor, Tensor], Tensor] = MeanContrast.apply


class Blur(torch.autograd.Function):
    """A Gaussian window over each channel, without padding: (B, C, H, W) -> (B, C, H-10, W-10)."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        return windowed(v)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return spread(gradient)


blur: Callable[[Tensor], Tensor] = Blur.apply


def spread(gradient: Tensor) -> Tensor:
    """The transpose of :func:`windowed`, (B, C, H-10, W-10) -> (B, C, H, W): the window is symmetric."""
    return windowed(gradient, WINDOW - 1)


def windowed(v: Tensor, border: int = 0) -> Tensor:
    """The window over each channel of v, which has a border of so many zeros on every side."""
    if torch.compiler.is_compiling():  # for a GPU: it makes one pass of a sum, and does not round as TF32
        return shifted(shifted(F.pad(v, (border,) * 4), 3), 2)
    channels = v.shape[1]
    kernel = torch.tensor(TAPS, device=v.device).expand(channels, 1, 1, WINDOW)
    along_width = F.conv2d(v, kernel, padding=(0, border), groups=channels)
    return F.conv2d(along_width, kernel.transpose(2, 3), padding=(border, 0), groups=channels)


def shifted(v: Tensor, axis: int) -> Tensor:
    """The window along one axis, as a sum of shifts."""
    length = v.shape[axis] - (WINDOW - 1)
    total = v.narrow(axis, 0, length) * TAPS[0]
    for i in range(1, WINDOW):
        total = total + v.narrow(axis, i, length) * TAPS[i]
    return total
