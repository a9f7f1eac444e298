"""The terms of the ELBO of one picture, at several qualities: what the page of ``explain`` shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from neurocodec import alpha, metrics
from neurocodec.encoding import Pixels, as_stored, as_tensor
from neurocodec.explore.usage import Usage, measure
from neurocodec.images import Picture
from neurocodec.ms_ssim import SMALLEST
from neurocodec.refine import Refiner
from neurocodec.weights import LoadedModel
from neurocodec.windows import Report, part_of


@dataclass(frozen=True)
class Level:
    """A picture at one quality."""

    quality: float
    usage: Usage
    decoded: Pixels
    psnr: float  # dB
    ms_ssim: float | None  # of pictures that are large enough for it
    multiplier: float | None  # lambda, of models that say what they were trained for
    distortion: float | None  # D: what lambda weighs
    noise: float | None  # levels of 255: the sigma that lambda * MSE stands for

    @property
    def pixels(self) -> int:
        return int(self.decoded.shape[0] * self.decoded.shape[1])

    @property
    def rate(self) -> float:
        """R: bits per pixel, -log2 P of both kinds of latents under the tables."""
        return self.usage.bits / self.pixels

    @property
    def loss(self) -> float | None:
        """R + lambda * D in bits per pixel: -ELBO up to a constant."""
        if self.multiplier is None or self.distortion is None:
            return None
        return self.rate + self.multiplier * self.distortion

    @property
    def constant(self) -> float | None:
        """What is missing to -ELBO in bits per pixel, where p(x | y) is a normal density: 3 log2(sigma sqrt(2 pi))."""
        return None if self.noise is None else 3 * math.log2(self.noise * math.sqrt(2 * math.pi))


def levels(loaded: LoadedModel, picture: Picture, qualities: Sequence[float], report: Report) -> list[Level]:
    """The picture at each quality, 1 to 100, in their order."""
    pixels = picture.pixels if picture.alpha is None else alpha.fill_hidden(picture.pixels, picture.alpha)
    found = []
    for i, quality in enumerate(qualities):
        part = part_of(report, i / len(qualities), (i + 1) / len(qualities))
        found.append(_level(loaded, pixels, picture.grey, quality, part))
    return found


def _level(loaded: LoadedModel, pixels: Pixels, grey: bool, quality: float, report: Report) -> Level:
    codec, position = loaded.codec, loaded.position(round(quality * 100))
    height, width = pixels.shape[:2]
    usage = measure(codec, as_tensor(pixels), position, part_of(report, 0, 0.6))
    decoded = codec.synthesise(usage.y_hat, height, width, position, part_of(report, 0.6, 1)).cpu()
    multiplier = distortion = noise = None
    objective, large = loaded.objective, min(height, width) >= SMALLEST
    if objective is not None:
        refiner = Refiner(codec, objective)
        multiplier = refiner.multiplier(position)
        if min(height, width) >= objective.smallest:
            with torch.inference_mode():
                distortion = refiner.distortion(decoded, as_tensor(pixels))
        if not (objective.ms_ssim or objective.coarse or objective.ssimulacra2):
            noise = sigma(multiplier * objective.mse)
    shown = as_stored(decoded.numpy(), grey)
    similarity = metrics.ms_ssim(shown, pixels) if large else None
    return Level(quality, usage, shown, metrics.psnr(shown, pixels), similarity, multiplier, distortion, noise)


def sigma(weight: float) -> float:
    """The standard deviation, in levels of 255, of the normal density whose -log2 is weight * 255^2 MSE bits per
    pixel, MSE a mean over three channels: 3 MSE / (2 sigma^2 ln 2) = weight * MSE."""
    return math.sqrt(3 / (2 * math.log(2) * weight))
