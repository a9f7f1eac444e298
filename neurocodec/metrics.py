"""The one definition of each measure. Pictures are (H, W, 3) uint8, as decoded: never float."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from neurocodec.ms_ssim import SMALLEST as MS_SSIM_SMALLEST
from neurocodec.ms_ssim import ms_ssim_in_strips
from neurocodec.ssimulacra2 import ssimulacra2

__all__ = ["bits_per_pixel", "decibels", "ms_ssim", "psnr", "ssimulacra2"]

PSNR_ROWS = 256
WHOLE = 4_000_000  # pixels: pytorch-msssim takes 200 bytes for each


def bits_per_pixel(bytes_on_disk: int, width: int, height: int) -> float:
    """Bytes of the whole file times 8, over the pixels of the original."""
    return bytes_on_disk * 8 / (width * height)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; inf for equal pictures."""
    rows = range(0, a.shape[0], PSNR_ROWS)  # strips: float64 copies of large pictures would fill the memory
    squares = sum(float(((a[r : r + PSNR_ROWS].astype(np.float64) - b[r : r + PSNR_ROWS]) ** 2).sum()) for r in rows)
    mse = squares / a.size
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """MS-SSIM in [0, 1] over RGB (Wang, Simoncelli, Bovik 2003), by pytorch-msssim; beyond 4 megapixels by the
    same sums in strips, which agree to 1e-6.

    Raises ValueError for pictures with a side under 161 pixels, where it is not defined.
    """
    from pytorch_msssim.ssim import ms_ssim as pytorch_ms_ssim  # only where it is needed: it adds to start-up

    if min(a.shape[:2]) < MS_SSIM_SMALLEST:
        raise ValueError(f"MS-SSIM needs sides of at least {MS_SSIM_SMALLEST} pixels: {a.shape[:2]}")
    if a.shape[0] * a.shape[1] > WHOLE:
        return ms_ssim_in_strips(torch.tensor(a), torch.tensor(b))
    x, y = (torch.tensor(v).permute(2, 0, 1)[None].float() for v in (a, b))
    return float(pytorch_ms_ssim(x, y, data_range=255.0))


def decibels(similarity: float) -> float:
    """MS-SSIM on the scale that rate-distortion curves use: -10 log10(1 - MS-SSIM)."""
    return -10 * math.log10(max(1 - similarity, 1e-12))
