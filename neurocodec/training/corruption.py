"""What happens to photographs before they come to us: blur, noise and JPEG, in that order, of unknown strength.

The denoising autoencoder's half of a training pair: the encoder sees the corrupted picture, and the
distortion is to the clean one. A part of the pictures stays clean, so that clean ones stay as they are.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

CLEAN = 0.15  # share of pictures that nothing is done to
BLUR = 0.3  # share of the others
NOISE_OF_BLURRED, NOISE_OF_SHARP = 0.35, 0.6  # where noise covers it, nothing is learnt about blur
SAME = 0.15  # of the Gaussian noises: one for all channels
# A camera's noise mostly comes to us without a low quality's blocks.
JPEG_OF_NOISY, JPEG_OF_BLURRED, JPEG_OF_OTHERS = 0.25, 0.4, 0.8
CROPPED = 0.25  # of the JPEGs: most come to us as they were stored, with their blocks from the corner on


@dataclass(frozen=True)
class Corruption:
    """Strengths; 0 or None is none."""

    blur: float = 0.0  # standard deviation of a Gaussian, in pixels
    noise: float = 0.0  # standard deviation, on the scale of 255
    photons: float = 0.0  # of a white pixel: Poisson noise
    same: bool = False  # the three channels share one Gaussian noise, as in grey pictures
    jpeg: int | None = None  # Pillow's quality
    subsampling: int = 2  # of that JPEG: 2 is 4:2:0, 0 is 4:4:4
    cropped: tuple[int, int] = (0, 0)  # rows and columns cut off after JPEG: its blocks begin outside

    def apply(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x (H, W, 3) in [0, 1] -> the same, corrupted, and in whole 255ths where anything was done."""
        if self == Corruption():
            return x
        if self.blur:
            x = gaussian_blur(x, self.blur)
        if self.photons:
            x = torch.poisson(x.clamp(0, 1) * self.photons, generator) / self.photons
        if self.noise:
            shape = (*x.shape[:2], 1) if self.same else x.shape
            x = x + torch.randn(shape, generator=generator) * (self.noise / 255)
        pixels = (x.clamp(0, 1) * 255).round().byte()
        if self.jpeg is not None:
            top, left = self.cropped
            whole = np.pad(pixels.numpy(), ((top, 0), (left, 0), (0, 0)), mode="reflect")
            file = io.BytesIO()
            Image.fromarray(whole).save(file, "JPEG", quality=self.jpeg, subsampling=self.subsampling)
            with Image.open(file) as image:
                pixels = torch.from_numpy(np.array(image)[top:, left:])
        return pixels.float() / 255


def random_corruption(generator: torch.Generator) -> Corruption:
    """Noise of standard deviation up to 55 or of 10 to 300 photons, blur up to 1.6 pixels, JPEG quality 5 to 60."""
    clean, blur, noise, kind, jpeg, same, cropped, top, left, *strengths = torch.rand(13, generator=generator).tolist()
    if clean < CLEAN:
        return Corruption()
    blurred, poisson = blur < BLUR, kind < 0.25
    noisy = noise < (NOISE_OF_BLURRED if blurred else NOISE_OF_SHARP)
    jpegs = JPEG_OF_NOISY if noisy else JPEG_OF_BLURRED if blurred else JPEG_OF_OTHERS
    stored = jpeg < jpegs
    return Corruption(
        blur=0.3 + 1.3 * strengths[0] if blurred else 0.0,
        noise=55 * strengths[1] if noisy and not poisson else 0.0,
        same=same < SAME and noisy and not poisson,
        photons=10 * 30 ** strengths[1] if noisy and poisson else 0.0,
        jpeg=5 + int(56 * strengths[2]) if stored else None,
        subsampling=2 if strengths[3] < 0.7 else 0,
        cropped=(int(16 * top), int(16 * left)) if cropped < CROPPED and stored else (0, 0),
    )


def corrupt(x: Tensor, generator: torch.Generator) -> Tensor:
    """x (B, H, W, 3) in [0, 1] -> each picture with a corruption of its own, on the same device."""
    spoilt = [random_corruption(generator).apply(picture, generator) for picture in x.cpu()]
    return torch.stack(spoilt).to(x.device)


def gaussian_blur(x: Tensor, deviation: float) -> Tensor:
    """x (H, W, 3) -> the same size, edges repeated."""
    reach = max(1, math.ceil(3 * deviation))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / deviation) ** 2)
    taps = taps / taps.sum()
    planes = F.pad(x.permute(2, 0, 1)[:, None], (reach, reach, reach, reach), mode="replicate")  # (3, 1, H, W)
    planes = F.conv2d(planes, taps[None, None, None, :])
    return F.conv2d(planes, taps[None, None, :, None])[:, 0].permute(1, 2, 0)
