"""A picture as JPEG and as neurocodec at the same number of bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.codecs.base import Codec, Pixels
from neurocodec import metrics


@dataclass(frozen=True)
class Version:
    """A picture stored by one codec."""

    label: str
    setting: float
    data: bytes
    pixels: Pixels
    psnr: float
    ms_ssim: float
    ssimulacra2: float


@dataclass(frozen=True)
class Pair:
    """The same picture twice: ours never has more bytes, unless even its lowest quality has."""

    reference: Version
    ours: Version


def version_of(codec: Codec, pixels: Pixels, setting: float, data: bytes | None = None) -> Version:
    """Encode, decode and measure."""
    data = codec.encode(pixels, setting) if data is None else data
    decoded = codec.decode(data)
    measured = (measure(pixels, decoded) for measure in (metrics.psnr, metrics.ms_ssim, metrics.ssimulacra2))
    return Version(codec.label, setting, data, decoded, *measured)


def pair_of(reference: Codec, ours: Codec, pixels: Pixels, quality: float) -> Pair:
    """The reference at a quality, and ours at the highest quality that needs no more bytes.

    Found by bisection over qualities in hundredths; sizes rise with quality but for a few bytes, so
    the best that was seen is kept.
    """
    theirs = version_of(reference, pixels, quality)
    low, high = 100, 10_000  # hundredths
    best_setting, best = 1.0, ours.encode(pixels, 1.0)
    while low <= high:
        middle = (low + high) // 2
        data = ours.encode(pixels, middle / 100)
        if len(data) <= len(theirs.data):
            if len(data) >= len(best) or len(best) > len(theirs.data):
                best_setting, best = middle / 100, data
            low = middle + 1
        else:
            high = middle - 1
    return Pair(theirs, version_of(ours, pixels, best_setting, best))


def most_detailed(pixels: Pixels, side: int) -> tuple[int, int]:
    """Left and top of the square of a picture with the most detail: the sum of absolute differences
    between neighbours. Chosen from the original alone, so that no codec is favoured."""
    grey = pixels.astype(np.int64).sum(axis=2)
    detail = np.zeros_like(grey)
    detail[:, 1:] += np.abs(np.diff(grey, axis=1))
    detail[1:, :] += np.abs(np.diff(grey, axis=0))
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    side = min(side, *grey.shape)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return int(left), int(top)
